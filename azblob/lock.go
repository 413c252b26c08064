package azblob

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/settle"
	"github.com/statelatch/statelatch/lock"
)

const (
	minTTL = 15 * time.Second
	maxTTL = 60 * time.Second

	maxRecord = 7 << 10 // of the 8 KiB that a blob's metadata may have
)

// Lock implements [lock.Locker]. It puts the record into the metadata, and then
// acquires the lease on the ETag that this has given the blob: a lock has its record
// from the first moment. Before, it takes one HEAD unless this Backend has seen the
// blob in the last seconds.
func (b *Backend) Lock(ctx context.Context, workspace string, info lock.Info) (lock.Info, error) {
	c, err := b.call(ctx, "lock", workspace)
	if err != nil {
		return lock.Info{}, err
	}
	info.Ref, info.ID, info.Path = info.ID, lock.NewID(), b.config.ContainerName+"/"+b.name(workspace)
	record, err := b.record(c, info)
	if err != nil {
		return lock.Info{}, err
	}
	p := b.known(workspace)
	if p != nil && time.Since(p.seen) > b.fresh {
		p = nil
	}
	for range 10 {
		switch err = b.tryLock(ctx, c, info, record, p); {
		case err == nil:
			return info, nil
		case errors.Is(err, errLeased):
			if err = b.heldBy(ctx, c); !errors.Is(err, lock.ErrNotHeld) {
				return lock.Info{}, err
			}
		case !errors.Is(err, backend.ErrConflict) && !errors.Is(err, backend.ErrNotExist):
			return lock.Info{}, err
		}
		p = nil // what was known is no longer so
	}
	return lock.Info{}, c.failed(backend.ErrTransient, errors.New("the lock was taken and released all the time"))
}

// record returns the metadata that describes a lock.
func (b *Backend) record(c call, info lock.Info) (string, error) {
	data, err := info.Record()
	record := base64.StdEncoding.EncodeToString(data)
	switch {
	case info.Ref == "":
		err = c.failed(backend.ErrInvalid, errors.New("a lock needs an ID"))
	case info.TTL != 0 && (info.TTL < minTTL || info.TTL > maxTTL):
		err = c.failed(errors.ErrUnsupported, fmt.Errorf("the TTL of a lease is between %s and %s", minTTL, maxTTL))
	case err != nil:
		err = c.failed(backend.ErrInvalid, err)
	case len(record) > maxRecord:
		err = c.failed(backend.ErrInvalid, fmt.Errorf("the lock's record has %d bytes in base64, at most %d fit into the metadata", len(record), maxRecord))
	}
	return record, err
}

// tryLock makes one attempt on a blob that has the properties p; nil has to be
// looked up.
func (b *Backend) tryLock(ctx context.Context, c call, info lock.Info, record string, p *properties) (err error) {
	if p == nil {
		if p, err = b.current(ctx, c); err != nil {
			return err
		}
		if p.leased {
			return errLeased
		}
	}
	if value(p.metadata[lockKey]) != record { // else it was announced, and refused against itself
		if p, err = b.announce(ctx, c, p, record); err != nil {
			return err
		}
	}
	if err = b.acquire(ctx, c, info, p.etag); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.took[c.workspace] = taken{info.ID, p}
	return nil
}

// announce puts a record into the metadata of a blob that is not leased; where there
// is none, it creates an empty one. Nothing is locked by that.
func (b *Backend) announce(ctx context.Context, c call, p *properties, record string) (*properties, error) {
	if p.etag != "" {
		return b.setMetadata(ctx, c, p, "", p.with(lockKey, record))
	}
	p, err := b.put(ctx, c, nil, &properties{metadata: metadata{lockKey: &record}}, "")
	switch {
	case errors.Is(err, backend.ErrUnknown) && ctx.Err() != nil:
		return nil, c.failed(ctx.Err(), errors.New(err.Error()))
	case errors.Is(err, backend.ErrUnknown): // whatever is there now, it can be looked at
		return nil, c.failed(backend.ErrConflict, errors.New(err.Error()))
	case err == nil && value(p.metadata[lockKey]) != record:
		// The reply was lost, and another has announced a lock of his own since: the blob
		// is ours, with its token, and its record is not.
		return nil, c.failed(backend.ErrConflict, errors.New("another is about to lock"))
	}
	return p, err
}

