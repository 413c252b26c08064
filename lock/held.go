package lock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Lock is a lock that [Acquire] took. It is renewed and looked at, and its Locker
// asked to tell of its loss ([Watcher]), until Release, also after the context of
// Acquire has ended, so that a cancelled run can still save its state; every Lock
// must be released.
type Lock struct {
	l         Locker
	workspace string
	info      Info
	opts      Options

	ctx    context.Context
	cancel context.CancelCauseFunc
	keep   context.Context // ends with Release alone: a cancelled run still has to save its state
	let    context.CancelFunc
	kept   sync.WaitGroup // the goroutines that watch over the lock

	mu       sync.Mutex
	released bool
}

var errReleased = errors.New("the lock has been released")

// hold keeps the lock that was asked for at that time.
func hold(ctx context.Context, l Locker, workspace string, info Info, asked time.Time, opts Options) *Lock {
	k := &Lock{l: l, workspace: workspace, info: info, opts: opts}
	k.ctx, k.cancel = context.WithCancelCause(ctx)
	k.keep, k.let = context.WithCancel(context.WithoutCancel(ctx))
	switch renewer, _ := As[Renewer](l); {
	case info.TTL > 0:
		k.kept.Go(func() { k.renew(renewer, asked) })
	case opts.check() > 0:
		k.kept.Go(k.watch)
	default:
		return k
	}
	if watcher, ok := As[Watcher](l); ok {
		k.kept.Go(func() { k.listen(watcher) })
	}
	return k
}

// ID returns the lock's ID, for Condition.LockID and Unlock.
func (k *Lock) ID() string { return k.info.ID }

// Info returns the lock's record as it was stored.
func (k *Lock) Info() Info { return k.info }

// Context returns a context of the one that Acquire was given, which also ends
// when the lock is released or lost. If it was lost, its cause matches
// [ErrNotHeld].
func (k *Lock) Context() context.Context { return k.ctx }

// Release gives the lock back. It does so although ctx, or the context of
// Acquire, has ended, within ReleaseTimeout. The error is a *[ReleaseError]; where
// the lock had been lost it matches [ErrNotHeld] or holds a *[HeldError]. Calling
// Release again after an error tries again; after a success it does nothing.
func (k *Lock) Release(ctx context.Context) error {
	k.cancel(errReleased)
	k.let()
	k.kept.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.released {
		return nil
	}
	ctx, cancel := k.opts.cleanup(ctx)
	defer cancel()
	if err := k.l.Unlock(ctx, k.workspace, k.info.ID); err != nil {
		return &ReleaseError{Workspace: k.workspace, ID: k.info.ID, Err: err}
	}
	k.released = true
	return nil
}

func (k *Lock) lost(why error) {
	k.cancel(fmt.Errorf("lock %s of workspace %q was lost: %w: %w", k.info.ID, k.workspace, ErrNotHeld, why))
}

// watch looks at a lock without TTL from time to time.
func (k *Lock) watch() {
	ticker := time.NewTicker(k.opts.check())
	defer ticker.Stop()
	for {
		select {
		case <-k.keep.Done():
			return
		case <-ticker.C:
		}
		if k.look() {
			return
		}
	}
}

// listen lets the Locker tell of the loss, and looks whether it is right.
func (k *Lock) listen(w Watcher) {
	for {
		err := w.Watch(k.keep, k.workspace, k.info.ID)
		if errors.Is(err, errors.ErrUnsupported) || err == nil && k.look() {
			return
		}
		select { // it could not tell, or was wrong
		case <-k.keep.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// look looks at the lock, and reports whether there is nothing more to see.
func (k *Lock) look() bool {
	holder, err := k.l.Holder(k.keep, k.workspace)
	switch {
	case err == nil && holder.ID != k.info.ID:
		k.lost(&HeldError{Workspace: k.workspace, Holder: holder})
		return true
	case errors.Is(err, ErrNotHeld):
		k.lost(err)
		return true
	}
	return errors.Is(err, errors.ErrUnsupported)
}

// renew renews a lock with a TTL three times in each. When renewals have failed
// for a whole TTL, counted from the start of the last that succeeded, or of taking
// the lock, somebody else may hold the lock: it may have counted since then.
func (k *Lock) renew(r Renewer, renewed time.Time) {
	for pause := time.Until(renewed.Add(k.info.TTL / 3)); ; {
		select {
		case <-k.keep.Done():
			return
		case <-time.After(pause):
		}
		deadline := renewed.Add(k.info.TTL)
		start := time.Now()
		ctx, cancel := context.WithDeadline(k.keep, deadline)
		_, err := r.Renew(ctx, k.workspace, k.info.ID)
		cancel()
		var held *HeldError
		switch {
		case err == nil:
			renewed, pause = start, time.Until(start.Add(k.info.TTL/3))
		case errors.Is(err, ErrNotHeld), errors.As(err, &held):
			k.lost(err)
			return
		case !time.Now().Before(deadline):
			k.lost(fmt.Errorf("not renewed for %s: %w", k.info.TTL, err))
			return
		default:
			pause = min(k.info.TTL/10, time.Until(deadline))
		}
	}
}
