package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// A record is a stored lock, as bytes: what others left need not be readable.
type record struct {
	json    []byte
	version int       // names this record among all of its workspace, for ParseInfo
	written time.Time // by the store's clock, from which a TTL counts
}

func (r *record) info() lock.Info { return lock.ParseInfo(r.json, fmt.Sprint(r.version)) }

// Lock implements [lock.Locker].
func (b *Backend) Lock(ctx context.Context, workspace string, info lock.Info) (lock.Info, error) {
	unlock, err := b.begin(ctx, "lock", workspace)
	if err != nil {
		return lock.Info{}, err
	}
	defer unlock()
	if holder, held := b.store.holder(workspace); held {
		return lock.Info{}, &lock.HeldError{Workspace: workspace, Holder: holder}
	}
	info.Path = "memory/" + workspace
	record, err := info.Record()
	if err != nil {
		return lock.Info{}, &backend.Error{Op: "lock", Backend: "memory", Workspace: workspace, Kind: backend.ErrInvalid, Err: err}
	}
	b.store.setLock(workspace, record)
	return info, nil
}

// Unlock implements [lock.Locker].
func (b *Backend) Unlock(ctx context.Context, workspace, id string) error {
	unlock, err := b.begin(ctx, "unlock", workspace)
	if err != nil {
		return err
	}
	defer unlock()
	if err := b.store.mustHold("unlock", workspace, id); err != nil {
		return err
	}
	b.store.setLock(workspace, nil)
	return nil
}

// Holder implements [lock.Locker].
func (b *Backend) Holder(ctx context.Context, workspace string) (lock.Info, error) {
	unlock, err := b.begin(ctx, "holder", workspace)
	if err != nil {
		return lock.Info{}, err
	}
	defer unlock()
	holder, held := b.store.holder(workspace)
	if !held {
		return lock.Info{}, failure("holder", workspace, lock.ErrNotHeld)
	}
	return holder, nil
}

// Renew implements [lock.Renewer].
func (b *Backend) Renew(ctx context.Context, workspace, id string) (lock.Info, error) {
	unlock, err := b.begin(ctx, "renew", workspace)
	if err != nil {
		return lock.Info{}, err
	}
	defer unlock()
	if err := b.store.mustHold("renew", workspace, id); err != nil {
		return lock.Info{}, err
	}
	r := b.store.locks[workspace]
	r.written = b.store.now()
	return r.info(), nil
}

// Wait implements [lock.Waiter].
func (b *Backend) Wait(ctx context.Context, workspace string) error {
	return b.await(ctx, "wait", workspace, func(lock.Info) bool { return true })
}

// Watch implements [lock.Watcher].
func (b *Backend) Watch(ctx context.Context, workspace, id string) error {
	return b.await(ctx, "watch", workspace, func(holder lock.Info) bool { return holder.ID == id })
}

// await returns nil when nobody holds the lock, or a holder that does not block.
func (b *Backend) await(ctx context.Context, op, workspace string, blocks func(holder lock.Info) bool) error {
	for {
		unlock, err := b.begin(ctx, op, workspace)
		if err != nil {
			return err
		}
		holder, held := b.store.holder(workspace)
		var expiry <-chan time.Time
		if held && holder.TTL > 0 {
			expiry = time.After(b.store.locks[workspace].written.Add(holder.TTL).Sub(b.store.now()))
		}
		freed := b.store.freed
		unlock()
		if !held || !blocks(holder) {
			return nil
		}
		select {
		case <-ctx.Done():
			return failure(op, workspace, ctx.Err())
		case <-freed:
		case <-expiry:
		}
	}
}

// SetLockRecord makes record the stored lock of a workspace, whoever holds it, as
// if another client had written it; nil removes it.
func (b *Backend) SetLockRecord(workspace string, record []byte) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.store.setLock(workspace, bytes.Clone(record))
}

// holder returns who holds the lock now.
func (s *store) holder(workspace string) (lock.Info, bool) {
	r := s.locks[workspace]
	if r == nil || r.json == nil {
		return lock.Info{}, false
	}
	info := r.info()
	expired := info.TTL > 0 && s.now().Sub(r.written) >= info.TTL
	return info, !expired
}

// mustHold reports whether id holds the lock.
func (s *store) mustHold(op, workspace, id string) error {
	switch holder, held := s.holder(workspace); {
	case !held:
		return failure(op, workspace, lock.ErrNotHeld)
	case holder.ID != id:
		return &lock.HeldError{Workspace: workspace, Holder: holder, Err: errors.New("not by the lock ID given")}
	}
	return nil
}

// fence refuses a write under a lock that does not hold, and one without a lock
// while somebody holds it.
func (s *store) fence(op, workspace, id string) error {
	if _, held := s.holder(workspace); !held && id == "" {
		return nil
	}
	return s.mustHold(op, workspace, id)
}

func (s *store) setLock(workspace string, json []byte) {
	r := &record{json: json, written: s.now()}
	if before := s.locks[workspace]; before != nil {
		r.version = before.version + 1
	}
	s.locks[workspace] = r
	s.wake()
}

func (s *store) wake() {
	close(s.freed)
	s.freed = make(chan struct{})
}
