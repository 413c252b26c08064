package backendtest

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/memory"
)

// service is what the mutants are made of: the reference implementation, over a
// wire that may lose a reply or hang.
type service interface {
	backend.Backend
	backend.Stater
	lock.Locker
	lock.Renewer
	lock.Waiter
	lock.Watcher
}

// broken is a client that does one thing in its own way.
type broken struct {
	service
	store, beside *memory.Backend // behind the wire; and another configuration's
	t             testing.TB
	key           string // only printed

	read   func(ctx context.Context, ws string) (backend.State, error)
	stat   func(ctx context.Context, ws string) (backend.Revision, error)
	write  func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error)
	delete func(ctx context.Context, ws string, cond backend.Condition) error
	list   func(ctx context.Context) iter.Seq2[string, error]
	lock   func(ctx context.Context, ws string, info lock.Info) (lock.Info, error)
	close  func() error
}

func (b *broken) Read(ctx context.Context, ws string) (backend.State, error) { return b.read(ctx, ws) }
func (b *broken) Stat(ctx context.Context, ws string) (backend.Revision, error) {
	return b.stat(ctx, ws)
}
func (b *broken) Write(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
	return b.write(ctx, ws, data, cond)
}
func (b *broken) Delete(ctx context.Context, ws string, cond backend.Condition) error {
	return b.delete(ctx, ws, cond)
}
func (b *broken) List(ctx context.Context) iter.Seq2[string, error] { return b.list(ctx) }
func (b *broken) Lock(ctx context.Context, ws string, info lock.Info) (lock.Info, error) {
	return b.lock(ctx, ws, info)
}
func (b *broken) Close() error { return b.close() }

const canary = "hunter2"

// target is memory behind that wire, each client changed by mutate.
func target(mutate func(*broken)) Target {
	return Target{Fenced: true, TTL: 10 * time.Second, MaxSize: 5<<20 + 1, Canary: canary, New: func(testing.TB) Namespace {
		store, beside := memory.New(), memory.New()
		var skipped atomic.Int64
		open := func(wire func(service) service) func(testing.TB) backend.Backend {
			return func(t testing.TB) backend.Backend {
				s := wire(store.Client())
				b := &broken{s, store, beside, t, "", s.Read, s.Stat, s.Write, s.Delete, s.List, s.Lock, s.Close}
				mutate(b)
				return b
			}
		}
		return Namespace{
			Open:        open(func(s service) service { return s }),
			Empty:       func(testing.TB, string) {}, // to the wire the same as none
			Beside:      func(testing.TB) backend.Backend { return beside.Client() },
			CorruptLock: func(_ testing.TB, ws string) { store.SetLockRecord(ws, []byte("rubbish")) },
			Lossy:       open(func(s service) service { return &lossy{service: s} }),
			Hung:        open(func(service) service { return hung }),
			Limited: func(t testing.TB, limit int) backend.Backend {
				return open(func(s service) service { return &limited{s, limit} })(t)
			},
			Unlocked: open(func(s service) service { return unlocked{s} }),
			Advance: func(d time.Duration) {
				by := time.Duration(skipped.Add(int64(d)))
				store.SetClock(func() time.Time { return time.Now().Add(by) })
			},
		}
	}}
}

// lossy loses the reply to the first change.
type lossy struct {
	service
	lost atomic.Bool
}

func (l *lossy) lose(op, ws string, err error) error {
	if !l.lost.Swap(true) {
		return &backend.Error{Op: op, Backend: "memory", Workspace: ws, Kind: backend.ErrUnknown, Err: errors.New("connection reset")}
	}
	return err
}

func (l *lossy) Write(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
	rev, err := l.service.Write(ctx, ws, data, cond)
	return rev, l.lose("write", ws, err)
}

func (l *lossy) Delete(ctx context.Context, ws string, cond backend.Condition) error {
	return l.lose("delete", ws, l.service.Delete(ctx, ws, cond))
}

func (l *lossy) Lock(ctx context.Context, ws string, info lock.Info) (lock.Info, error) {
	stored, err := l.service.Lock(ctx, ws, info)
	if err := l.lose("lock", ws, err); errors.Is(err, lock.ErrUnknown) {
		return lock.Info{}, &lock.UnknownError{Workspace: ws, ID: info.ID, Err: err}
	}
	return stored, err
}

func (l *lossy) Unlock(ctx context.Context, ws, id string) error {
	return l.lose("unlock", ws, l.service.Unlock(ctx, ws, id))
}

// limited takes states of up to limit bytes.
type limited struct {
	service
	limit int
}

var errTooLarge = &backend.Error{Op: "…", Backend: "memory", Kind: backend.ErrTooLarge}

func (l *limited) Write(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
	if len(data) > l.limit {
		return "", errTooLarge
	}
	return l.service.Write(ctx, ws, data, cond)
}

func (l *limited) Read(ctx context.Context, ws string) (backend.State, error) {
	st, err := l.service.Read(ctx, ws)
	if len(st.Data) > l.limit {
		return backend.State{}, errTooLarge
	}
	return st, err
}

// never is what a request returns that is not answered, or not made.
type never func(ctx context.Context, ws string) error

func (f never) Read(ctx context.Context, ws string) (backend.State, error) {
	return backend.State{}, f(ctx, ws)
}
func (f never) Stat(ctx context.Context, ws string) (backend.Revision, error) { return "", f(ctx, ws) }
func (f never) Write(ctx context.Context, ws string, _ []byte, _ backend.Condition) (backend.Revision, error) {
	return "", f(ctx, ws)
}
func (f never) Delete(ctx context.Context, ws string, _ backend.Condition) error { return f(ctx, ws) }
func (f never) List(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) { yield("", f(ctx, "any")) }
}
func (f never) Lock(ctx context.Context, ws string, _ lock.Info) (lock.Info, error) {
	return lock.Info{}, f(ctx, ws)
}
func (f never) Unlock(ctx context.Context, ws, _ string) error { return f(ctx, ws) }
func (f never) Holder(ctx context.Context, ws string) (lock.Info, error) {
	return lock.Info{}, f(ctx, ws)
}
func (f never) Renew(ctx context.Context, ws, _ string) (lock.Info, error) {
	return lock.Info{}, f(ctx, ws)
}
func (f never) Wait(ctx context.Context, ws string) error     { return f(ctx, ws) }
func (f never) Watch(ctx context.Context, ws, _ string) error { return f(ctx, ws) }
func (f never) Close() error                                  { return nil }

var hung never = func(ctx context.Context, ws string) error {
	if err := backend.CheckWorkspace(ws); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// unlocked is a client that is configured not to lock.
type unlocked struct{ service }

func (unlocked) Lock(context.Context, string, lock.Info) (lock.Info, error) {
	return lock.Info{}, errors.ErrUnsupported
}
func (unlocked) Unlock(context.Context, string, string) error { return errors.ErrUnsupported }
func (unlocked) Holder(context.Context, string) (lock.Info, error) {
	return lock.Info{}, errors.ErrUnsupported
}
func (unlocked) Renew(context.Context, string, string) (lock.Info, error) {
	return lock.Info{}, errors.ErrUnsupported
}
func (unlocked) Wait(context.Context, string) error          { return errors.ErrUnsupported }
func (unlocked) Watch(context.Context, string, string) error { return errors.ErrUnsupported }
