package consul

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/settle"
	"github.com/statelatch/statelatch/lock"
)

const (
	lockFlags = 0x2ddccbc058a50c18 // what consul/api puts on a lock's key
	leaseTTL  = 15 * time.Second   // Terraform's
)

func (c call) lockKey() string { return c.below() + ".lock" }
func (c call) infoKey() string { return c.below() + ".lockinfo" }

// releaseKey is the key that a session holds from the release of its lock to its end.
func (c call) releaseKey(id string) string { return c.below() + ".unlock-" + id }

// checkHeld is the operation that refuses a transaction unless id holds the lock.
func (c call) checkHeld(id string) *api.KVTxnOp {
	return &api.KVTxnOp{Verb: api.KVCheckSession, Key: c.lockKey(), Session: id}
}

// lockCall starts a call of the Locker.
func (b *Backend) lockCall(ctx context.Context, op, workspace string) (call, error) {
	c, err := b.call(ctx, op, workspace)
	if err == nil && b.config.Lock != nil && !*b.config.Lock {
		err = c.failed(errors.ErrUnsupported, errors.New("locking is off; set lock = true"))
	}
	return c, err
}

// LeaseTTL implements [lock.Leaser]: a lock that is kept by lock.Acquire dies with
// its holder, as Terraform's does.
func (b *Backend) LeaseTTL() time.Duration { return leaseTTL }

// Lock implements [lock.Locker]: the creation of a session, and one transaction.
func (b *Backend) Lock(ctx context.Context, workspace string, info lock.Info) (lock.Info, error) {
	c, err := b.lockCall(ctx, "lock", workspace)
	if err != nil {
		return lock.Info{}, err
	}
	switch {
	case info.ID == "":
		return lock.Info{}, c.failed(backend.ErrInvalid, errors.New("a lock needs an ID"))
	case info.TTL < 0, info.TTL%time.Second != 0:
		return lock.Info{}, c.failed(errors.ErrUnsupported, errors.New("a TTL is in whole seconds"))
	}
	session, err := b.createSession(ctx, c, info.TTL)
	if err != nil {
		return lock.Info{}, err
	}
	info.Ref, info.ID, info.Path = info.ID, session, c.key
	err = b.take(ctx, c, info)
	var unknown *lock.UnknownError
	switch {
	case err == nil:
		return info, nil
	case errors.As(err, &unknown):
		err = b.outdone(ctx, c, unknown)
	default:
		_ = b.destroy(ctx, c, session) // it holds nothing
	}
	return lock.Info{}, err
}

// take takes the lock for the session info.ID, which is this very call's. If ctx
// ends, the request may still come to its end: so it is seldom in doubt.
func (b *Backend) take(ctx context.Context, c call, info lock.Info) error {
	record, err := info.Record()
	if err != nil {
		return c.failed(backend.ErrInvalid, err)
	}
	longer, cancel := grace(ctx)
	defer cancel()
	_, err = settle.Do(longer, settle.Request[struct{}]{
		Try: func(ctx context.Context) (none struct{}, err error) {
			_, failed, err := b.txn(ctx, c, []*api.KVTxnOp{
				{Verb: api.KVLock, Key: c.lockKey(), Session: info.ID, Flags: lockFlags},
				{Verb: api.KVSet, Key: c.infoKey(), Value: record},
			})
			if failed != nil {
				err = b.refused(ctx, c, info.ID, failed.What)
			}
			return none, err
		},
		Look: func(ctx context.Context) (none struct{}, found settle.Found, err error) {
			held, released, err := b.lockKeys(ctx, c, c.releaseKey(info.ID))
			switch {
			case err != nil:
				return none, settle.Other, err
			case held.Session == info.ID:
				return none, settle.Ours, nil
			case held.Session == "" && released.Session != info.ID: // else it was ours, and released by its ID since
				return none, settle.Before, nil
			}
			return none, settle.Other, nil
		},
		Unknown: func(why error) error {
			return &lock.UnknownError{Workspace: c.workspace, ID: info.ID, Err: why}
		},
	})
	return err
}

// refused is the error of a lock that was not granted to id.
func (b *Backend) refused(ctx context.Context, c call, id, what string) error {
	if strings.Contains(what, "lock delay") {
		nobody := lock.Info{Info: "nobody, but the holder before has died, and Consul keeps the lock for that session's lock-delay"}
		return &lock.HeldError{Workspace: c.workspace, Holder: nobody, Err: errors.New(what)}
	}
	err := b.notHeld(ctx, c, id, what)
	if errors.Is(err, lock.ErrNotHeld) { // released meanwhile
		return c.failed(backend.ErrTransient, errors.New(what))
	}
	return err
}

