package locktest

import (
	"context"
	"errors"
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
	lock.Locker
	lock.Renewer
	lock.Waiter
	lock.Watcher
}

// broken is a client that does one thing in its own way.
type broken struct {
	service
	store  *memory.Backend // behind the wire
	t      testing.TB
	lock   func(ctx context.Context, ws string, info lock.Info) (lock.Info, error)
	unlock func(ctx context.Context, ws, id string) error
	holder func(ctx context.Context, ws string) (lock.Info, error)
	renew  func(ctx context.Context, ws, id string) (lock.Info, error)
	wait   func(ctx context.Context, ws string) error
	watch  func(ctx context.Context, ws, id string) error
}

func (b *broken) Lock(ctx context.Context, ws string, info lock.Info) (lock.Info, error) {
	return b.lock(ctx, ws, info)
}
func (b *broken) Unlock(ctx context.Context, ws, id string) error { return b.unlock(ctx, ws, id) }
func (b *broken) Holder(ctx context.Context, ws string) (lock.Info, error) {
	return b.holder(ctx, ws)
}
func (b *broken) Renew(ctx context.Context, ws, id string) (lock.Info, error) {
	return b.renew(ctx, ws, id)
}
func (b *broken) Wait(ctx context.Context, ws string) error      { return b.wait(ctx, ws) }
func (b *broken) Watch(ctx context.Context, ws, id string) error { return b.watch(ctx, ws, id) }

// target is memory behind that wire, each client changed by mutate.
func target(mutate func(*broken)) Target {
	return Target{TTL: 10 * time.Second, New: func(testing.TB) Namespace {
		store := memory.New()
		var skipped atomic.Int64
		open := func(wire func(service) service) func(testing.TB) lock.Locker {
			return func(t testing.TB) lock.Locker {
				s := wire(store.Client())
				b := &broken{s, store, t, s.Lock, s.Unlock, s.Holder, s.Renew, s.Wait, s.Watch}
				mutate(b)
				return b
			}
		}
		return Namespace{
			Open:        open(func(s service) service { return s }),
			CorruptLock: func(_ testing.TB, ws string) { store.SetLockRecord(ws, []byte("rubbish")) },
			Lossy:       open(func(s service) service { return &lossy{service: s} }),
			Hung:        open(func(service) service { return hung }),
			Unlocked:    open(func(service) service { return unlocked }),
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

var errLost = errors.New("connection reset")

func (l *lossy) Lock(ctx context.Context, ws string, info lock.Info) (lock.Info, error) {
	stored, err := l.service.Lock(ctx, ws, info)
	if !l.lost.Swap(true) {
		return lock.Info{}, &lock.UnknownError{Workspace: ws, ID: info.ID, Err: errLost}
	}
	return stored, err
}

func (l *lossy) Unlock(ctx context.Context, ws, id string) error {
	err := l.service.Unlock(ctx, ws, id)
	if !l.lost.Swap(true) {
		return &backend.Error{Op: "unlock", Workspace: ws, Kind: lock.ErrUnknown, Err: errLost}
	}
	return err
}

// never is what a request returns that is not answered, or not made.
type never func(ctx context.Context, ws string) error

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

var (
	hung never = func(ctx context.Context, ws string) error {
		if err := lock.CheckWorkspace(ws); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}
	unlocked never = func(context.Context, string) error { return errors.ErrUnsupported }
)
