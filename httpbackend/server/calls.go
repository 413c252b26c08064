package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/internal/wire"
	"github.com/statelatch/statelatch/lock"
)

// remembered is how many calls a Server knows again.
const remembered = 1 << 14

// calls are those that changed something lately, or were refused, by the tokens that
// their clients gave them. So a client that lost the reply may ask again, and a request
// that is delivered a second time, when its client has gone on, does nothing. What is
// forgotten, here or by another Server, the condition of a change stops, or the lock.
type calls struct {
	mu   sync.Mutex
	made map[key]*outcome
	old  []key // of what is remembered, oldest first
}

type key [sha256.Size]byte

// An outcome is settled when done is closed.
type outcome struct {
	done chan struct{}
	rev  backend.Revision
	err  error
	lost bool // it is as if it had never been tried
}

// do makes a call, unless it was made before: then it returns what came of that.
func (c *calls) do(ctx context.Context, k key, make func() (backend.Revision, error)) (rev backend.Revision, again bool, err error) {
	if k == (key{}) {
		rev, err = make()
		return rev, false, err
	}
	for {
		o, first := c.enter(k)
		if first {
			defer c.leave(k, o) // also if it panics
			o.rev, o.err = make()
			return o.rev, false, o.err
		}
		select {
		case <-o.done:
			if !o.lost {
				return o.rev, true, o.err
			}
		case <-ctx.Done():
			return "", true, ctx.Err()
		}
	}
}

// enter returns the outcome of a call, and whether it is for the caller to make.
func (c *calls) enter(k key) (o *outcome, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.made[k]; o != nil {
		return o, false
	}
	if c.made == nil {
		c.made = map[key]*outcome{}
	}
	o = &outcome{done: make(chan struct{}), err: backend.ErrUnknown}
	c.made[k] = o
	return o, true
}

// leave ends a call. It is remembered if it will not be made again.
func (c *calls) leave(k key, o *outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(o.done)
	if o.err, o.lost = brief(o.err); o.lost {
		delete(c.made, k)
		return
	}
	if c.old = append(c.old, k); len(c.old) > remembered {
		delete(c.made, c.old[0])
		c.old = c.old[1:]
	}
}

// brief is what is remembered of an error; lost reports whether the call may be tried
// again.
func brief(err error) (kept error, lost bool) {
	var held *lock.HeldError
	if errors.As(err, &held) {
		holder := held.Holder
		if len(holder.Operation+holder.Info+holder.Who+holder.Version+holder.Path+holder.Ref) > 1<<10 {
			holder = lock.Info{ID: holder.ID, Created: holder.Created}
		}
		return &lock.HeldError{Workspace: held.Workspace, Holder: holder}, len(holder.ID) > 1<<10
	}
	_, _, kind, _ := wire.Refusal(err)
	refused := errors.Is(kind, backend.ErrConflict) || errors.Is(kind, backend.ErrNotExist) || errors.Is(kind, lock.ErrNotHeld)
	return kind, err != nil && !refused
}

// call names the call that the request is a part of, if its client has given it a
// token; a request that asks for anything else is no part of it.
func (x *exchange) call() (k key) {
	token := x.r.Header.Get(wire.Call)
	if token == "" {
		return k
	}
	parts := []string{token, x.r.Method, x.workspace, x.user, x.query.Get(wire.ID)}
	for _, name := range []string{"Content-Md5", "If-Match", "If-None-Match"} {
		parts = append(parts, x.r.Header.Get(name))
	}
	return sha256.Sum256([]byte(strings.Join(parts, "\n")))
}
