package backendtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"github.com/statelatch/statelatch/backend"
)

// Mutants that read wrongly, or say wrongly what went wrong.
var readers = []mutant{
	mutate("missing state is empty", "Read returns the zero State and no error where there is no state.",
		[]string{"missing state", "delete"},
		func(b *broken) {
			b.read = func(ctx context.Context, ws string) (backend.State, error) {
				st, err := b.service.Read(ctx, ws)
				if errors.Is(err, backend.ErrNotExist) {
					return backend.State{}, nil
				}
				return st, err
			}
		}),
	mutate("state remembered", "Read returns what it read first.",
		[]string{"write and read", "linearizable"},
		func(b *broken) {
			remember := sync.OnceValues(func() (backend.State, error) {
				return b.service.Read(context.Background(), backend.DefaultWorkspace)
			})
			b.read = func(ctx context.Context, _ string) (backend.State, error) { return remember() }
		}),
	mutate("revision remembered", "Stat returns the revision that it saw first.",
		[]string{"Stat", "linearizable"},
		func(b *broken) {
			const first = "remembered" // a workspace beside, so that all clients remember
			b.stat = func(ctx context.Context, ws string) (backend.Revision, error) {
				if st, err := b.store.Read(ctx, first); err == nil {
					return backend.Revision(st.Data), nil
				}
				rev, err := b.service.Stat(ctx, ws)
				if err == nil {
					_, err = b.store.Write(ctx, first, []byte(rev), backend.Condition{})
				}
				return rev, err
			}
		}),
	mutate("aliased slice on read", "Read returns the cache's own slice.",
		[]string{"no aliasing of what was read"},
		func(b *broken) {
			cache := map[backend.Revision]backend.State{}
			b.read = func(ctx context.Context, ws string) (backend.State, error) {
				st, err := b.service.Read(ctx, ws)
				if cached, ok := cache[st.Revision]; ok {
					return cached, err
				}
				cache[st.Revision] = st
				return st, err
			}
		}),
	mutate("cut short at 5 MiB", "Read returns the first part of a large state.",
		[]string{"large states"},
		func(b *broken) {
			b.read = func(ctx context.Context, ws string) (backend.State, error) {
				st, err := b.service.Read(ctx, ws)
				st.Data = st.Data[:min(len(st.Data), 5<<20)]
				return st, err
			}
		}),
	mutate("limit for writers only", "Read returns a state beyond the configured size.",
		[]string{"too large"},
		func(b *broken) { b.read = b.store.Read }),
	mutate("names folded", "Workspaces whose names differ in case are one.",
		[]string{"valid names"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				return b.service.Write(ctx, strings.ToLower(ws), data, cond)
			}
		}),
	mutate("names escaped twice", "Some characters of a name become others.",
		[]string{"valid names"},
		func(b *broken) {
			b.read = func(ctx context.Context, ws string) (backend.State, error) {
				return b.service.Read(ctx, strings.ReplaceAll(ws, "+", "-"))
			}
		}),
	mutate("names not checked", "Write takes any name.",
		[]string{"invalid names"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				if backend.CheckWorkspace(ws) != nil {
					ws = "odd"
				}
				return b.service.Write(ctx, ws, data, cond)
			}
		}),
	mutate("names checked late", "Delete asks the server for the revision before it looks at the name.",
		[]string{"invalid names"},
		func(b *broken) {
			b.delete = func(ctx context.Context, ws string, cond backend.Condition) error {
				if _, err := b.Stat(ctx, "default"); ctx.Err() != nil {
					return err
				}
				return b.service.Delete(ctx, ws, cond)
			}
		}),
	mutate("missing like a file", "ErrNotExist matches fs.ErrNotExist.",
		[]string{"error shape"},
		func(b *broken) {
			b.read = func(ctx context.Context, ws string) (backend.State, error) {
				st, err := b.service.Read(ctx, ws)
				if errors.Is(err, backend.ErrNotExist) {
					err = &backend.Error{Op: "read", Backend: "memory", Workspace: ws, Kind: backend.ErrNotExist, Err: fs.ErrNotExist}
				}
				return st, err
			}
		}),
	mutate("missing like a bucket", "A missing state is ErrNotExist and ErrNoStore.",
		[]string{"error shape"},
		func(b *broken) {
			b.read = func(ctx context.Context, ws string) (backend.State, error) {
				st, err := b.service.Read(ctx, ws)
				if errors.Is(err, backend.ErrNotExist) {
					err = &backend.Error{Op: "read", Backend: "memory", Workspace: ws, Kind: backend.ErrNotExist, Err: backend.ErrNoStore}
				}
				return st, err
			}
		}),
	mutate("bare error", "Read returns a kind without call, backend and workspace.",
		[]string{"error shape"},
		func(b *broken) {
			b.read = func(ctx context.Context, ws string) (backend.State, error) {
				st, err := b.service.Read(ctx, ws)
				if errors.Is(err, backend.ErrNotExist) {
					err = backend.ErrNotExist
				}
				return st, err
			}
		}),
	mutate("two kinds", "A stale Write is ErrConflict and ErrTransient.",
		[]string{"error shape"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				rev, err := b.service.Write(ctx, ws, data, cond)
				if errors.Is(err, backend.ErrConflict) {
					err = &backend.Error{Op: "write", Backend: "memory", Workspace: ws, Kind: backend.ErrTransient, Err: err}
				}
				return rev, err
			}
		}),
	mutate("secret in an error", "An error quotes the URL of the request, with its key.",
		[]string{"no secrets"},
		func(b *broken) {
			b.read = func(ctx context.Context, ws string) (backend.State, error) {
				st, err := b.service.Read(ctx, ws)
				if err != nil {
					err = fmt.Errorf("GET https://example.com/%s?sig=%s: %w", ws, canary, err)
				}
				return st, err
			}
		}),
	mutate("secret in a hidden cause", "The cause of an error, which its text leaves out, quotes the key.",
		[]string{"no secrets"},
		func(b *broken) {
			b.read = func(ctx context.Context, ws string) (backend.State, error) {
				st, err := b.service.Read(ctx, ws)
				if err != nil {
					err = quiet{errors.Join(err, errors.New("key "+canary))}
				}
				return st, err
			}
		}),
	mutate("secret in a field", "Printing a Backend shows the key that it keeps.",
		[]string{"no secrets"},
		func(b *broken) { b.key = canary }),
	mutate("revision of the bytes before", "Read returns the new revision with the old bytes.",
		[]string{"write and read", "linearizable"},
		func(b *broken) {
			var mu sync.Mutex
			var before []byte
			b.read = func(ctx context.Context, ws string) (backend.State, error) {
				st, err := b.service.Read(ctx, ws)
				mu.Lock()
				defer mu.Unlock()
				before, st.Data = bytes.Clone(st.Data), append(before, st.Data[len(st.Data)/2:]...)
				return st, err
			}
		}),
}

// quiet is an error that does not show its cause.
type quiet struct{ err error }

func (quiet) Error() string   { return "it failed" }
func (q quiet) Unwrap() error { return q.err }
