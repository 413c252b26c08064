package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/settle"
	"github.com/statelatch/statelatch/lock"
)

// lockFile is the lock that is an object beside the state, "<key>.tflock".
type lockFile struct{ b *Backend }

func (f lockFile) key(c call) string { return c.key + ".tflock" }

func (f lockFile) acquire(ctx context.Context, c call, info lock.Info, t *taken) error {
	record, err := json.Marshal(info)
	if err != nil {
		return c.failed(backend.ErrInvalid, err)
	}
	if err := f.b.prepareLock(c); err != nil {
		return err
	}
	var refused *put
	look := f.b.config.Conditions == ConditionsIgnored // nothing else shows that it is held
	for range 4 {
		p := f.b.newPut(f.key(c), record, f.b.config.LockTags)
		p.ifNoneMatch = "*"
		if look {
			obj, err := f.read(ctx, c)
			switch {
			case err == nil && refused != nil && refused.made(obj): // delivered twice, refused against itself
				t.etag = obj.etag
				return nil
			case err == nil && !f.expired(obj):
				return &lock.HeldError{Workspace: c.workspace, Holder: f.info(obj)}
			case err == nil:
				if err := f.b.requireReplace(ctx, c); err != nil {
					return err
				}
				p.ifNoneMatch, p.ifMatch = "", obj.etag
			case errors.Is(err, lock.ErrNotHeld):
			case refused != nil:
				return unseen(ctx, c, info.ID, err)
			default:
				return err
			}
		}
		if t.etag, err = f.put(ctx, c, p, info); !errors.Is(err, backend.ErrConflict) {
			return err
		}
		refused, look = p, true // and try again at once, if it was released in between
	}
	return c.failed(backend.ErrTransient, errors.New("the lock was taken and released all the time"))
}

// put takes the lock by a PUT. The lock is this call's if it has its token; the ID
// was chosen by the caller, who may have chosen it before.
func (f lockFile) put(ctx context.Context, c call, p *put, info lock.Info) (etag string, err error) {
	var other *object // whose lock there is, if it is not this call's
	etag, err = settled(ctx, f.b, settle.Request[string]{
		Try: func(ctx context.Context) (string, error) { return f.b.putOnce(ctx, c, p) },
		Look: func(ctx context.Context) (string, settle.Found, error) {
			obj, found, err := f.b.lookAtPut(ctx, c, p)
			if err == nil && found == settle.Other && obj.etag != "" && !f.expired(obj) {
				other = obj
			}
			return obj.etag, found, err
		},
		Unknown: func(why error) error {
			unknown := &lock.UnknownError{Workspace: c.workspace, ID: info.ID, Err: why}
			if other != nil { // not ours now; but an attempt may arrive late
				return &lock.HeldError{Workspace: c.workspace, Holder: f.info(other), Err: unknown}
			}
			return unknown
		},
	})
	if err == nil {
		err = f.verified(ctx, c, p, info)
	}
	return etag, err
}

// verified gives the lock back if the endpoint turns out to be none that can lock, or
// that cannot be found out.
func (f lockFile) verified(ctx context.Context, c call, p *put, info lock.Info) error {
	err := f.b.verifyLock(ctx, c, p)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, backend.ErrUnknown): // a PUT may arrive late
		return &lock.UnknownError{Workspace: c.workspace, ID: info.ID, Err: err}
	}
	return f.b.giveBack(ctx, c, []part{f}, info.ID, taken{}, err)
}

func (f lockFile) release(ctx context.Context, c call, id string, t taken) error {
	if t.etag != "" && f.b.endpoint.conforming {
		if err := f.remove(ctx, c, id, t.etag); !errors.Is(err, backend.ErrConflict) {
			return err
		}
	}
	for range 3 {
		obj, err := f.read(ctx, c)
		if err != nil {
			return err
		}
		if err := mustHold(c, f.info(obj), id); err != nil {
			return err
		}
		if err := f.remove(ctx, c, id, obj.etag); !errors.Is(err, backend.ErrConflict) {
			return err
		}
	}
	return c.failed(backend.ErrTransient, errors.New(renewedAllTheTime))
}

