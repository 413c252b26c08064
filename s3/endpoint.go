package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/statelatch/statelatch/backend"
)

// Values of Config.Conditions.
const (
	// ConditionsHonoured declares that the endpoint honours If-Match and
	// If-None-Match on PUT, and If-Match on DELETE, as AWS does.
	ConditionsHonoured = "honoured"
	// ConditionsIgnored knowingly accepts an endpoint that ignores them: every
	// condition is then compared before the request, which leaves a gap.
	ConditionsIgnored = "ignored"
)

// wrongETag is the ETag of no object.
const wrongETag = `"00000000000000000000000000000000"`

// An endpoint is what is known of how the server treats conditions. AWS honours
// all of them; compatible servers are found out by use.
type endpoint struct {
	conforming bool // AWS, or declared so

	mu       sync.Mutex
	creates  verdict // on If-None-Match of PUT
	replaces verdict // on If-Match of PUT
	deletes  verdict // on If-Match of DELETE
}

type verdict int

const (
	unknown verdict = iota
	honoured
	ignored
)

// of returns what is known of one of the endpoint's conditions.
func (e *endpoint) of(condition *verdict) verdict {
	if e.conforming {
		return honoured
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return *condition
}

// learn remembers whether a condition is honoured: err is the outcome of a request
// that had to be refused for it. Any other failure tells nothing.
func (e *endpoint) learn(condition *verdict, err error) verdict {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case errors.Is(err, backend.ErrConflict):
		*condition = honoured
	case err == nil || errors.Is(err, errors.ErrUnsupported):
		*condition = ignored
	}
	return *condition
}

// isAWS reports whether a client's base endpoint is AWS's own.
func isAWS(base *string) bool {
	if base == nil {
		return true
	}
	u, err := url.Parse(aws.ToString(base))
	if err != nil {
		return false
	}
	host := u.Hostname()
	return strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn")
}

// prepareWrite makes sure that the condition of a write means something: it finds
// out whether the endpoint honours If-Match on a PUT by one PUT that has to be
// refused, of an object that does not exist. Where conditions are not honoured, or
// not yet known to be, it compares the revision itself.
func (b *Backend) prepareWrite(ctx context.Context, c call, revision backend.Revision) error {
	condition, header := &b.endpoint.replaces, "If-Match"
	if revision == "" {
		condition, header = &b.endpoint.creates, "If-None-Match"
	}
	switch known := b.endpoint.of(condition); {
	case revision == backend.AnyRevision || known == honoured:
		return nil
	case b.config.Conditions == ConditionsIgnored:
		return b.compare(ctx, c, revision)
	case known == ignored:
		return c.ignores(header)
	case revision == "": // found out by the write itself, see verifyCreate
		return b.compare(ctx, c, revision)
	}
	p := b.newPut(b.scratch(), []byte("{}"), nil)
	p.ifMatch = wrongETag
	_, err := b.putOnce(ctx, c, p)
	if err == nil {
		err = b.removeOnce(ctx, c, p.key, "")
	}
	if b.endpoint.learn(condition, err) == ignored {
		return c.ignores(header)
	}
	return nil
}

// compare checks a revision by reading it.
func (b *Backend) compare(ctx context.Context, c call, revision backend.Revision) error {
	obj, err := b.head(ctx, c, c.key)
	current := backend.Revision("")
	switch {
	case err == nil && obj.size > 0:
		current = obj.revision()
	case err != nil && !errors.Is(err, backend.ErrNotExist):
		return err
	}
	if current != revision {
		return c.failed(backend.ErrConflict, nil)
	}
	return nil
}