// outdone says who holds the lock after an attempt in doubt, if another does. Without
// its session, no request of the attempt can take the lock any more; but it may have
// had it, and lost it since.
func (b *Backend) outdone(ctx context.Context, c call, unknown *lock.UnknownError) error {
	holder, err := b.holder(ctx, c)
	if err != nil || holder.ID == unknown.ID {
		return unknown
	}
	_ = b.destroy(ctx, c, unknown.ID)
	return &lock.HeldError{Workspace: c.workspace, Holder: holder, Err: unknown}
}

// Unlock implements [lock.Locker]: one transaction, and the end of the session; for a
// lock that Lock has not made, one request more. It also ends a session that holds
// nothing, if it was made by a Lock of this workspace.
func (b *Backend) Unlock(ctx context.Context, workspace, id string) error {
	c, err := b.lockCall(ctx, "unlock", workspace)
	if err != nil {
		return err
	}
	if id == "" {
		return b.notHeld(ctx, c, id, "an empty ID holds nothing")
	}
	ours, err := b.release(ctx, c, id)
	var held *lock.HeldError
	switch {
	case err == nil:
		_ = b.destroy(ctx, c, id) // it holds no lock any longer
		if !ours {
			b.deleteToken(ctx, c, id)
		}
	case errors.Is(err, lock.ErrNotHeld), errors.As(err, &held):
		if left := b.forget(ctx, c, id); left != nil {
			return left
		}
	}
	return err
}

// release deletes the lock if id holds it, and reports whether it is known to be of
// our making. The session then holds a key with a token of this very call, and takes
// it along when it is destroyed: without that, nothing would tell whose release it was
// if the reply is lost. It is a key of its own: the record's is the next holder's at
// once, and what is put there would go with this session.
func (b *Backend) release(ctx context.Context, c call, id string) (ours bool, err error) {
	token := newToken()
	ops := []*api.KVTxnOp{
		c.checkHeld(id),
		{Verb: api.KVGetOrEmpty, Key: c.infoKey()},
		{Verb: api.KVDelete, Key: c.lockKey()},
		{Verb: api.KVDelete, Key: c.infoKey()},
		{Verb: api.KVLock, Key: c.releaseKey(id), Session: id, Flags: token},
	}
	_, err = settle.Do(ctx, settle.Request[struct{}]{
		Try: func(ctx context.Context) (none struct{}, err error) {
			pairs, failed, err := b.txn(ctx, c, ops)
			switch {
			case err != nil:
				return none, err
			case failed == nil:
				ours = lock.ParseInfo(pairs[1].Value, "").Ref != ""
				return none, nil
			}
			found, err := b.lookAtRelease(ctx, c, id, token) // delivered twice, it is refused against itself
			switch {
			case err != nil:
				return none, c.failed(backend.ErrUnknown, settle.Unseen(errors.New(failed.What), err))
			case found == settle.Ours:
				return none, nil
			}
			return none, b.notHeld(ctx, c, id, failed.What)
		},
		Look: func(ctx context.Context) (none struct{}, found settle.Found, err error) {
			found, err = b.lookAtRelease(ctx, c, id, token)
			return none, found, err
		},
		Unknown: func(why error) error { return c.failed(backend.ErrUnknown, why) },
	})
	return ours, err
}

// lookAtRelease finds out whether a release was made, by its token.
func (b *Backend) lookAtRelease(ctx context.Context, c call, id string, token uint64) (settle.Found, error) {
	holder, released, err := b.lockKeys(ctx, c, c.releaseKey(id))
	switch {
	case err != nil:
		return settle.Other, err
	case holder.Session == id:
		return settle.Before, nil
	case released.Session == id && released.Flags == token:
		return settle.Ours, nil
	}
	return settle.Other, nil
}

// deleteToken deletes what a session has left that does not take its keys along, as
// Terraform's do not.
func (b *Backend) deleteToken(ctx context.Context, c call, id string) {
	ctx, cancel := grace(ctx)
	defer cancel()
	_, _ = repeat(ctx, func(ctx context.Context) (*api.WriteMeta, error) {
		meta, err := b.client.KV().Delete(c.releaseKey(id), writes(ctx))
		return meta, c.readError(ctx, err)
	})
}