// acquire acquires the lease of a blob that has etag. The ID is this very call's, so
// that the service grants it again if the reply was lost; and the ETag changes with
// the next lock, so that no attempt is granted late.
func (b *Backend) acquire(ctx context.Context, c call, info lock.Info, etag azcore.ETag) error {
	duration := int32(-1) // for ever
	if info.TTL > 0 {
		duration = int32(info.TTL / time.Second)
	}
	var last error
	_, err := settle.Do(ctx, settle.Request[struct{}]{
		Try: func(ctx context.Context) (none struct{}, err error) {
			last = b.acquireOnce(ctx, c, info.ID, duration, etag)
			return none, last
		},
		Look: func(ctx context.Context) (none struct{}, found settle.Found, err error) {
			p, err := b.current(ctx, c)
			if err == nil && p.etag == etag {
				return none, settle.Before, nil // whose lease it is, the next attempt tells
			}
			return none, settle.Other, err
		},
		Unknown: func(why error) error {
			unknown := &lock.UnknownError{Workspace: c.workspace, ID: info.ID, Err: why}
			var held *lock.HeldError
			if errors.Is(last, errLeased) && errors.As(b.heldBy(ctx, c), &held) {
				held.Err = unknown // not ours now, but it may have been
				return held
			}
			return unknown
		},
	})
	return err
}

// Unlock implements [lock.Locker]: it releases the lease on the ETag that the blob has
// had since this Backend took the lock or wrote under it. Of any other lock it first
// gives the blob another ETag, which takes a HEAD and a PUT more. So whoever finds
// that ETag on a free blob knows that it was himself who released it. The record
// stays, and says that it is of a lock that was released.
func (b *Backend) Unlock(ctx context.Context, workspace, id string) error {
	c, err := b.call(ctx, "unlock", workspace)
	if err != nil {
		return err
	}
	if !isLeaseID(id) {
		return b.breakUnreadable(ctx, c, id)
	}
	p := b.isOurs(workspace, id)
	for range 10 {
		if p == nil {
			p, err = b.mark(ctx, c, id)
		}
		if err == nil {
			err = b.release(ctx, c, id, p)
		}
		if err == nil {
			// Whoever takes the lock from now on has a record of his own, and this request is
			// refused then. If it fails, nothing is lost.
			_, _ = b.setMetadata(ctx, c, p, "", retired(p))
			return nil
		}
		switch {
		case errors.Is(err, errLeased):
			return b.heldBy(ctx, c)
		case errors.Is(err, backend.ErrNotExist):
			return c.failed(lock.ErrNotHeld, nil)
		case !errors.Is(err, backend.ErrConflict):
			return err
		}
		p, err = nil, nil // it was written under the lock, or two unlock
	}
	return c.failed(backend.ErrTransient, errors.New("the blob was changed all the time"))
}

// mark gives the blob another ETag, if id holds the lease.
func (b *Backend) mark(ctx context.Context, c call, id string) (*properties, error) {
	p, err := b.head(ctx, c, id)
	if err != nil {
		return nil, err
	}
	return b.setMetadata(ctx, c, p, id, p.metadata)
}

// retired returns the metadata that a released lock leaves behind. The ETag that it
// gives the blob makes void what of the lock's requests may still be on its way. The
// record stays: a Terraform that waits, and saw the lease just before, takes a missing
// one for an error, and gives up.
func retired(p *properties) metadata {
	record := info(p)
	record.Info = "released"
	data, err := json.Marshal(record)
	if err != nil || !isLeaseID(record.ID) {
		return p.with(lockKey, "")
	}
	return p.with(lockKey, base64.StdEncoding.EncodeToString(data))
}

// taken is a lock that a Backend took, and the properties that it itself gave the
// blob since: not what it has seen, since those others may have given it.
type taken struct {
	id string
	p  *properties
}

// wrote notes what a write under a lock gave the blob.
func (b *Backend) wrote(workspace, id string, p *properties) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if id != "" && b.took[workspace].id == id {
		b.took[workspace] = taken{id, p}
	}
}

// isOurs returns what this Backend gave the blob under a lock that it took, and
// forgets the lock; nil for any other.
func (b *Backend) isOurs(workspace, id string) *properties {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.took[workspace]
	if t.id != id {
		return nil
	}
	delete(b.took, workspace)
	return t.p
}

// release releases the lease of a blob that has the properties p.
func (b *Backend) release(ctx context.Context, c call, id string, p *properties) error {
	_, err := settle.Do(ctx, settle.Request[struct{}]{
		Try: func(ctx context.Context) (none struct{}, err error) { return none, b.tryRelease(ctx, c, id, p.etag) },
		Look: func(ctx context.Context) (none struct{}, found settle.Found, err error) {
			now, err := b.current(ctx, c)
			switch {
			case err != nil || now.etag != p.etag:
				return none, settle.Other, err
			case now.leased:
				return none, settle.Before, nil // by whom, the service compares
			}
			return none, settle.Ours, nil
		},
		Unknown: func(why error) error { return c.failed(backend.ErrUnknown, why) },
	})
	return err
}

