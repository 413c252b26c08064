package httpbackend

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/internal/wire"
	"github.com/statelatch/statelatch/internal/settle"
	"github.com/statelatch/statelatch/lock"
)

// taken is a lock that this Backend took, and its record as it was sent: what
// Terraform sends to unlock.
type taken struct {
	id     string
	record []byte
}

// Lock implements [lock.Locker]: one LOCK, or whatever method is configured.
func (b *Backend) Lock(ctx context.Context, workspace string, info lock.Info) (lock.Info, error) {
	c, err := b.call(ctx, "lock", workspace, b.lock)
	if err != nil {
		return lock.Info{}, err
	}
	info.Ref, info.ID, info.Path = info.ID, lock.NewID(), ""
	record, err := b.storable(ctx, c, info)
	if err != nil {
		return lock.Info{}, err
	}
	c.changes = true
	token := http.Header{wire.Call: {rand.Text()}}
	var other *lock.HeldError // whose lock there is, if it is not this call's
	stored, err := attempts(ctx, c, func(ctx context.Context, c call) (lock.Info, error) {
		stored, err := b.lockOnce(ctx, c, info, record, token)
		errors.As(err, &other)
		return stored, err
	}, settle.Request[lock.Info]{
		Look: again[lock.Info],
		Unknown: func(why error) error {
			unknown := &lock.UnknownError{Workspace: workspace, ID: info.ID, Err: why}
			if other != nil { // not ours now; but an attempt may arrive late
				return &lock.HeldError{Workspace: workspace, Holder: other.Holder, Err: unknown}
			}
			return unknown
		},
	})
	if err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.took[workspace] = taken{stored.ID, record}
	}
	return stored, err
}

// storable returns the record of a lock, and refuses what cannot be stored.
func (b *Backend) storable(ctx context.Context, c call, info lock.Info) ([]byte, error) {
	record, err := info.Record()
	if err == nil && info.Ref == "" {
		err = errors.New("a lock needs an ID")
	}
	if err != nil {
		return nil, c.failed(backend.ErrInvalid, err)
	}
	if info.TTL == 0 || b.isOurs() {
		return record, nil
	}
	// A plain server would keep it for ever.
	_, err = b.holder(ctx, c)
	if b.isOurs() {
		err = nil
	}
	return record, err
}

// lockOnce makes the request. A refusal by this very call's lock is none.
func (b *Backend) lockOnce(ctx context.Context, c call, info lock.Info, record []byte, token http.Header) (lock.Info, error) {
	r, err := b.send(ctx, c, request{method: b.config.LockMethod, url: b.lock.of(c.workspace), body: record, header: token, limit: lock.MaxInfo})
	if err != nil {
		return lock.Info{}, err
	}
	if r.status == http.StatusOK {
		return stored(r, info), nil
	}
	err = c.refused(r)
	var held *lock.HeldError
	if errors.As(err, &held) && (held.Holder.ID == info.ID || held.Holder.Ref == info.ID) {
		return stored(r, info), nil
	}
	return lock.Info{}, err
}

// stored returns the lock that this call took, as the server has it.
func stored(r *reply, sent lock.Info) lock.Info {
	switch info := holder(r); {
	case !r.ours:
		return sent
	case info.ID == sent.ID:
		return info
	case info.Ref == sent.ID: // the store has imposed its own
		info.Ref = sent.Ref
		return info
	}
	return sent
}

