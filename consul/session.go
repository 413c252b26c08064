package consul

import (
	"context"
	"crypto/rand"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/settle"
)

// lockDelay is how long Consul keeps the lock of a session that has died from
// everybody: as short as the vendor's client can say, for 0 means 15 s. The delay
// protects a holder that does not know yet, and whose writes nothing else stops;
// ours are checked by the transactions that make them.
const lockDelay = time.Millisecond

// names is how the names of sessions begin that Lock makes for a key. The rest of a
// name is that of one call.
func (c call) names() string { return "statelatch " + c.lockKey() + " " }

// createSession creates a session without checks. If the reply is lost, it is looked
// for by its name. If ctx ends, the request may still come to its end, so that no
// session stays behind.
func (b *Backend) createSession(ctx context.Context, c call, ttl time.Duration) (string, error) {
	entry := &api.SessionEntry{Name: c.names() + rand.Text(), LockDelay: lockDelay, Behavior: api.SessionBehaviorDelete}
	if ttl > 0 {
		entry.TTL = ttl.String()
	}
	longer, cancel := grace(ctx)
	defer cancel()
	id, err := settle.Do(longer, settle.Request[string]{
		Try: func(ctx context.Context) (string, error) {
			id, _, err := b.client.Session().CreateNoChecks(entry, writes(ctx))
			if err == nil && id == "" {
				err = errors.New("the agent does not say which session it has created")
			}
			if err != nil && strings.Contains(err.Error(), "Invalid Session TTL") {
				return "", c.failed(errors.ErrUnsupported, err)
			}
			return id, c.changeError(ctx, err)
		},
		Look:    func(ctx context.Context) (string, settle.Found, error) { return b.findSession(ctx, c, entry.Name) },
		Unknown: func(why error) error { return c.failed(backend.ErrTransient, why) }, // without it there is no lock
	})
	if ctx.Err() == nil {
		return id, err
	}
	if err == nil {
		_ = b.destroy(longer, c, id) // it holds nothing
	}
	return "", c.failed(ctx.Err(), nil)
}

// findSession looks for a session by its name. One that is not found stays, and nobody
// knows its ID: so it is looked for as often as destroy asks.
func (b *Backend) findSession(ctx context.Context, c call, name string) (_ string, _ settle.Found, err error) {
	var sessions []*api.SessionEntry
	for range 2 {
		sessions, err = settle.Do(ctx, settle.Request[[]*api.SessionEntry]{Attempts: 4, Try: func(ctx context.Context) ([]*api.SessionEntry, error) {
			sessions, _, err := b.client.Session().List(consistent(ctx))
			return sessions, c.readError(ctx, err)
		}})
		if !errors.Is(err, backend.ErrTransient) {
			break
		}
	}
	for _, session := range sessions {
		if session != nil && session.Name == name {
			return session.ID, settle.Ours, nil
		}
	}
	return "", settle.Before, err
}

// forget ends a session that may have been made by a Lock of this key, whose outcome
// was unknown: whatever of it is still on its way cannot take the lock any more.
// Others it leaves alone: they may hold other locks.
func (b *Backend) forget(ctx context.Context, c call, id string) error {
	if !uuid.MatchString(id) {
		return nil
	}
	session, err := repeat(ctx, func(ctx context.Context) (*api.SessionEntry, error) {
		session, _, err := b.client.Session().Info(id, consistent(ctx))
		return session, c.readError(ctx, err)
	})
	if err != nil || session == nil || !strings.HasPrefix(session.Name, c.names()) {
		return err
	}
	return b.destroy(ctx, c, id)
}

// uuid is the form of a session's ID, which the server insists on.
var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// destroy ends a session, also when ctx has ended. What is left behind stays, so it is
// asked for often within the time that there is, rather than ever more seldom. Only
// Consul's own answer counts.
func (b *Backend) destroy(ctx context.Context, c call, id string) (err error) {
	longer, cancel := grace(ctx)
	defer cancel()
	for range 4 {
		_, err = settle.Do(longer, settle.Request[bool]{Attempts: 2, Try: func(ctx context.Context) (destroyed bool, err error) {
			_, err = b.client.Raw().Write("/v1/session/destroy/"+id, nil, &destroyed, writes(ctx))
			if err == nil && !destroyed {
				err = errors.New("the agent does not say that the session is destroyed")
			}
			return destroyed, c.readError(ctx, err)
		}})
		if !errors.Is(err, backend.ErrTransient) {
			break
		}
	}
	return err
}