// verifyCreate finds out whether the endpoint honours If-None-Match, by repeating
// the PUT that has just created an object: it has to be refused. One that was
// accepted is repeated once more, since somebody may have deleted the object.
func (b *Backend) verifyCreate(ctx context.Context, c call, p *put) error {
	if b.endpoint.of(&b.endpoint.creates) != unknown || b.config.Conditions == ConditionsIgnored {
		return nil
	}
	again := *p
	again.ifNoneMatch, again.ifMatch = "*", ""
	_, err := b.putOnce(ctx, c, &again)
	if err == nil {
		_, err = b.putOnce(ctx, c, &again)
	}
	if b.endpoint.learn(&b.endpoint.creates, err) == ignored {
		return c.ignores("If-None-Match")
	}
	if errors.Is(err, backend.ErrUnknown) {
		return err
	}
	return nil
}

// prepareLock refuses an endpoint that is known to ignore a condition.
func (b *Backend) prepareLock(c call) error {
	switch {
	case b.config.Conditions == ConditionsIgnored:
	case b.endpoint.of(&b.endpoint.creates) == ignored:
		return c.ignores("If-None-Match")
	case b.endpoint.of(&b.endpoint.replaces) == ignored:
		return c.ignores("If-Match")
	}
	return nil
}

// verifyLock is verifyCreate for a lock file that has just been won, and also finds
// out whether the endpoint honours If-Match: both PUTs have to be refused.
func (b *Backend) verifyLock(ctx context.Context, c call, p *put) error {
	if err := b.verifyCreate(ctx, c, p); err != nil {
		return err
	}
	if b.endpoint.of(&b.endpoint.replaces) != unknown || b.config.Conditions == ConditionsIgnored {
		return nil
	}
	replace := *p
	replace.ifNoneMatch, replace.ifMatch = "", wrongETag
	_, err := b.putOnce(ctx, c, &replace)
	if b.endpoint.learn(&b.endpoint.replaces, err) == ignored {
		return c.ignores("If-Match")
	}
	return nil
}

// deletesConditionally reports whether a DELETE with If-Match is as good as the
// endpoint allows. Whether it is honoured is found out, once, on a scratch object:
// both while that exists and when it is gone, the DELETE has to be refused.
func (b *Backend) deletesConditionally(ctx context.Context, c call) (bool, error) {
	known := b.endpoint.of(&b.endpoint.deletes)
	if known == unknown && b.config.Conditions != ConditionsIgnored {
		var tried error
		err := b.onScratch(ctx, c, func(p *put) error {
			known, tried = b.tryDelete(ctx, c, p)
			return nil
		})
		if known == unknown {
			return false, errors.Join(tried, err)
		}
	}
	return known != ignored, nil
}

// tryDelete finds out whether If-Match of DELETE is honoured, on a scratch object.
func (b *Backend) tryDelete(ctx context.Context, c call, p *put) (verdict, error) {
	err := b.removeOnce(ctx, c, p.key, wrongETag)
	if errors.Is(err, backend.ErrConflict) {
		err = b.removeOnce(ctx, c, p.key, "")
		if err == nil {
			err = b.removeOnce(ctx, c, p.key, wrongETag)
		}
	}
	return b.endpoint.learn(&b.endpoint.deletes, err), err
}

// onScratch calls try with a PUT that has just created an object of its own, and
// removes that object.
func (b *Backend) onScratch(ctx context.Context, c call, try func(p *put) error) (err error) {
	p := b.newPut(b.scratch(), []byte("{}"), nil)
	p.ifNoneMatch = "*"
	defer func() {
		if left := b.removeOnce(ctx, c, p.key, ""); left != nil && !errors.Is(left, backend.ErrConflict) {
			err = errors.Join(err, left)
		}
	}()
	if _, err := b.putOnce(ctx, c, p); err != nil {
		return err
	}
	return try(p)
}

// scratch returns the key of an object that nobody else uses or lists.
func (b *Backend) scratch() string { return b.config.Key + ".statelatch-probe-" + rand.Text() }

// ignores is the error of an endpoint that ignores a condition.
func (c call) ignores(header string) error {
	return c.failed(errors.ErrUnsupported, fmt.Errorf("the endpoint ignores the header %s, so nothing keeps two writers apart; use an endpoint that honours it, "+
		"or accept the risk knowingly with the setting conditions = %q", header, ConditionsIgnored))
}