// Holder implements [lock.Locker]: one transaction.
func (b *Backend) Holder(ctx context.Context, workspace string) (lock.Info, error) {
	c, err := b.lockCall(ctx, "holder", workspace)
	if err != nil {
		return lock.Info{}, err
	}
	return b.holder(ctx, c)
}

// holder returns who holds the lock: the session that does, whatever the record
// beside it says.
func (b *Backend) holder(ctx context.Context, c call) (lock.Info, error) {
	held, record, err := b.lockKeys(ctx, c, c.infoKey())
	if err != nil {
		return lock.Info{}, err
	}
	if held.Session == "" {
		return lock.Info{}, c.failed(lock.ErrNotHeld, nil)
	}
	info := lock.ParseInfo(record.Value, "")
	if info.ID != held.Session {
		// Not written yet, of another lock, or ruined.
		info = lock.Info{ID: held.Session, Info: "the lock record is missing, or not this lock's"}
	}
	return info, nil
}

// lockKeys returns what the lock's key and another hold at one moment.
func (b *Backend) lockKeys(ctx context.Context, c call, key string) (held, other *api.KVPair, err error) {
	pairs, err := b.readTxn(ctx, c, []*api.KVTxnOp{
		{Verb: api.KVGetOrEmpty, Key: c.lockKey()},
		{Verb: api.KVGetOrEmpty, Key: key},
	})
	if err != nil {
		return nil, nil, err
	}
	return pairs[0], pairs[1], nil
}

// notHeld says why id does not hold the lock: a *lock.HeldError if somebody else
// does, else ErrNotHeld.
func (b *Backend) notHeld(ctx context.Context, c call, id, what string) error {
	holder, err := b.holder(ctx, c)
	switch {
	case err != nil:
		return err
	case holder.ID == id: // by a request of Lock that was late or came twice; or who said otherwise was not Consul
		return c.failed(backend.ErrTransient, errors.New(what))
	}
	return &lock.HeldError{Workspace: c.workspace, Holder: holder, Err: errors.New(what)}
}

// Renew implements [lock.Renewer]: one transaction to see who holds the lock, and
// one request.
func (b *Backend) Renew(ctx context.Context, workspace, id string) (lock.Info, error) {
	c, err := b.lockCall(ctx, "renew", workspace)
	if err != nil {
		return lock.Info{}, err
	}
	holder, err := b.holder(ctx, c)
	switch {
	case err != nil:
		return lock.Info{}, err
	case holder.ID != id:
		return lock.Info{}, &lock.HeldError{Workspace: workspace, Holder: holder, Err: errors.New("not by the lock ID given")}
	}
	entry, err := repeat(ctx, func(ctx context.Context) (*api.SessionEntry, error) {
		entry, _, err := b.client.Session().Renew(id, writes(ctx))
		return entry, c.readError(ctx, err)
	})
	switch {
	case err != nil:
		return lock.Info{}, err
	case entry == nil:
		return lock.Info{}, b.notHeld(ctx, c, id, "its session is said to be gone")
	}
	return holder, nil
}

// Wait implements [lock.Waiter] by blocking queries.
func (b *Backend) Wait(ctx context.Context, workspace string) error {
	return b.await(ctx, "wait", workspace, func(session string) bool { return session == "" })
}

// Watch implements [lock.Watcher] by blocking queries.
func (b *Backend) Watch(ctx context.Context, workspace, id string) error {
	return b.await(ctx, "watch", workspace, func(session string) bool { return session != id })
}

// await returns when the session that holds the lock, or "", is one that was
// awaited.
func (b *Backend) await(ctx context.Context, op, workspace string, awaited func(session string) bool) error {
	c, err := b.lockCall(ctx, op, workspace)
	if err != nil {
		return err
	}
	opts := consistent(ctx)
	for {
		pair, meta, err := b.client.KV().Get(c.lockKey(), opts)
		if err := c.answered(ctx, meta, err); err != nil {
			return err
		}
		if pair == nil || awaited(pair.Session) {
			return nil
		}
		if meta.LastIndex < opts.WaitIndex { // the server has lost its memory
			meta.LastIndex = 0
		}
		opts.WaitIndex, opts.WaitTime = meta.LastIndex, time.Minute
	}
}
