package backendtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// Mutants that lose a part of a Condition now and then, or what it is compared with.
var conditions = []mutant{
	mutate("revision counted from creation", "A revision is the number of writes since the state was created.",
		[]string{"revision of a deleted state"}, countRevisions),
	losing("zero Condition ignored above 5 MiB", "Write takes the zero Condition for AnyRevision where it would send parts.",
		[]string{"large states"},
		func(b *broken, _ string, data []byte, cond *backend.Condition) {
			if len(data) > 5<<20 && *cond == (backend.Condition{}) {
				cond.Revision = backend.AnyRevision
			}
		}),
	losing("no fence above 5 MiB", "Write does not look at the lock where it would send parts.",
		[]string{"large states"},
		func(b *broken, ws string, data []byte, cond *backend.Condition) {
			if len(data) > 5<<20 {
				cond.LockID = b.holding(ws)
			}
		}),
	losing("AnyRevision is not fenced", "Write with AnyRevision does not look at the lock.",
		[]string{"write under a lost lock", "write with a wrong lock ID", "write without lock ID"},
		func(b *broken, ws string, _ []byte, cond *backend.Condition) {
			if cond.Revision == backend.AnyRevision {
				cond.LockID = b.holding(ws)
			}
		}),
	losing("creation is not fenced", "Write of the first state does not look at the lock.",
		[]string{"write under a lost lock", "write with a wrong lock ID", "write without lock ID"},
		func(b *broken, ws string, _ []byte, cond *backend.Condition) {
			if cond.Revision == "" {
				cond.LockID = b.holding(ws)
			}
		}),
	losing("expired lock still writes", "Write goes by the lock that was taken first, expired or not.",
		[]string{"write under an expired lock"},
		func(b *broken, ws string, _ []byte, cond *backend.Condition) {
			if cond.LockID == b.holding(firstTaken) {
				cond.LockID = b.holding(ws)
			}
		}),
	losing("expired lock still fences", "A lock that has expired keeps everybody from writing.",
		[]string{"write under an expired lock"},
		func(b *broken, ws string, _ []byte, cond *backend.Condition) {
			if cond.LockID == "" && b.holding(ws) == "" {
				cond.LockID = b.holding(firstTaken)
			}
		}),
	mutate("empty object is read", "Read returns an object of no bytes.",
		[]string{"empty object"},
		func(b *broken) {
			b.read = func(ctx context.Context, ws string) (backend.State, error) {
				st, err := b.service.Read(ctx, ws)
				if errors.Is(err, backend.ErrNotExist) {
					return backend.State{Data: []byte{}}, nil
				}
				return st, err
			}
		}),
}

// losing has change do something to the Condition of each Write.
func losing(name, wrong string, kill []string, change func(b *broken, ws string, data []byte, cond *backend.Condition)) mutant {
	return mutate(name, wrong, kill, func(b *broken) {
		b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
			change(b, ws, data, &cond)
			return b.service.Write(ctx, ws, data, cond)
		}
		b.lock = func(ctx context.Context, ws string, info lock.Info) (lock.Info, error) {
			stored, err := b.service.Lock(ctx, ws, info)
			info.TTL = 0
			b.store.Lock(ctx, firstTaken, info)
			return stored, err
		}
	})
}

// firstTaken is a workspace beside, whose lock does not expire and has the ID of the one
// that any client took first.
const firstTaken = "taken"

// holding returns the ID of the lock of a workspace; "" if nobody holds it.
func (b *broken) holding(ws string) string {
	holder, _ := b.store.Holder(context.Background(), ws)
	return holder.ID
}

// countRevisions stores before each state the number of its revision.
func countRevisions(b *broken) {
	numbered := func(ctx context.Context, ws string) (st backend.State, real backend.Revision, n int, err error) {
		st, err = b.service.Read(ctx, ws)
		number, data, _ := bytes.Cut(st.Data, []byte("\n"))
		fmt.Sscan(string(number), &n)
		return backend.State{Data: data, Revision: writes(n)}, st.Revision, n, err
	}
	b.read = func(ctx context.Context, ws string) (backend.State, error) {
		st, _, _, err := numbered(ctx, ws)
		return st, err
	}
	b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
		st, real, n, _ := numbered(ctx, ws)
		if n > 0 && cond.Revision == st.Revision {
			cond.Revision = real
		}
		_, err := b.service.Write(ctx, ws, fmt.Appendf(nil, "%d\n%s", n+1, data), cond)
		return writes(n + 1), err
	}
	b.delete = func(ctx context.Context, ws string, cond backend.Condition) error {
		st, real, _, _ := numbered(ctx, ws)
		if cond.Revision == st.Revision {
			cond.Revision = real
		}
		return b.service.Delete(ctx, ws, cond)
	}
}

func writes(n int) backend.Revision { return backend.Revision(fmt.Sprintf("write %d", n)) }
