package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/internal/wire"
	"github.com/statelatch/statelatch/lock"
)

// lock answers LOCK: it takes the lock, or renews it.
func (x *exchange) lock(ctx context.Context) error {
	if x.query.Has(wire.Renew) {
		return x.renew(ctx)
	}
	info, empty, err := x.info()
	switch {
	case err != nil:
		return err
	case empty || info.ID == "":
		return invalid("the body is to be the record of a lock, with an ID")
	case x.locker == nil:
		return unlockable()
	}
	var stored lock.Info
	_, again, err := x.calls.do(ctx, x.call(), func() (_ backend.Revision, err error) {
		stored, err = x.take(ctx, info)
		return "", err
	})
	if again && err == nil {
		stored, err = x.held(ctx, info.ID)
	}
	if err != nil {
		return err
	}
	x.sendJSON(http.StatusOK, stored)
	return nil
}

// take takes the lock.
func (x *exchange) take(ctx context.Context, info lock.Info) (lock.Info, error) {
	if err := x.accountable(ctx); err != nil {
		return lock.Info{}, err
	}
	info.Path = "" // for the Backend to say
	stored, err := x.locker.Lock(ctx, x.workspace, info)
	var held *lock.HeldError
	if errors.As(err, &held) && isSame(held.Holder, info) {
		return held.Holder, nil
	}
	return stored, err
}

// accountable refuses locks of a Backend that cannot tell who holds one: no write could
// be let in by such a lock, and nothing could release it. It is asked once.
func (x *exchange) accountable(ctx context.Context) error {
	if x.tells.Load() {
		return nil
	}
	_, err := x.locker.Holder(ctx, x.workspace)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return unlockable()
	case err == nil, errors.Is(err, lock.ErrNotHeld):
		x.tells.Store(true)
		return nil
	}
	return err
}

// isSame reports whether the lock that is asked for is the one that is held. Terraform
// makes a request again whose reply was lost, and would wait for its own lock for ever.
// An ID alone does not do: a script may have one for all of its runs.
func isSame(holder, asked lock.Info) bool {
	return (holder.ID == asked.ID || holder.Ref == asked.ID) && holder.Who == asked.Who &&
		holder.Operation == asked.Operation && holder.Created.Equal(asked.Created) && !asked.Created.IsZero()
}

// unlock answers UNLOCK: it releases the lock whose ID is in the body, or else in the
// query.
func (x *exchange) unlock(ctx context.Context) error {
	info, empty, err := x.info()
	if err != nil {
		return err
	}
	if empty {
		info.ID = x.query.Get(wire.ID)
	}
	if info.ID == "" && !(empty && x.opts.EmptyUnlock) {
		return invalid("the request names no lock; send its record, or add ?ID=… to the address; this server can be set to release any lock then")
	}
	_, _, err = x.calls.do(ctx, x.call(), func() (backend.Revision, error) { return "", x.release(ctx, info.ID) })
	if err != nil {
		return err
	}
	x.send(http.StatusOK, "text/plain; charset=utf-8", nil)
	return nil
}

// release releases the lock that has an ID; an empty one stands for any.
func (x *exchange) release(ctx context.Context, id string) error {
	if x.locker == nil {
		return unlockable()
	}
	if id == "" {
		holder, err := x.locker.Holder(ctx, x.workspace)
		if err != nil {
			return err
		}
		id = holder.ID
	}
	id, err := x.resolve(ctx, id)
	if err != nil {
		return err
	}
	return x.locker.Unlock(ctx, x.workspace, id)
}

// renew answers LOCK with the parameter renew.
func (x *exchange) renew(ctx context.Context) error {
	renewer, ok := lock.As[lock.Renewer](x.locker)
	if !ok {
		return unlockable()
	}
	id, err := x.resolve(ctx, x.query.Get(wire.ID))
	if err != nil {
		return err
	}
	info, err := renewer.Renew(ctx, x.workspace, id)
	if err != nil {
		return err
	}
	x.sendJSON(http.StatusOK, info)
	return nil
}

// holder answers GET with the parameter lock.
func (x *exchange) holder(ctx context.Context) error {
	if x.locker == nil {
		return unlockable()
	}
	info, err := x.locker.Holder(ctx, x.workspace)
	if err != nil {
		return err
	}
	x.sendJSON(http.StatusOK, info)
	return nil
}

// fence finds out whether who holds the lock that has an ID, or none where it is empty,
// may change the state now; it returns the ID by which the Backend knows the lock.
func (x *exchange) fence(ctx context.Context, id string) (string, error) {
	if x.locker == nil && id == "" {
		return "", nil
	}
	own, err := x.resolve(ctx, id)
	switch {
	case errors.Is(err, errors.ErrUnsupported) && id == "", errors.Is(err, lock.ErrNotHeld) && id == "":
		return "", nil
	case errors.Is(err, errors.ErrUnsupported): // no lock was ever given
		return "", lock.ErrNotHeld
	}
	return own, err
}

// resolve returns the ID by which the Backend knows a lock that is held.
func (x *exchange) resolve(ctx context.Context, id string) (string, error) {
	holder, err := x.held(ctx, id)
	return holder.ID, err
}

// held returns the lock that has an ID, if it is held. A client has either the ID by
// which the Backend knows it, or its own, which is kept in Ref where the service has
// imposed that.
func (x *exchange) held(ctx context.Context, id string) (lock.Info, error) {
	if x.locker == nil {
		return lock.Info{}, unlockable()
	}
	holder, err := x.locker.Holder(ctx, x.workspace)
	switch {
	case err != nil:
		return lock.Info{}, err
	case id != "" && (id == holder.ID || id == holder.Ref):
		return holder, nil
	}
	return lock.Info{}, &lock.HeldError{Workspace: x.workspace, Holder: holder, Err: errors.New("not by the lock ID given")}
}

// info reads the lock record in the body.
func (x *exchange) info() (info lock.Info, empty bool, err error) {
	if len(x.data) == 0 {
		return info, true, nil
	}
	if json.Unmarshal(x.data, &info) != nil {
		return info, false, invalid("the body is not the record of a lock")
	}
	return info, false, nil
}

func unlockable() error {
	return &refusal{http.StatusNotImplemented, errors.ErrUnsupported, "the store behind this server has no such locks", nil}
}