// tryRelease is releaseOnce. A release that was delivered twice, which middleboxes do,
// is refused against itself. As in release, that ETag on a free blob tells.
func (b *Backend) tryRelease(ctx context.Context, c call, id string, etag azcore.ETag) error {
	err := b.releaseOnce(ctx, c, id, etag)
	if !errors.Is(err, errLeased) && !errors.Is(err, lock.ErrNotHeld) {
		return err
	}
	now, failed := b.current(ctx, c)
	switch {
	case failed != nil:
		return c.failed(backend.ErrUnknown, settle.Unseen(err, failed))
	case now.etag == etag && !now.leased:
		return nil
	}
	return err
}

// breakUnreadable breaks the lease of a blob whose lock cannot be read, if it is
// still the one that id was reported for. The blob gets another ETag, so that id
// breaks no other.
func (b *Backend) breakUnreadable(ctx context.Context, c call, id string) error {
	holder, p, err := b.holder(ctx, c)
	if err != nil {
		return err
	}
	if id == "" || holder.ID != id {
		return &lock.HeldError{Workspace: c.workspace, Holder: holder, Err: errors.New("not by the lock ID given")}
	}
	_, err = settle.Do(ctx, settle.Request[struct{}]{
		Try:     func(ctx context.Context) (none struct{}, err error) { return none, b.breakOnce(ctx, c, p.etag) },
		Look:    func(context.Context) (none struct{}, found settle.Found, err error) { return none, settle.Before, nil },
		Unknown: func(why error) error { return c.failed(backend.ErrUnknown, why) },
	})
	switch {
	case errors.Is(err, backend.ErrConflict), errors.Is(err, errLeased):
		return b.heldBy(ctx, c)
	case err == nil:
		_, _ = b.setMetadata(ctx, c, p, "", p.with(lockKey, ""))
	}
	return err
}

// Holder implements [lock.Locker]: one HEAD if nobody holds the lock, or the one that
// this Backend saw last; else one or two more, which make sure that the lease is the
// record's.
func (b *Backend) Holder(ctx context.Context, workspace string) (lock.Info, error) {
	c, err := b.call(ctx, "holder", workspace)
	if err != nil {
		return lock.Info{}, err
	}
	holder, _, err := b.holder(ctx, c)
	return holder, err
}

func (b *Backend) holder(ctx context.Context, c call) (lock.Info, *properties, error) {
	if last := b.known(c.workspace); last != nil && isLeaseID(info(last).ID) {
		p, err := b.head(ctx, c, info(last).ID)
		if !errors.Is(err, errLeased) {
			return c.holds(p, err)
		}
	}
	var seen *properties
	for range 3 {
		before := seen
		var err error
		if seen, err = b.head(ctx, c, ""); err != nil || !seen.leased {
			return c.holds(nil, err)
		}
		if !isLeaseID(info(seen).ID) || before != nil && before.etag == seen.etag {
			break
		}
		p, err := b.head(ctx, c, info(seen).ID)
		if !errors.Is(err, errLeased) {
			return c.holds(p, err)
		}
	}
	// There is no record, or one of an earlier lock.
	return unreadable(seen), seen, nil
}

// holds returns who holds the lease of a blob that has the properties p; nil for
// nobody.
func (c call) holds(p *properties, err error) (lock.Info, *properties, error) {
	if err == nil && p == nil || errors.Is(err, backend.ErrNotExist) {
		err = c.failed(lock.ErrNotHeld, nil)
	}
	if err != nil {
		return lock.Info{}, nil, err
	}
	return info(p), p, nil
}

// heldBy returns a *lock.HeldError with the holder, or ErrNotHeld, or why neither
// can be told.
func (b *Backend) heldBy(ctx context.Context, c call) error {
	holder, _, err := b.holder(ctx, c)
	if err != nil {
		return err
	}
	return &lock.HeldError{Workspace: c.workspace, Holder: holder}
}

// Renew implements [lock.Renewer]: one request, and a HEAD for the record.
func (b *Backend) Renew(ctx context.Context, workspace, id string) (lock.Info, error) {
	c, err := b.call(ctx, "renew", workspace)
	if err != nil {
		return lock.Info{}, err
	}
	err = errLeased // by another ID than one that is none
	if isLeaseID(id) {
		err = b.renewOnce(ctx, c, id)
	}
	var p *properties
	if err == nil {
		p, err = b.head(ctx, c, id)
	}
	if errors.Is(err, errLeased) {
		return lock.Info{}, b.heldBy(ctx, c)
	}
	renewed, _, err := c.holds(p, err)
	return renewed, err
}