// Unlock implements [lock.Locker]: one UNLOCK, or whatever method is configured.
func (b *Backend) Unlock(ctx context.Context, workspace, id string) error {
	a := b.unlock
	if b.lock == nil {
		a = nil
	}
	c, err := b.call(ctx, "unlock", workspace, a)
	if err != nil {
		return err
	}
	if id == "" {
		return b.unlockNothing(ctx, c)
	}
	c.changes = true
	record, err := b.record(workspace, id)
	if err != nil {
		return c.failed(backend.ErrInvalid, err)
	}
	token := http.Header{wire.Call: {rand.Text()}}
	_, err = attempts(ctx, c, func(ctx context.Context, c call) (none struct{}, err error) {
		r, err := b.send(ctx, c, request{method: b.config.UnlockMethod, url: a.of(workspace), body: record, header: token, limit: 4 << 10})
		if err == nil && r.status != http.StatusOK {
			err = c.refused(r)
		}
		return none, err
	}, settle.Request[struct{}]{
		Look: again[struct{}],
		// A plain server that does not compare the ID would release the next one's lock.
		Once:    !b.isOurs(),
		Unknown: func(why error) error { return c.failed(backend.ErrUnknown, why) },
	})
	return err
}

// record returns what to send to release a lock: what was sent to take it, or its ID.
func (b *Backend) record(workspace, id string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.took[workspace]; t.id == id {
		return t.record, nil
	}
	return json.Marshal(lock.Info{ID: id})
}

// unlockNothing is Unlock without an ID, which must not reach the server: some
// release whatever lock there is.
func (b *Backend) unlockNothing(ctx context.Context, c call) error {
	holder, err := b.holder(ctx, c)
	switch {
	case err == nil:
		return &lock.HeldError{Workspace: c.workspace, Holder: holder, Err: errors.New("not by the lock ID given")}
	case errors.Is(err, errors.ErrUnsupported):
		return c.failed(backend.ErrInvalid, errors.New("the ID of the lock is missing"))
	}
	return err
}

// Holder implements [lock.Locker]: one GET, which only a server of this module
// answers.
func (b *Backend) Holder(ctx context.Context, workspace string) (lock.Info, error) {
	c, err := b.call(ctx, "holder", workspace, b.lock)
	if err != nil {
		return lock.Info{}, err
	}
	return b.holder(ctx, c)
}

func (b *Backend) holder(ctx context.Context, c call) (lock.Info, error) {
	c.changes = false
	return attempts(ctx, c, func(ctx context.Context, c call) (lock.Info, error) {
		if b.server.Load() == plainServer {
			return lock.Info{}, c.plain()
		}
		r, err := b.send(ctx, c, request{method: http.MethodGet, url: b.lock.of(c.workspace), query: url.Values{wire.Lock: {""}}, limit: lock.MaxInfo})
		switch {
		case err != nil:
			return lock.Info{}, err
		case !b.isOurs() && r.status < 500 && !slices.Contains([]int{401, 403, 429}, r.status):
			return lock.Info{}, c.plain()
		case !r.ok():
			return lock.Info{}, c.refused(r)
		}
		return holder(r), nil
	}, settle.Request[lock.Info]{})
}

// plain is the error of what only a server of this module can do.
func (c call) plain() error {
	return c.failed(errors.ErrUnsupported, errors.New("the server does not tell who holds a lock"))
}

// Renew implements [lock.Renewer]: one LOCK with the parameter renew, which only a
// server of this module takes.
func (b *Backend) Renew(ctx context.Context, workspace, id string) (lock.Info, error) {
	c, err := b.call(ctx, "renew", workspace, b.lock)
	if err != nil {
		return lock.Info{}, err
	}
	if !b.isOurs() {
		if _, err := b.holder(ctx, c); err != nil {
			return lock.Info{}, err
		}
	}
	c.changes = true
	return attempts(ctx, c, func(ctx context.Context, c call) (lock.Info, error) {
		r, err := b.send(ctx, c, request{method: "LOCK", url: b.lock.of(workspace), query: url.Values{wire.Renew: {""}, wire.ID: {id}}, limit: lock.MaxInfo})
		switch {
		case err != nil:
			return lock.Info{}, err
		case !r.ok():
			return lock.Info{}, c.refused(r)
		}
		return holder(r), nil
	}, settle.Request[lock.Info]{
		Look: again[lock.Info],
	})
}
