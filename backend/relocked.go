package backend

import (
	"context"

	"github.com/statelatch/statelatch/lock"
)

// WithLocker returns b locked by l instead of by its own locks, which it hides.
// b's writes are then not fenced: l's lock IDs mean nothing to b and are not
// passed on. Of b's abilities it keeps Stater and Historian, of l's all that
// package lock names. Close closes b.
func WithLocker(b Backend, l lock.Locker) Backend { return &relocked{b, l} }

type relocked struct {
	Backend
	lock.Locker
}

func (r *relocked) Write(ctx context.Context, workspace string, data []byte, cond Condition) (Revision, error) {
	cond.LockID = ""
	return r.Backend.Write(ctx, workspace, data, cond)
}

func (r *relocked) Delete(ctx context.Context, workspace string, cond Condition) error {
	cond.LockID = ""
	return r.Backend.Delete(ctx, workspace, cond)
}

// As has no default: an ability that it does not know might reach b's locks.
func (r *relocked) As(target any) (ok bool) {
	switch t := target.(type) {
	case *Stater:
		*t, ok = As[Stater](r.Backend)
	case *Historian:
		*t, ok = As[Historian](r.Backend)
	case *lock.Renewer:
		*t, ok = lock.As[lock.Renewer](r.Locker)
	case *lock.Waiter:
		*t, ok = lock.As[lock.Waiter](r.Locker)
	case *lock.Watcher:
		*t, ok = lock.As[lock.Watcher](r.Locker)
	case *lock.Leaser:
		*t, ok = lock.As[lock.Leaser](r.Locker)
	}
	return ok
}
