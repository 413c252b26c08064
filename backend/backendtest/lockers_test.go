package backendtest

import (
	"context"
	"errors"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// Mutants that mix up states and locks.
var lockers = []mutant{
	mutate("placeholder counts as a state", "While the lock is held, nothing can be created.",
		[]string{"create over a placeholder", "write with the lock's ID"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				if _, err := b.Holder(ctx, ws); err == nil && cond.Revision == "" {
					return "", &backend.Error{Op: "write", Workspace: ws, Kind: backend.ErrConflict}
				}
				return b.service.Write(ctx, ws, data, cond)
			}
		}),
	mutate("placeholder is read", "While the lock is held, a missing state reads as an empty one.",
		[]string{"create over a placeholder"},
		func(b *broken) {
			b.read = func(ctx context.Context, ws string) (backend.State, error) {
				st, err := b.service.Read(ctx, ws)
				if _, held := b.Holder(ctx, ws); held == nil && errors.Is(err, backend.ErrNotExist) {
					return backend.State{Data: []byte{}}, nil
				}
				return st, err
			}
		}),
	mutate("revision changes on lock", "Lock touches the state.",
		[]string{"revision survives locks", "read while locked"},
		func(b *broken) {
			b.lock = func(ctx context.Context, ws string, info lock.Info) (lock.Info, error) {
				stored, err := b.service.Lock(ctx, ws, info)
				if st, read := b.service.Read(ctx, ws); err == nil && read == nil {
					_, err = b.service.Write(ctx, ws, st.Data, backend.Condition{Revision: st.Revision, LockID: stored.ID})
				}
				return stored, err
			}
		}),
	mutate("conflict for a lock", "Write says ErrConflict where another holds the lock.",
		[]string{"write with a wrong lock ID", "write without lock ID"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				rev, err := b.service.Write(ctx, ws, data, cond)
				if isExactlyHeld(err) {
					err = &backend.Error{Op: "write", Workspace: ws, Kind: backend.ErrConflict, Err: err}
				}
				return rev, err
			}
		}),
	mutate("held is wrapped by Write", "Write wraps a *HeldError into a *backend.Error of kind ErrTransient.",
		[]string{"write with a wrong lock ID", "write without lock ID"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				rev, err := b.service.Write(ctx, ws, data, cond)
				if isExactlyHeld(err) {
					err = &backend.Error{Op: "write", Backend: "memory", Workspace: ws, Kind: backend.ErrTransient, Err: err}
				}
				return rev, err
			}
		}),
	mutate("no fence", "Write and Delete do not look at the lock.",
		[]string{"write under a lost lock", "write with a wrong lock ID", "write without lock ID"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				holder, _ := b.Holder(ctx, ws)
				cond.LockID = holder.ID
				return b.service.Write(ctx, ws, data, cond)
			}
			b.delete = func(ctx context.Context, ws string, cond backend.Condition) error {
				holder, _ := b.Holder(ctx, ws)
				cond.LockID = holder.ID
				return b.service.Delete(ctx, ws, cond)
			}
		}),
	mutate("delete is not fenced", "Delete does not look at the lock.",
		[]string{"write under a lost lock", "write with a wrong lock ID", "write without lock ID"},
		func(b *broken) {
			b.delete = func(ctx context.Context, ws string, cond backend.Condition) error {
				holder, _ := b.Holder(ctx, ws)
				cond.LockID = holder.ID
				return b.service.Delete(ctx, ws, cond)
			}
		}),
	mutate("lost lock is held", "Write under a lock that nobody holds says that somebody does.",
		[]string{"write under a lost lock"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				rev, err := b.service.Write(ctx, ws, data, cond)
				if errors.Is(err, lock.ErrNotHeld) {
					err = &lock.HeldError{Workspace: ws}
				}
				return rev, err
			}
		}),
	mutate("lock ID not passed on", "Write does not tell the service that the caller holds the lock.",
		[]string{"write with the lock's ID", "create over a placeholder"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				cond.LockID = ""
				return b.service.Write(ctx, ws, data, cond)
			}
		}),
	mutate("lock instead of revision", "Write under the lock replaces whatever is there.",
		[]string{"write with the lock's ID"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				if cond.LockID != "" {
					cond.Revision = backend.AnyRevision
				}
				return b.service.Write(ctx, ws, data, cond)
			}
		}),
	mutate("locked against readers", "Read is refused while another holds the lock.",
		[]string{"read while locked"},
		func(b *broken) {
			b.read = func(ctx context.Context, ws string) (backend.State, error) {
				if holder, err := b.Holder(ctx, ws); err == nil {
					return backend.State{}, &lock.HeldError{Workspace: ws, Holder: holder}
				}
				return b.service.Read(ctx, ws)
			}
		}),
	mutate("held is wrapped", "Lock wraps a *HeldError into a *backend.Error of kind ErrConflict.",
		[]string{"held is returned as it is"},
		func(b *broken) {
			b.lock = func(ctx context.Context, ws string, info lock.Info) (lock.Info, error) {
				stored, err := b.service.Lock(ctx, ws, info)
				if err != nil {
					err = &backend.Error{Op: "lock", Workspace: ws, Kind: backend.ErrConflict, Err: err}
				}
				return stored, err
			}
		}),
}
