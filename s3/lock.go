package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// taken is what a Backend remembers of a lock that it took: with it, one
// conditional request releases the lock.
type taken struct {
	etag string               // of the lock file; "" if there is none
	info types.AttributeValue // of the DynamoDB item; nil if there is none
}

// A part is one of the two locks. The lock of a workspace is the lock file, the
// DynamoDB item, or both.
type part interface {
	// acquire takes the part, and notes in t what releases it.
	acquire(ctx context.Context, c call, info lock.Info, t *taken) error
	// release gives the part back if id holds it; t is zero for a lock that another
	// process took.
	release(ctx context.Context, c call, id string, t taken) error
	// holder returns who holds the part, or ErrNotHeld.
	holder(ctx context.Context, c call) (lock.Info, error)
}

// parts returns the configured locks in the order in which they are taken, which
// is Terraform's.
func (b *Backend) parts() []part {
	var parts []part
	if b.config.UseLockfile {
		parts = append(parts, lockFile{b})
	}
	if b.dynamodb != nil {
		parts = append(parts, lockItem{b})
	}
	return parts
}

// lockCall starts a call of the Locker.
func (b *Backend) lockCall(ctx context.Context, op, workspace string) (call, []part, error) {
	c, err := b.call(ctx, op, workspace)
	parts := b.parts()
	if err == nil && len(parts) == 0 {
		err = c.failed(errors.ErrUnsupported, errors.New("locking is not configured; set use_lockfile or dynamodb_table"))
	}
	return c, parts, err
}

// Lock implements [lock.Locker]. If the second of two locks is refused, the first
// is given back; if that fails, the error holds a *lock.UnknownError with its ID.
func (b *Backend) Lock(ctx context.Context, workspace string, info lock.Info) (lock.Info, error) {
	c, parts, err := b.lockCall(ctx, "lock", workspace)
	if err != nil {
		return lock.Info{}, err
	}
	info.Path = b.config.Bucket + "/" + c.key
	if err := b.checkLock(c, info); err != nil {
		return lock.Info{}, err
	}
	var t taken
	for i, p := range parts {
		if err := p.acquire(ctx, c, info, &t); err != nil {
			return lock.Info{}, b.giveBack(ctx, c, parts[:i], info.ID, t, err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken[workspace+"/"+info.ID] = t
	return info, nil
}

// checkLock refuses what cannot be stored.
func (b *Backend) checkLock(c call, info lock.Info) error {
	record, err := info.Record()
	switch {
	case err != nil:
		return c.failed(backend.ErrInvalid, err)
	case info.TTL != 0 && len(renewed(record)) > lock.MaxInfo:
		return c.failed(backend.ErrInvalid, errors.New("the lock's record is too long to be renewed"))
	case info.TTL != 0 && b.dynamodb != nil:
		return c.failed(errors.ErrUnsupported, errors.New("a lock in DynamoDB cannot expire"))
	}
	return nil
}

// unseen is the error of an attempt that was refused, and then it was not to be seen,
// for why, who holds the lock: what is delivered twice is refused against itself.
func unseen(ctx context.Context, c call, id string, why error) error {
	if ctx.Err() == nil && !errors.Is(why, backend.ErrTransient) {
		return why
	}
	return &lock.UnknownError{Workspace: c.workspace, ID: id, Err: ended(ctx, fmt.Errorf("it was refused, and by whose lock was not to be seen: %v", why))}
}

// giveBack releases the parts that were taken before one was refused for why. When
// ctx has ended there is no time for that: the caller gets the ID.
func (b *Backend) giveBack(ctx context.Context, c call, parts []part, id string, t taken, why error) error {
	for _, p := range parts {
		var other *lock.HeldError
		err := p.release(ctx, c, id, t)
		if err == nil || errors.Is(err, lock.ErrNotHeld) || errors.As(err, &other) && !unreadable(other.Holder) {
			continue // if it is another's, he has broken it and taken it
		}
		var unknown *lock.UnknownError // of the second lock, with the same ID
		if errors.As(why, &unknown) && !errors.As(why, &other) {
			why = unknown.Err
		}
		return &lock.UnknownError{Workspace: c.workspace, ID: id, Err: fmt.Errorf("%w; and what was taken of the lock was not given back: %v", why, err)}
	}
	return why
}

// unreadable reports whether nobody can tell whose record it is: it may be one that the
// endpoint has not wholly written.
func unreadable(holder lock.Info) bool { return strings.HasPrefix(holder.ID, "unreadable-") }

// Unlock implements [lock.Locker]. It releases whatever of the two locks id holds,
// the last one taken first, and succeeds if that was any, even if the other one is
// another's by then. If one was released and the other was not, the outcome is unknown.
func (b *Backend) Unlock(ctx context.Context, workspace, id string) error {
	c, parts, err := b.lockCall(ctx, "unlock", workspace)
	if err != nil {
		return err
	}
	t := b.forget(workspace, id)
	released, held := false, error(nil)
	var failures []error
	for _, p := range slices.Backward(parts) {
		err := p.release(ctx, c, id, t)
		var other *lock.HeldError
		switch {
		case err == nil:
			released = true
		case errors.As(err, &other):
			held = err // in the end the first one's, as Holder names it
		case !errors.Is(err, lock.ErrNotHeld):
			failures = append(failures, err)
		}
	}
	failed := errors.Join(failures...)
	switch {
	case released && failed != nil, len(failures) > 1 && errors.Is(failed, backend.ErrUnknown):
		// Of them only the text: another kind would claim that nothing has changed.
		return c.failed(backend.ErrUnknown, ended(ctx, fmt.Errorf("not all of the lock was released: %v", failed)))
	case failed != nil:
		return failed
	case released:
		return nil
	case held != nil:
		return held
	}
	return c.failed(lock.ErrNotHeld, nil)
}

// forget returns what is remembered of a lock, for the last time.
func (b *Backend) forget(workspace, id string) taken {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.taken[workspace+"/"+id]
	delete(b.taken, workspace+"/"+id)
	return t
}

// Holder implements [lock.Locker]. If only one of two locks is there, left by a
// crash or by a client that knows only that one, its holder is the holder.
func (b *Backend) Holder(ctx context.Context, workspace string) (lock.Info, error) {
	c, parts, err := b.lockCall(ctx, "holder", workspace)
	if err != nil {
		return lock.Info{}, err
	}
	return b.holder(ctx, c, parts)
}

func (b *Backend) holder(ctx context.Context, c call, parts []part) (lock.Info, error) {
	for _, p := range parts {
		if info, err := p.holder(ctx, c); !errors.Is(err, lock.ErrNotHeld) {
			return info, err
		}
	}
	return lock.Info{}, c.failed(lock.ErrNotHeld, nil)
}

// Renew implements [lock.Renewer] for a lock file. A lock without TTL, which every
// lock in DynamoDB is, has nothing to prolong.
func (b *Backend) Renew(ctx context.Context, workspace, id string) (lock.Info, error) {
	c, parts, err := b.lockCall(ctx, "renew", workspace)
	if err != nil {
		return lock.Info{}, err
	}
	if file, ok := parts[0].(lockFile); ok && len(parts) == 1 {
		return file.renew(ctx, c, id)
	}
	info, err := b.holder(ctx, c, parts)
	if err != nil {
		return lock.Info{}, err
	}
	return info, mustHold(c, info, id)
}

// mustHold reports whether id is the holder's.
func mustHold(c call, holder lock.Info, id string) error {
	if holder.ID != id {
		return &lock.HeldError{Workspace: c.workspace, Holder: holder, Err: errors.New("not by the lock ID given")}
	}
	return nil
}
