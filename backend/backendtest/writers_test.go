package backendtest

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/statelatch/statelatch/backend"
)

// Mutants that write and delete wrongly.
var writers = []mutant{
	mutate("ignored condition", "Write replaces whatever is there.",
		[]string{"create only once", "stale write", "one winner creates", "one winner replaces", "equal bytes", "linearizable"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				cond.Revision = backend.AnyRevision
				return b.service.Write(ctx, ws, data, cond)
			}
		}),
	mutate("ignored zero condition", "Write takes the zero Condition for AnyRevision.",
		[]string{"create only once", "one winner creates"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				if cond.Revision == "" {
					cond.Revision = backend.AnyRevision
				}
				return b.service.Write(ctx, ws, data, cond)
			}
		}),
	mutate("condition ignored above 5 MiB", "Write forgets the condition where it would send parts.",
		[]string{"large states"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				if len(data) > 5<<20 {
					cond.Revision = backend.AnyRevision
				}
				return b.service.Write(ctx, ws, data, cond)
			}
		}),
	mutate("get-then-put", "Write looks at the revision, then replaces whatever is there.",
		[]string{"one winner creates", "one winner replaces", "linearizable"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				if st, _ := b.service.Read(ctx, ws); cond.Revision != backend.AnyRevision && cond.Revision != st.Revision {
					return "", &backend.Error{Op: "write", Workspace: ws, Kind: backend.ErrConflict}
				}
				time.Sleep(20 * time.Millisecond)
				cond.Revision = backend.AnyRevision
				return b.service.Write(ctx, ws, data, cond)
			}
		}),
	mutate("torn write", "Write stores the first half, then all.",
		[]string{"linearizable"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				rev, err := b.service.Write(ctx, ws, data[:(len(data)+1)/2], cond)
				if err != nil {
					return "", err
				}
				time.Sleep(20 * time.Millisecond)
				return b.service.Write(ctx, ws, data, backend.Condition{Revision: rev, LockID: cond.LockID})
			}
		}),
	mutate("success by equal bytes", "A Write in conflict succeeds where its bytes are stored already.",
		[]string{"equal bytes"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				rev, err := b.service.Write(ctx, ws, data, cond)
				if st, _ := b.service.Read(ctx, ws); errors.Is(err, backend.ErrConflict) && bytes.Equal(st.Data, data) {
					return st.Revision, nil
				}
				return rev, err
			}
		}),
	mutate("settled by equal bytes", "After a lost reply, Write succeeds where its bytes are stored.",
		[]string{"lost replies to equal bytes"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				rev, err := b.service.Write(ctx, ws, data, cond)
				if st, _ := b.service.Read(ctx, ws); errors.Is(err, backend.ErrUnknown) && bytes.Equal(st.Data, data) {
					return st.Revision, nil
				}
				return rev, err
			}
		}),
	mutate("conflict with itself", "Write tries again after a lost reply, and meets its own state.",
		[]string{"lost reply to Write"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				rev, err := b.service.Write(ctx, ws, data, cond)
				if errors.Is(err, backend.ErrUnknown) {
					return b.service.Write(ctx, ws, data, cond)
				}
				return rev, err
			}
		}),
	mutate("deleted by another", "Delete tries again after a lost reply, and says that there was no state.",
		[]string{"lost reply to Delete"},
		func(b *broken) {
			b.delete = func(ctx context.Context, ws string, cond backend.Condition) error {
				err := b.service.Delete(ctx, ws, cond)
				if errors.Is(err, backend.ErrUnknown) {
					return b.service.Delete(ctx, ws, cond)
				}
				return err
			}
		}),
	mutate("delete ignores its condition", "Delete removes whatever is there.",
		[]string{"stale delete", "zero Condition deletes nothing", "linearizable"},
		func(b *broken) {
			b.delete = func(ctx context.Context, ws string, cond backend.Condition) error {
				cond.Revision = backend.AnyRevision
				return b.service.Delete(ctx, ws, cond)
			}
		}),
	mutate("zero Condition deletes", "Delete takes the zero Condition for AnyRevision.",
		[]string{"zero Condition deletes nothing"},
		func(b *broken) {
			b.delete = func(ctx context.Context, ws string, cond backend.Condition) error {
				if cond.Revision == "" {
					cond.Revision = backend.AnyRevision
				}
				return b.service.Delete(ctx, ws, cond)
			}
		}),
	mutate("delete of none succeeds", "Delete does not say that there was no state.",
		[]string{"delete of none", "one winner deletes", "linearizable"},
		func(b *broken) {
			b.delete = func(ctx context.Context, ws string, cond backend.Condition) error {
				if err := b.service.Delete(ctx, ws, cond); !errors.Is(err, backend.ErrNotExist) {
					return err
				}
				return nil
			}
		}),
	mutate("no-op delete", "Delete says that it has removed the state, and has not.",
		[]string{"delete", "AnyRevision", "list after write"},
		func(b *broken) {
			b.delete = func(context.Context, string, backend.Condition) error { return nil }
		}),
	mutate("AnyRevision needs a state", "Write with AnyRevision creates nothing.",
		[]string{"AnyRevision"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				if st, _ := b.service.Read(ctx, ws); cond.Revision == backend.AnyRevision {
					if cond.Revision = st.Revision; st.Revision == "" {
						cond.Revision = noRevision
					}
				}
				return b.service.Write(ctx, ws, data, cond)
			}
		}),
	mutate("revision of its own", "Write returns another revision than Read.",
		[]string{"write and read", "Stat"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				rev, err := b.service.Write(ctx, ws, data, cond)
				return rev + "w", err
			}
		}),
	mutate("aliased slice on write", "Write keeps the slice that it was given, and Read returns what is in it.",
		[]string{"no aliasing of what was written"},
		func(b *broken) {
			kept := map[backend.Revision][]byte{}
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				rev, err := b.service.Write(ctx, ws, data, cond)
				kept[rev] = data
				return rev, err
			}
			b.read = func(ctx context.Context, ws string) (backend.State, error) {
				st, err := b.service.Read(ctx, ws)
				if data := kept[st.Revision]; data != nil {
					st.Data = bytes.Clone(data)
				}
				return st, err
			}
		}),
	mutate("data changed by write", "Write encrypts in place.",
		[]string{"no aliasing of what was written"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				rev, err := b.service.Write(ctx, ws, data, cond)
				data[0] ^= 0xff
				return rev, err
			}
		}),
	mutate("trimmed", "Write trims white space.",
		[]string{"any bytes"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 {
					data = trimmed
				}
				return b.service.Write(ctx, ws, data, cond)
			}
		}),
	mutate("empty data is a state", "Write of no bytes writes an empty document.",
		[]string{"empty data"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				if len(data) == 0 {
					data = []byte("{}")
				}
				return b.service.Write(ctx, ws, data, cond)
			}
		}),
	mutate("empty data deletes", "Write of no bytes deletes the state.",
		[]string{"empty data"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				rev, err := b.service.Write(ctx, ws, data, cond)
				if len(data) == 0 {
					b.service.Delete(ctx, ws, cond)
				}
				return rev, err
			}
		}),
	mutate("close wipes", "Close removes what this client wrote.",
		[]string{"close"},
		func(b *broken) {
			b.close = func() error {
				return b.store.Delete(context.Background(), backend.DefaultWorkspace, at(backend.AnyRevision))
			}
		}),
}
