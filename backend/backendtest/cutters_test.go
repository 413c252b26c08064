package backendtest

import (
	"context"
	"iter"
	"time"

	"github.com/statelatch/statelatch/backend"
)

// Mutants that do not heed their context, or outlive it.
var cutters = []mutant{
	mutate("dropped context", "Write goes on when its context has ended.",
		[]string{"context ended before", "server hangs"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 7*time.Second)
				defer cancel() // so that the test ends
				return b.service.Write(ctx, ws, data, cond)
			}
		}),
	mutate("list drops its context", "List goes on when its context has ended.",
		[]string{"context ended before"},
		func(b *broken) {
			b.list = func(ctx context.Context) iter.Seq2[string, error] {
				return b.service.List(context.WithoutCancel(ctx))
			}
		}),
	mutate("half-done write", "A Write that is cut short says that it changed nothing, and changes the state.",
		[]string{"context ends during"},
		func(b *broken) {
			b.write = func(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
				rev, err := b.service.Write(ctx, ws, data, cond)
				time.Sleep(time.Millisecond)
				if err == nil && ctx.Err() != nil {
					return "", &backend.Error{Op: "write", Workspace: ws, Kind: ctx.Err()}
				}
				return rev, err
			}
		}),
	mutate("goroutine left", "Read leaves a goroutine that waits for more.",
		[]string{"nothing left running"},
		func(b *broken) {
			b.read = func(ctx context.Context, ws string) (backend.State, error) {
				go func() { <-b.t.Context().Done() }()
				return b.service.Read(ctx, ws)
			}
		}),
}
