// Package memory keeps states and locks in memory: the reference implementation
// of backend.Backend, to be read as its specification, and a fake for tests.
//
// As a fake it does on demand what a test needs to see happen. The clock is the
// test's ([Backend.SetClock]), so that a lease expires when it says so; a lock can
// be held by somebody else, or its record be rubbish ([Backend.SetLockRecord]);
// and [Backend.Client] is a second client of the same store. For requests that
// fail, hang or lose their replies, wrap it with middleware/faulty.
package memory

import (
	"bytes"
	"context"
	"crypto/rand"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

var (
	_ backend.Backend = (*Backend)(nil)
	_ backend.Stater  = (*Backend)(nil)
	_ lock.Locker     = (*Backend)(nil)
	_ lock.Renewer    = (*Backend)(nil)
	_ lock.Waiter     = (*Backend)(nil)
	_ lock.Watcher    = (*Backend)(nil)
)

// Backend is a client of a store in memory. It fences writes.
type Backend struct{ store *store }

type store struct {
	mu     sync.Mutex
	now    func() time.Time
	states map[string]backend.State
	locks  map[string]*record
	freed  chan struct{} // closed, and made anew, when a lock may have become free
}

// Config is the configuration of a memory backend: there is none.
type Config struct{}

// Driver opens a new, empty store each time: type "memory".
var Driver = backend.NewDriver(func(context.Context, Config) (backend.Backend, error) { return New(), nil }, "memory")

// New returns a client of a new, empty store.
func New() *Backend {
	return &Backend{&store{
		now:    time.Now,
		states: map[string]backend.State{},
		locks:  map[string]*record{},
		freed:  make(chan struct{}),
	}}
}

// Client returns another client of the same store.
func (b *Backend) Client() *Backend { return &Backend{b.store} }

// SetClock makes now the store's clock, which ages its locks and dates its states.
// Waiters look again.
func (b *Backend) SetClock(now func() time.Time) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.store.now = now
	b.store.wake()
}

// Read implements [backend.Backend].
func (b *Backend) Read(ctx context.Context, workspace string) (backend.State, error) {
	unlock, err := b.begin(ctx, "read", workspace)
	if err != nil {
		return backend.State{}, err
	}
	defer unlock()
	st, ok := b.store.states[workspace]
	if !ok {
		return backend.State{}, failure("read", workspace, backend.ErrNotExist)
	}
	st.Data = bytes.Clone(st.Data)
	return st, nil
}

// Stat implements [backend.Stater].
func (b *Backend) Stat(ctx context.Context, workspace string) (backend.Revision, error) {
	unlock, err := b.begin(ctx, "stat", workspace)
	if err != nil {
		return "", err
	}
	defer unlock()
	st, ok := b.store.states[workspace]
	if !ok {
		return "", failure("stat", workspace, backend.ErrNotExist)
	}
	return st.Revision, nil
}

// Write implements [backend.Backend].
func (b *Backend) Write(ctx context.Context, workspace string, data []byte, cond backend.Condition) (backend.Revision, error) {
	unlock, err := b.begin(ctx, "write", workspace)
	if err != nil {
		return "", err
	}
	defer unlock()
	if len(data) == 0 {
		return "", failure("write", workspace, backend.ErrInvalid)
	}
	if err := b.store.check("write", workspace, cond); err != nil {
		return "", err
	}
	st := backend.State{Data: bytes.Clone(data), Revision: backend.Revision(rand.Text()), Modified: b.store.now()}
	b.store.states[workspace] = st
	return st.Revision, nil
}

// Delete implements [backend.Backend].
func (b *Backend) Delete(ctx context.Context, workspace string, cond backend.Condition) error {
	unlock, err := b.begin(ctx, "delete", workspace)
	if err != nil {
		return err
	}
	defer unlock()
	if err := b.store.fence("delete", workspace, cond.LockID); err != nil {
		return err
	}
	if _, ok := b.store.states[workspace]; !ok {
		return failure("delete", workspace, backend.ErrNotExist)
	}
	if err := b.store.check("delete", workspace, cond); err != nil {
		return err
	}
	delete(b.store.states, workspace)
	return nil
}

// check reports whether cond holds.
func (s *store) check(op, workspace string, cond backend.Condition) error {
	if err := s.fence(op, workspace, cond.LockID); err != nil {
		return err
	}
	if cond.Revision != backend.AnyRevision && cond.Revision != s.states[workspace].Revision {
		return failure(op, workspace, backend.ErrConflict)
	}
	return nil
}

// List implements [backend.Backend].
func (b *Backend) List(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if ctx.Err() != nil {
			yield("", failure("list", "", ctx.Err()))
			return
		}
		b.store.mu.Lock()
		names := slices.Collect(maps.Keys(b.store.states))
		b.store.mu.Unlock()
		for _, name := range names {
			if !yield(name, nil) {
				return
			}
		}
	}
}

// Close implements [backend.Backend]. There is nothing to release.
func (b *Backend) Close() error { return nil }

// begin starts a call: it checks its arguments and locks the store.
func (b *Backend) begin(ctx context.Context, op, workspace string) (unlock func(), err error) {
	if err := backend.CheckWorkspace(workspace); err != nil {
		return nil, failure(op, workspace, err)
	}
	if ctx.Err() != nil {
		return nil, failure(op, workspace, ctx.Err())
	}
	b.store.mu.Lock()
	return b.store.mu.Unlock, nil
}

func failure(op, workspace string, kind error) error {
	return &backend.Error{Op: op, Backend: "memory", Workspace: workspace, Kind: kind}
}
