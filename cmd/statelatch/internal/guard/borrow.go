package guard

import (
	"context"
	"errors"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// Borrow returns b as somebody sees it who works under the lock that another process
// has taken, and whose ID is id: what takes a lock gets that one, and what releases
// it, leaves it.
func Borrow(b backend.Backend, id string) backend.Backend { return borrowed{b, id} }

type borrowed struct {
	backend.Backend
	id string
}

var errNoLocks = errors.New("there are no locks to work under")

// Unwrap lets backend.As find the other abilities of the Backend inside.
func (b borrowed) Unwrap() backend.Backend { return b.Backend }

func (b borrowed) Lock(ctx context.Context, workspace string, _ lock.Info) (lock.Info, error) {
	holder, err := b.Holder(ctx, workspace)
	if err == nil && holder.ID != b.id {
		err = &lock.HeldError{Workspace: workspace, Holder: holder, Err: errors.New("not by the lock ID given")}
	}
	holder.TTL = 0 // its own holder renews it
	return holder, err
}

func (b borrowed) Unlock(context.Context, string, string) error { return nil }

func (b borrowed) Holder(ctx context.Context, workspace string) (lock.Info, error) {
	l, ok := backend.As[lock.Locker](b.Backend)
	if !ok {
		return lock.Info{}, errNoLocks
	}
	return l.Holder(ctx, workspace)
}