// remove deletes the lock file that has etag, which id holds.
func (f lockFile) remove(ctx context.Context, c call, id, etag string) error {
	_, err := settled(ctx, f.b, settle.Request[struct{}]{
		Try: func(ctx context.Context) (none struct{}, err error) {
			return none, f.b.removeOnce(ctx, c, f.key(c), etag)
		},
		// Gone, or another's: this lock, which was held, is not held any longer.
		Look: func(ctx context.Context) (none struct{}, found settle.Found, err error) {
			obj, err := f.read(ctx, c)
			switch {
			case errors.Is(err, lock.ErrNotHeld) || err == nil && f.info(obj).ID != id:
				return none, settle.Ours, nil
			case err == nil && obj.etag == etag:
				return none, settle.Before, nil
			}
			return none, settle.Other, err // renewed, for one
		},
		Unknown: func(why error) error { return c.failed(backend.ErrUnknown, why) },
	})
	return err
}

func (f lockFile) holder(ctx context.Context, c call) (lock.Info, error) {
	obj, err := f.read(ctx, c)
	if err != nil {
		return lock.Info{}, err
	}
	if f.expired(obj) {
		return lock.Info{}, c.failed(lock.ErrNotHeld, nil)
	}
	return f.info(obj), nil
}

// renew replaces the lock file by one of other bytes, so that its ETag changes: who
// found it expired before must not take it over now. Another renewal, such as a
// cancelled one that arrives late, may come in between; the lock is still held then.
func (f lockFile) renew(ctx context.Context, c call, id string) (lock.Info, error) {
	for range 3 {
		obj, err := f.read(ctx, c)
		if err != nil {
			return lock.Info{}, err
		}
		info := f.info(obj)
		if err := mustHold(c, info, id); err != nil {
			return lock.Info{}, err
		}
		if info.TTL == 0 { // there is nothing to prolong
			return info, nil
		}
		err = f.replace(ctx, c, info, obj.etag)
		switch {
		case err == nil:
			return info, nil
		case !errors.Is(err, backend.ErrConflict):
			return lock.Info{}, err
		}
	}
	return lock.Info{}, c.failed(backend.ErrTransient, errors.New(renewedAllTheTime))
}

const renewedAllTheTime = "the lock was renewed all the time"

// replace puts a renewed record in the place of the lock file that has etag.
func (f lockFile) replace(ctx context.Context, c call, info lock.Info, etag string) error {
	record, err := json.Marshal(info)
	if err != nil {
		return c.failed(backend.ErrInvalid, err)
	}
	if err := f.b.requireReplace(ctx, c); err != nil {
		return err
	}
	p := f.b.newPut(f.key(c), renewed(record), f.b.config.LockTags)
	p.ifMatch = etag
	if etag, err = f.b.put(ctx, c, p); err != nil {
		return err
	}
	f.b.mu.Lock()
	defer f.b.mu.Unlock()
	if _, ours := f.b.taken[c.workspace+"/"+info.ID]; ours {
		f.b.taken[c.workspace+"/"+info.ID] = taken{etag: etag}
	}
	return nil
}

// renewed returns a record with something that no other has.
func renewed(record []byte) []byte {
	return fmt.Appendf(bytes.TrimSuffix(record, []byte("}")), `,"Renewed":%q}`, rand.Text())
}

// read fetches the lock file, without its bytes if they are too many; ErrNotHeld if
// there is none.
func (f lockFile) read(ctx context.Context, c call) (*object, error) {
	obj, err := f.b.get(ctx, c, f.key(c))
	switch {
	case errors.Is(err, backend.ErrNotExist):
		return nil, c.failed(lock.ErrNotHeld, nil)
	case errors.Is(err, backend.ErrTooLarge) && obj != nil:
		return obj, nil
	}
	return obj, err
}

func (f lockFile) info(obj *object) lock.Info {
	info := lock.ParseInfo(obj.data, strings.Trim(obj.etag, `"`))
	if obj.size > lock.MaxInfo {
		info.Info = fmt.Sprintf("the lock record cannot be read: it has more than %d bytes", lock.MaxInfo)
	}
	return info
}

// expired reports whether a lock that carries a TTL has outlived it, by the
// server's clock. That tells whole seconds, so one more has to pass. A lock of
// unknown age has not.
func (f lockFile) expired(obj *object) bool {
	ttl := f.info(obj).TTL
	return ttl > 0 && obj.age > ttl
}
