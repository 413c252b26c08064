package backend

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/statelatch/statelatch/lock"
)

// Back-off from writers that come first, where there is no lock.
const (
	minDelay = 10 * time.Millisecond
	maxDelay = time.Second
)

// Update is the main job: lock the workspace, read its state, edit it, write it
// under the revision that was read, unlock.
//
// edit gets the current state, or the zero State if there is none, and returns the
// new one. If it returns nil, nil, nothing is written and Update returns the
// current revision. If it returns an error, nothing is written and Update returns
// that error. Its context ends, with a cause that matches lock.ErrNotHeld, if the
// lock is lost; an error that it then returns comes with that cause.
//
// The lock is waited for, renewed and released as opts say; see [lock.Acquire].
// Without a lock, because b has none or its configuration turns it off, edit runs
// again, on the then current state, after each conflict: at once, and from the second
// on after a jittered delay that grows from 10 ms to 1 s.
//
// If edit ran and the write failed, whatever the cause, the error is (or holds) a
// *[WriteError] with what edit had returned. If the state was written but the lock
// could not be released, Update returns the new revision and a *lock.ReleaseError.
// If a read fails, even with ErrCorrupt, edit does not run.
func Update(ctx context.Context, b Backend, workspace string, info lock.Info, opts lock.Options,
	edit func(ctx context.Context, current State) ([]byte, error)) (Revision, error) {
	l, ok := As[lock.Locker](b)
	if !ok {
		return updateUnlocked(ctx, b, workspace, edit)
	}
	held, err := lock.Acquire(ctx, l, workspace, info, opts)
	if err != nil {
		if lockingIsOff(ctx, l, workspace, opts, err) {
			return updateUnlocked(ctx, b, workspace, edit)
		}
		return "", err
	}
	return updateLocked(ctx, b, workspace, held, edit)
}

// lockingIsOff tells a locker that is configured not to lock, which refuses every
// method, from one that refused this lock: then nothing must go on without it.
func lockingIsOff(ctx context.Context, l lock.Locker, workspace string, opts lock.Options, err error) bool {
	if opts.TTL != 0 || !errors.Is(err, errors.ErrUnsupported) {
		return false
	}
	_, err = l.Holder(ctx, workspace)
	return errors.Is(err, errors.ErrUnsupported)
}

func updateLocked(ctx context.Context, b Backend, workspace string, held *lock.Lock,
	edit func(context.Context, State) ([]byte, error)) (rev Revision, err error) {
	defer func() { // also when edit panics
		if released := held.Release(ctx); err == nil {
			err = released
		} else if released != nil {
			err = errors.Join(err, released)
		}
	}()
	rev, _, err = once(held.Context(), b, workspace, held.ID(), edit)
	return rev, err
}

func updateUnlocked(ctx context.Context, b Backend, workspace string,
	edit func(context.Context, State) ([]byte, error)) (Revision, error) {
	for delay := time.Duration(0); ; delay = min(max(2*delay, minDelay), maxDelay) {
		rev, conflict, err := once(ctx, b, workspace, "", edit)
		if !conflict {
			return rev, err
		}
		if !pause(ctx, delay) {
			return "", withCause(ctx, err)
		}
	}
}

// pause waits for a part of delay, so that writers spread out, and reports whether ctx
// goes on.
func pause(ctx context.Context, delay time.Duration) bool {
	timer := time.NewTimer(rand.N(delay + 1))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}

// once reads, edits and writes; conflict says that the write met another.
func once(ctx context.Context, b Backend, workspace, lockID string,
	edit func(context.Context, State) ([]byte, error)) (rev Revision, conflict bool, err error) {
	current, err := b.Read(ctx, workspace)
	if errors.Is(err, ErrNotExist) {
		current, err = State{}, nil
	}
	if err != nil {
		return "", false, withCause(ctx, err)
	}
	data, err := edit(ctx, current)
	switch {
	case err != nil && errors.Is(context.Cause(ctx), lock.ErrNotHeld): // which it may have called a cancellation
		return "", false, withCause(ctx, err)
	case err != nil:
		return "", false, err
	case data == nil:
		return current.Revision, false, nil
	}
	cond := Condition{Revision: current.Revision, LockID: lockID}
	rev, err = b.Write(ctx, workspace, data, cond)
	if err != nil {
		err = withCause(ctx, err)
		return "", errors.Is(err, ErrConflict), &WriteError{Workspace: workspace, Data: data, Condition: cond, Err: err}
	}
	return rev, false, nil
}

// withCause adds to err why ctx ended, which may be the loss of the lock.
func withCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}
