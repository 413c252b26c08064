package faulty

import (
	"cmp"
	"context"
	"errors"
	"iter"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// As is how [backend.As] and [lock.As] find the abilities of the Backend inside,
// with the faults applied. It hides a [lock.Watcher], which Acquire calls beside the
// others: the nth call would be another one in each run.
func (f *Backend) As(target any) (ok bool) {
	l, has := backend.As[lock.Locker](f.inner)
	switch t := target.(type) {
	case *lock.Locker:
		*t, ok = locker{f, l}, has
	case *lock.Renewer:
		inner, has := lock.As[lock.Renewer](l)
		*t, ok = renewer{f, inner}, has
	case *lock.Waiter:
		inner, has := lock.As[lock.Waiter](l)
		*t, ok = waiter{f, inner}, has
	case *lock.Leaser: // it makes no calls
		*t, ok = lock.As[lock.Leaser](l)
	case *backend.Stater:
		inner, has := backend.As[backend.Stater](f.inner)
		*t, ok = stater{f, inner}, has
	case *backend.Historian:
		inner, has := backend.As[backend.Historian](f.inner)
		*t, ok = historian{f, inner}, has
	}
	return ok
}

type locker struct {
	f     *Backend
	inner lock.Locker
}

func (l locker) As(target any) bool { return l.f.As(target) }

func (l locker) Lock(ctx context.Context, workspace string, info lock.Info) (lock.Info, error) {
	c, err := l.f.begin(ctx, Lock, workspace)
	if err != nil {
		return lock.Info{}, err
	}
	stored, err := l.inner.Lock(ctx, workspace, info)
	if cause := c.end(ctx); cause != nil {
		id := cmp.Or(stored.ID, info.ID)
		if unknown, ok := errors.AsType[*lock.UnknownError](err); ok {
			id = unknown.ID // which the service imposes
		}
		return lock.Info{}, &lock.UnknownError{Workspace: workspace, ID: id, Err: cause}
	}
	return stored, err
}

func (l locker) Unlock(ctx context.Context, workspace, id string) error {
	return doErr(ctx, l.f, Unlock, workspace, func() error {
		return l.inner.Unlock(ctx, workspace, id)
	})
}

func (l locker) Holder(ctx context.Context, workspace string) (lock.Info, error) {
	return do(ctx, l.f, Holder, workspace, func() (lock.Info, error) {
		return l.inner.Holder(ctx, workspace)
	})
}

type renewer struct {
	f     *Backend
	inner lock.Renewer
}

func (r renewer) Renew(ctx context.Context, workspace, id string) (lock.Info, error) {
	return do(ctx, r.f, Renew, workspace, func() (lock.Info, error) {
		return r.inner.Renew(ctx, workspace, id)
	})
}

type waiter struct {
	f     *Backend
	inner lock.Waiter
}

func (w waiter) Wait(ctx context.Context, workspace string) error {
	return doErr(ctx, w.f, Wait, workspace, func() error {
		return w.inner.Wait(ctx, workspace)
	})
}

type stater struct {
	f     *Backend
	inner backend.Stater
}

func (s stater) Stat(ctx context.Context, workspace string) (backend.Revision, error) {
	return do(ctx, s.f, Stat, workspace, func() (backend.Revision, error) {
		return s.inner.Stat(ctx, workspace)
	})
}

type historian struct {
	f     *Backend
	inner backend.Historian
}

func (h historian) Versions(ctx context.Context, workspace string) iter.Seq2[backend.Version, error] {
	return doSeq(ctx, h.f, Versions, workspace, h.inner.Versions(ctx, workspace))
}

func (h historian) ReadVersion(ctx context.Context, workspace, id string) (backend.State, error) {
	return do(ctx, h.f, ReadVersion, workspace, func() (backend.State, error) {
		return h.inner.ReadVersion(ctx, workspace, id)
	})
}
