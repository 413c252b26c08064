// Package guard does something under a lock, and gives the lock back whatever
// happens.
package guard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// Do locks a workspace of b, calls do with the lock's ID, and releases the lock. The
// context of do ends when the lock is lost, and then says so in the error. Where b
// has no locks, or its configuration turns them off, do runs with the ID "".
func Do(ctx context.Context, b backend.Backend, workspace string, info lock.Info, opts lock.Options,
	do func(ctx context.Context, id string) error) (err error) {
	l, ok := backend.As[lock.Locker](b)
	if !ok {
		return do(ctx, "")
	}
	held, err := lock.Acquire(ctx, l, workspace, info, opts)
	if err != nil {
		if off(ctx, l, workspace, err) {
			return do(ctx, "")
		}
		return err
	}
	defer func() { // also when do panics
		err = join(err, Release(ctx, held))
	}()
	err = do(held.Context(), held.ID())
	if cause := context.Cause(held.Context()); err != nil && cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// off tells a locker that is configured not to lock, which refuses every method,
// from one that refused this lock.
func off(ctx context.Context, l lock.Locker, workspace string, err error) bool {
	if !errors.Is(err, errors.ErrUnsupported) {
		return false
	}
	_, err = l.Holder(ctx, workspace)
	return errors.Is(err, errors.ErrUnsupported)
}

// Release releases a lock, and tries again if the service fails for a moment: what
// is left behind, stops others. That it is not held after an attempt whose outcome
// is unknown, says that this attempt has released it.
func Release(ctx context.Context, held *lock.Lock) error {
	maybe := false
	for pause := 100 * time.Millisecond; ; pause *= 3 {
		err := held.Release(ctx)
		if maybe && errors.Is(err, lock.ErrNotHeld) {
			return nil
		}
		if last := pause >= time.Second/2; last || !errors.Is(err, lock.ErrTransient) && !errors.Is(err, lock.ErrUnknown) {
			return err
		}
		maybe = maybe || errors.Is(err, lock.ErrUnknown)
		time.Sleep(pause)
	}
}

func join(err, released error) error {
	if err == nil {
		return released
	}
	if released == nil || errors.Is(released, lock.ErrNotHeld) && errors.Is(err, lock.ErrNotHeld) {
		return err
	}
	return errors.Join(err, released)
}
