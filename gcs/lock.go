package gcs

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"cloud.google.com/go/storage"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/settle"
	"github.com/statelatch/statelatch/lock"
)

// Lock implements [lock.Locker]: one upload. The ID of the lock is the generation of
// its object.
func (b *Backend) Lock(ctx context.Context, workspace string, info lock.Info) (lock.Info, error) {
	c, err := b.call(ctx, "lock", workspace, b.lockName)
	if err != nil {
		return lock.Info{}, err
	}
	info.Path = "gs://" + b.config.Bucket + "/" + c.object
	record, err := info.Record()
	switch {
	case err != nil:
		return lock.Info{}, c.failed(backend.ErrInvalid, err)
	case info.TTL != 0:
		return lock.Info{}, c.failed(errors.ErrUnsupported, errors.New("a lock in Cloud Storage cannot expire"))
	}
	p := newPut(b.lock(c), record, 0, "")
	for range 4 {
		generation, err := b.create(ctx, c, p, info.ID)
		if err == nil {
			return imposed(info, generation), nil
		}
		if !errors.Is(err, backend.ErrConflict) {
			return lock.Info{}, err
		}
		obj, holder, err := b.look(ctx, c)
		switch {
		case errors.Is(err, lock.ErrNotHeld): // released in between
		case err != nil && (ctx.Err() != nil || errors.Is(err, backend.ErrTransient)):
			// An upload that was delivered twice is refused against itself.
			return lock.Info{}, &lock.UnknownError{Workspace: workspace, ID: info.ID, Err: fmt.Errorf("it was refused, and by whose lock was not to be seen: %s", err.Error())}
		case err != nil:
			return lock.Info{}, err
		case p.made(obj):
			return imposed(info, obj.generation), nil
		default:
			return lock.Info{}, &lock.HeldError{Workspace: workspace, Holder: holder}
		}
	}
	return lock.Info{}, c.failed(backend.ErrTransient, errors.New("the lock was taken and released all the time"))
}

// create takes the lock by an upload. The lock is this call's if it has its token;
// the ID was chosen by the caller, who may have chosen it before.
func (b *Backend) create(ctx context.Context, c call, p *put, id string) (generation int64, err error) {
	var other *object // whose lock there is, if it is not this call's
	return settle.Do(ctx, settle.Request[int64]{
		Try: func(ctx context.Context) (int64, error) { return b.putOnce(ctx, c, p) },
		Look: func(ctx context.Context) (int64, settle.Found, error) {
			obj, found, err := b.lookAtPut(ctx, c, p, lock.MaxInfo)
			if err != nil || found == settle.Before {
				return 0, found, err
			}
			if found == settle.Other {
				other = obj
			}
			return obj.generation, found, nil
		},
		Attempts: patience,
		Unknown: func(why error) error {
			unknown := &lock.UnknownError{Workspace: c.workspace, ID: id, Err: why}
			if other != nil { // not ours now; but an attempt may arrive late
				return &lock.HeldError{Workspace: c.workspace, Holder: other.holder(), Err: unknown}
			}
			return unknown
		},
	})
}

// Unlock implements [lock.Locker]: one DELETE. Where id is not the generation but
// the ID that the caller of Lock chose, the lock is read first.
func (b *Backend) Unlock(ctx context.Context, workspace, id string) error {
	c, err := b.call(ctx, "unlock", workspace, b.lockName)
	if err != nil {
		return err
	}
	if generation, err := strconv.ParseInt(id, 10, 64); err == nil && generation > 0 {
		if err := b.release(ctx, c, generation); !errors.Is(err, backend.ErrConflict) {
			return err
		}
	}
	obj, holder, err := b.look(ctx, c)
	if err == nil && id != "" && id == holder.Ref {
		if err = b.release(ctx, c, obj.generation); !errors.Is(err, backend.ErrConflict) {
			return err
		}
		_, holder, err = b.look(ctx, c)
	}
	if err != nil {
		return err
	}
	return &lock.HeldError{Workspace: workspace, Holder: holder, Err: errors.New("not by the lock ID given")}
}

func (b *Backend) release(ctx context.Context, c call, generation int64) error {
	err := b.remove(ctx, c, b.lock(c), generation)
	if errors.Is(err, backend.ErrNotExist) {
		return c.failed(lock.ErrNotHeld, nil)
	}
	return err
}

// Holder implements [lock.Locker]: one GET.
func (b *Backend) Holder(ctx context.Context, workspace string) (lock.Info, error) {
	c, err := b.call(ctx, "holder", workspace, b.lockName)
	if err != nil {
		return lock.Info{}, err
	}
	_, holder, err := b.look(ctx, c)
	return holder, err
}

// look fetches the lock; ErrNotHeld if there is none.
func (b *Backend) look(ctx context.Context, c call) (*object, lock.Info, error) {
	obj, err := b.get(ctx, c, b.lock(c), lock.MaxInfo)
	switch {
	case errors.Is(err, backend.ErrNotExist):
		return nil, lock.Info{}, c.failed(lock.ErrNotHeld, nil)
	case err != nil && !errors.Is(err, backend.ErrTooLarge):
		return nil, lock.Info{}, err
	}
	return obj, obj.holder(), nil
}

// holder reads a lock record. One that cannot be read has a generation too, which
// Terraform's force-unlock takes as well.
func (obj *object) holder() lock.Info {
	info := lock.ParseInfo(obj.data, strconv.FormatInt(obj.generation, 10))
	if obj.data == nil {
		info.Info = fmt.Sprintf("the lock record cannot be read: it has more than %d bytes", lock.MaxInfo)
	}
	return imposed(info, obj.generation)
}

// imposed puts the generation in the place of the ID, which is kept.
func imposed(info lock.Info, generation int64) lock.Info {
	info.Ref, info.ID = info.ID, strconv.FormatInt(generation, 10)
	return info
}

// lock returns the handle of a lock, which is never encrypted.
func (b *Backend) lock(c call) *storage.ObjectHandle { return b.handle(c, nil) }
