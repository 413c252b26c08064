package s3

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/settle"
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

// isAWS reports whether a client's requests go to AWS: its base endpoint is AWS's own,
// and no resolver sends them elsewhere.
func isAWS(o s3.Options) bool {
	legacy := o.EndpointResolver //nolint:staticcheck // deprecated, and still obeyed
	if legacy != nil || reflect.TypeOf(o.EndpointResolverV2) != reflect.TypeOf(s3.NewDefaultEndpointResolverV2()) {
		return false
	}
	if o.BaseEndpoint == nil {
		return true
	}
	u, err := url.Parse(*o.BaseEndpoint)
	if err != nil {
		return false
	}
	host := u.Hostname()
	return strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn")
}

// require refuses an endpoint that ignores a condition, and one of which that cannot
// be found out. try makes a request that the condition has to refuse; one whose reply
// is lost does not matter, since the next has to be refused as well.
func (b *Backend) require(ctx context.Context, c call, header string, condition *verdict, try func(context.Context) error) error {
	known := b.endpoint.of(condition)
	if known == honoured || b.config.Conditions == ConditionsIgnored {
		return nil
	}
	if known == unknown {
		_, err := settled(ctx, b, settle.Request[struct{}]{
			Try: func(ctx context.Context) (none struct{}, err error) {
				err = try(ctx)
				if known = b.endpoint.learn(condition, err); known != unknown {
					return none, nil
				}
				return none, err
			},
			Look:    func(context.Context) (none struct{}, found settle.Found, err error) { return none, settle.Before, nil },
			Unknown: func(why error) error { return c.failed(backend.ErrUnknown, why) },
		})
		if err != nil {
			return fmt.Errorf("it was not found out whether the endpoint honours the header %s (the setting conditions = %q declares it): %w", header, ConditionsHonoured, err)
		}
	}
	if known == ignored {
		return c.ignores(header)
	}
	return nil
}

// prepareWrite makes sure that the condition of a write means something. Where
// conditions are ignored knowingly, it compares the revision.
func (b *Backend) prepareWrite(ctx context.Context, c call, revision backend.Revision) error {
	condition := &b.endpoint.replaces
	if revision == "" {
		condition = &b.endpoint.creates
	}
	switch {
	case revision == backend.AnyRevision || b.endpoint.of(condition) == honoured:
		return nil
	case b.config.Conditions == ConditionsIgnored:
		return b.compare(ctx, c, revision)
	case revision == "":
		return b.requireCreate(ctx, c)
	}
	return b.requireReplace(ctx, c)
}

// requireCreate finds out whether the endpoint honours If-None-Match by a second PUT
// of a scratch object, which has to be refused.
func (b *Backend) requireCreate(ctx context.Context, c call) error {
	err := b.require(ctx, c, "If-None-Match", &b.endpoint.creates, func(ctx context.Context) error {
		return b.onScratch(ctx, c, func(p *put) error {
			p.ifNoneMatch = "*"
			_, err := b.putOnce(ctx, c, p)
			b.endpoint.learn(&b.endpoint.creates, err) // whether or not the object can be removed
			return err
		})
	})
	return c.unchanged(ctx, err)
}

// requireReplace finds out whether the endpoint honours If-Match on a PUT by a PUT
// that has to be refused, of an object that does not exist.
func (b *Backend) requireReplace(ctx context.Context, c call) error {
	p := b.newPut(b.scratch(), []byte("{}"), nil)
	p.ifMatch = wrongETag
	left := false
	err := b.require(ctx, c, "If-Match", &b.endpoint.replaces, func(ctx context.Context) error {
		_, err := b.putOnce(ctx, c, p)
		left = left || err == nil || errors.Is(err, backend.ErrUnknown)
		return err
	})
	if left {
		_ = b.tidy(ctx, c, p.key) // what is known is known without it
	}
	return c.unchanged(ctx, err)
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
// the PUT that has just created a lock file: it has to be refused. One that was
// accepted is repeated once more, since somebody may have deleted the file.
func (b *Backend) verifyCreate(ctx context.Context, c call, p *put) error {
	again := *p
	again.ifNoneMatch, again.ifMatch = "*", ""
	return b.require(ctx, c, "If-None-Match", &b.endpoint.creates, func(ctx context.Context) error {
		_, err := b.putOnce(ctx, c, &again)
		if err == nil {
			_, err = b.putOnce(ctx, c, &again)
		}
		return err
	})
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
	replace := *p
	replace.ifNoneMatch, replace.ifMatch = "", wrongETag
	return b.require(ctx, c, "If-Match", &b.endpoint.replaces, func(ctx context.Context) error {
		_, err := b.putOnce(ctx, c, &replace)
		return err
	})
}

// deletesConditionally reports whether a DELETE with If-Match is as good as the
// endpoint allows. Whether it is honoured is found out, once, on a scratch object:
// both while that exists and when it is gone, the DELETE has to be refused.
func (b *Backend) deletesConditionally(ctx context.Context, c call) (bool, error) {
	known := b.endpoint.of(&b.endpoint.deletes)
	if known == unknown && b.config.Conditions != ConditionsIgnored {
		err := b.onScratch(ctx, c, func(p *put) (err error) {
			known, err = b.tryDelete(ctx, c, p)
			return err
		})
		if known == unknown {
			return false, c.unchanged(ctx, err)
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
	known := b.endpoint.learn(&b.endpoint.deletes, err)
	if known != unknown {
		err = nil
	}
	return known, err
}

// onScratch calls try with the PUT, without a condition, that has just created an
// object of its own, and removes that object.
func (b *Backend) onScratch(ctx context.Context, c call, try func(p *put) error) error {
	p := b.newPut(b.scratch(), []byte("{}"), nil)
	_, err := b.putOnce(ctx, c, p)
	switch {
	case err == nil:
		err = try(p)
	case !errors.Is(err, backend.ErrUnknown):
		return err
	}
	if left := b.tidy(ctx, c, p.key); left != nil && !errors.Is(left, backend.ErrConflict) {
		err = errors.Join(err, left)
	}
	return err
}

// moment is how much longer than its context a call stays to remove a scratch object:
// it still has to return promptly.
const moment = 50 * time.Millisecond

// tidy removes a scratch object, also when ctx has ended, if that takes but a moment.
func (b *Backend) tidy(ctx context.Context, c call, key string) error {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(cmp.Or(b.moment, moment), cancel) })
	defer stop()
	return b.removeOnce(longer, c, key, "")
}

// unchanged is the error of requests to a scratch object: whatever became of them, the
// caller's objects are as they were.
func (c call) unchanged(ctx context.Context, err error) error {
	if !errors.Is(err, backend.ErrUnknown) {
		return err
	}
	return c.failed(cmp.Or(ctx.Err(), backend.ErrTransient), errors.New(err.Error()))
}

// scratch returns the key of an object that nobody else uses or lists.
func (b *Backend) scratch() string { return b.config.Key + ".statelatch-probe-" + rand.Text() }

// ignores is the error of an endpoint that ignores a condition.
func (c call) ignores(header string) error {
	return c.failed(errors.ErrUnsupported, fmt.Errorf("the endpoint ignores the header %s, so nothing keeps two writers apart; use an endpoint that honours it, "+
		"or accept the risk knowingly with the setting conditions = %q", header, ConditionsIgnored))
}
