package locktest

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/statelatch/statelatch/internal/clause"
	"github.com/statelatch/statelatch/lock"
)

var update = flag.Bool("update", false, "write the table of mutants into docs/mutants.md")

// The clauses hold for the harness itself: what fails a mutant is its mutation.
func TestHarness(t *testing.T) { Run(t, target(func(*broken) {})) }

func TestMutants(t *testing.T) { clause.Prove(t, clauses, target(func(*broken) {}).setup, mutants) }

func TestMutantsAreDocumented(t *testing.T) {
	clause.Document(t, "../../docs/mutants.md", "locktest", mutants, *update)
}

type mutant = clause.Mutant[*env]

type info = lock.Info

var none info

func mutate(name, wrong string, kill []string, change func(*broken)) mutant {
	return mutant{Name: name, Wrong: wrong, Kill: kill, Setup: target(change).setup}
}

var mutants = slices.Concat(lockers, expirers)

var lockers = []mutant{
	mutate("no-op lock", "Lock succeeds and stores nothing.",
		[]string{"second lock", "same info", "one winner", "holder", "linearizable"},
		func(b *broken) {
			b.lock = func(ctx context.Context, ws string, in info) (info, error) { return in, nil }
		}),
	mutate("read-then-put lock", "Lock looks whether anybody holds the lock, then stores its own.",
		[]string{"one winner", "one winner of the same info", "linearizable"},
		func(b *broken) {
			b.lock = func(ctx context.Context, ws string, in info) (info, error) {
				if holder, err := b.Holder(ctx, ws); err == nil {
					return none, &lock.HeldError{Workspace: ws, Holder: holder}
				}
				time.Sleep(20 * time.Millisecond)
				record, err := json.Marshal(in)
				b.store.SetLockRecord(ws, record)
				return in, err
			}
		}),
	mutate("endless record", "Lock stores a record that is longer than what is read of one.",
		[]string{"what cannot be stored"},
		func(b *broken) {
			b.lock = func(ctx context.Context, ws string, in info) (info, error) {
				record, _ := json.Marshal(in)
				if len(record) <= lock.MaxInfo {
					return b.service.Lock(ctx, ws, in)
				}
				b.store.SetLockRecord(ws, record)
				return in, nil
			}
		}),
	mutate("same-ID lock succeeds twice", "Lock takes a lock with the ID that it was given for its own.",
		[]string{"same info", "one winner of the same info"},
		func(b *broken) {
			b.lock = func(ctx context.Context, ws string, in info) (info, error) {
				stored, err := b.service.Lock(ctx, ws, in)
				var held *lock.HeldError
				if errors.As(err, &held) && held.Holder.ID == in.ID {
					return held.Holder, nil
				}
				return stored, err
			}
		}),
	mutate("holder mixed up", "A refused Lock names the caller as the holder.",
		[]string{"second lock", "wait and hand over"},
		func(b *broken) {
			b.lock = func(ctx context.Context, ws string, in info) (info, error) {
				stored, err := b.service.Lock(ctx, ws, in)
				var held *lock.HeldError
				if errors.As(err, &held) {
					held.Holder = in
				}
				return stored, err
			}
		}),
	mutate("fields lost", "Holder loses Created's fraction of a second.",
		[]string{"holder"},
		func(b *broken) {
			b.holder = func(ctx context.Context, ws string) (info, error) {
				holder, err := b.service.Holder(ctx, ws)
				holder.Created = holder.Created.Truncate(time.Second)
				return holder, err
			}
		}),
	mutate("ID replaced in silence", "Lock stores an ID of its own and returns the caller's.",
		[]string{"lock returns what is stored"},
		func(b *broken) {
			b.lock = func(ctx context.Context, ws string, in info) (info, error) {
				asked := in.ID
				in.ID = lock.NewID()
				stored, err := b.service.Lock(ctx, ws, in)
				stored.ID = asked
				return stored, err
			}
		}),
	mutate("nobody holds it", "Holder returns the zero Info and no error for a free lock.",
		[]string{"holder of none"},
		func(b *broken) {
			b.holder = func(ctx context.Context, ws string) (info, error) {
				holder, err := b.service.Holder(ctx, ws)
				if errors.Is(err, lock.ErrNotHeld) {
					return none, nil
				}
				return holder, err
			}
		}),
	mutate("holder remembered", "Holder returns whom it saw first.",
		[]string{"holder of none", "linearizable"},
		func(b *broken) {
			const first = "remembered" // a workspace beside, so that all clients remember
			b.holder = func(ctx context.Context, ws string) (info, error) {
				if holder, err := b.store.Holder(ctx, first); err == nil {
					return holder, nil
				}
				holder, err := b.service.Holder(ctx, ws)
				if err == nil {
					return b.store.Lock(ctx, first, holder)
				}
				return none, err
			}
		}),
	mutate("one lock for all", "All workspaces share one lock.",
		[]string{"workspaces apart"},
		func(b *broken) {
			b.lock = func(ctx context.Context, ws string, in info) (info, error) {
				return b.service.Lock(ctx, "all", in)
			}
		}),
	mutate("case ignored", "Workspaces whose names differ in case share a lock.",
		[]string{"workspaces apart"},
		func(b *broken) {
			b.lock = func(ctx context.Context, ws string, in info) (info, error) {
				return b.service.Lock(ctx, strings.ToLower(ws), in)
			}
		}),
	mutate("names not checked", "Lock takes any name.",
		[]string{"invalid names"},
		func(b *broken) {
			b.lock = func(ctx context.Context, ws string, in info) (info, error) {
				if lock.CheckWorkspace(ws) != nil {
					ws = "odd"
				}
				return b.service.Lock(ctx, ws, in)
			}
		}),
	mutate("names checked late", "Unlock asks the server for the holder before it looks at the name.",
		[]string{"invalid names"},
		func(b *broken) {
			b.unlock = func(ctx context.Context, ws, id string) error {
				if _, err := b.Holder(ctx, "default"); err != nil && !errors.Is(err, lock.ErrNotHeld) {
					return err
				}
				return b.service.Unlock(ctx, ws, id)
			}
		}),
	mutate("no-op unlock", "Unlock says that it has released the lock, and has not.",
		[]string{"unlock", "holder of none", "wait and hand over", "linearizable"},
		func(b *broken) {
			b.unlock = func(context.Context, string, string) error { return nil }
		}),
	mutate("unlock by any ID", "Unlock releases whatever lock is there.",
		[]string{"unlock with another ID", "unlock with an earlier ID", "linearizable"},
		func(b *broken) {
			b.unlock = func(ctx context.Context, ws, id string) error {
				if holder, err := b.Holder(ctx, ws); err == nil {
					id = holder.ID
				}
				return b.service.Unlock(ctx, ws, id)
			}
		}),
	mutate("empty ID unlocks", "Unlock with an empty ID releases whatever lock is there.",
		[]string{"unlock with an empty ID"},
		func(b *broken) {
			b.unlock = func(ctx context.Context, ws, id string) error {
				if holder, err := b.Holder(ctx, ws); err == nil && id == "" {
					id = holder.ID
				}
				return b.service.Unlock(ctx, ws, id)
			}
		}),
	mutate("unlock of none succeeds", "Unlock does not say that nobody held the lock.",
		[]string{"unlock when none is held", "unlock with an empty ID"},
		func(b *broken) {
			b.unlock = func(ctx context.Context, ws, id string) error {
				if err := b.service.Unlock(ctx, ws, id); !errors.Is(err, lock.ErrNotHeld) {
					return err
				}
				return nil
			}
		}),
	mutate("only the taker unlocks", "Unlock releases only what this client has locked.",
		[]string{"unlock from elsewhere"},
		func(b *broken) {
			taken := map[string]bool{}
			b.lock = func(ctx context.Context, ws string, in info) (info, error) {
				stored, err := b.service.Lock(ctx, ws, in)
				taken[stored.ID] = true
				return stored, err
			}
			b.unlock = func(ctx context.Context, ws, id string) error {
				if holder, err := b.Holder(ctx, ws); err == nil && !taken[id] {
					return &lock.HeldError{Workspace: ws, Holder: holder}
				}
				return b.service.Unlock(ctx, ws, id)
			}
		}),
	mutate("unreadable record unbreakable", "Unlock needs a record that it can read.",
		[]string{"unreadable record"},
		func(b *broken) {
			b.unlock = func(ctx context.Context, ws, id string) error {
				if holder, err := b.Holder(ctx, ws); err == nil && strings.HasPrefix(holder.ID, "unreadable-") {
					return &lock.HeldError{Workspace: ws, Holder: holder}
				}
				return b.service.Unlock(ctx, ws, id)
			}
		}),
	mutate("unreadable record is any record", "The ID of a record that cannot be read releases every later lock.",
		[]string{"unreadable record"},
		func(b *broken) {
			b.unlock = func(ctx context.Context, ws, id string) error {
				if holder, err := b.Holder(ctx, ws); err == nil && strings.HasPrefix(id, "unreadable-") {
					id = holder.ID
				}
				return b.service.Unlock(ctx, ws, id)
			}
		}),
	mutate("unreadable record ignored", "Lock takes a lock whose record it cannot read.",
		[]string{"unreadable record"},
		func(b *broken) {
			b.lock = func(ctx context.Context, ws string, in info) (info, error) {
				if holder, err := b.Holder(ctx, ws); err == nil && strings.HasPrefix(holder.ID, "unreadable-") {
					b.store.SetLockRecord(ws, nil)
				}
				return b.service.Lock(ctx, ws, in)
			}
		}),
	mutate("dropped context", "Lock goes on when its context has ended.",
		[]string{"context ended before", "server hangs"},
		func(b *broken) {
			b.lock = func(ctx context.Context, ws string, in info) (info, error) {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 7*time.Second)
				defer cancel() // so that the test ends
				return b.service.Lock(ctx, ws, in)
			}
		}),
	mutate("half-taken lock", "A Lock that is cut short says that it was not taken, and takes it.",
		[]string{"context ends during"},
		func(b *broken) {
			b.lock = func(ctx context.Context, ws string, in info) (info, error) {
				stored, err := b.service.Lock(ctx, ws, in)
				time.Sleep(20 * time.Millisecond)
				if err == nil && ctx.Err() != nil {
					return none, ctx.Err()
				}
				return stored, err
			}
		}),
	mutate("refused by its own lock", "Lock tries again after a lost reply, and finds the lock held: by itself.",
		[]string{"lost reply to Lock"},
		func(b *broken) {
			b.lock = func(ctx context.Context, ws string, in info) (info, error) {
				stored, err := b.service.Lock(ctx, ws, in)
				if errors.Is(err, lock.ErrUnknown) {
					return b.service.Lock(ctx, ws, in)
				}
				return stored, err
			}
		}),
	mutate("settled by ID", "After a lost reply, Lock takes a lock with its ID for its own.",
		[]string{"lost replies to two"},
		func(b *broken) {
			b.lock = func(ctx context.Context, ws string, in info) (info, error) {
				stored, err := b.service.Lock(ctx, ws, in)
				if holder, look := b.Holder(ctx, ws); errors.Is(err, lock.ErrUnknown) && look == nil && holder.ID == in.ID {
					return holder, nil
				}
				return stored, err
			}
		}),
	mutate("unlock denied", "Unlock tries again after a lost reply, and says that nobody held the lock.",
		[]string{"lost reply to Unlock"},
		func(b *broken) {
			b.unlock = func(ctx context.Context, ws, id string) error {
				err := b.service.Unlock(ctx, ws, id)
				if errors.Is(err, lock.ErrUnknown) {
					return b.service.Unlock(ctx, ws, id)
				}
				return err
			}
		}),
	mutate("off is free", "A Locker that is configured not to lock says that nobody holds the lock.",
		[]string{"configured not to lock"},
		func(b *broken) {
			b.holder = func(ctx context.Context, ws string) (info, error) {
				holder, err := b.service.Holder(ctx, ws)
				if errors.Is(err, errors.ErrUnsupported) {
					err = lock.ErrNotHeld
				}
				return holder, err
			}
		}),
	mutate("goroutine left", "Lock leaves a goroutine that watches over the lock.",
		[]string{"nothing left running"},
		func(b *broken) {
			b.lock = func(ctx context.Context, ws string, in info) (info, error) {
				go func() { <-b.t.Context().Done() }()
				return b.service.Lock(ctx, ws, in)
			}
		}),
	mutate("lock ends with its context", "A lock is tied to the context of Lock, and cannot be released after that.",
		[]string{"release after cancellation"},
		func(b *broken) {
			var taken context.Context
			b.lock = func(ctx context.Context, ws string, in info) (info, error) {
				taken = ctx
				return b.service.Lock(ctx, ws, in)
			}
			b.unlock = func(ctx context.Context, ws, id string) error {
				if taken != nil && taken.Err() != nil {
					return taken.Err()
				}
				return b.service.Unlock(ctx, ws, id)
			}
		}),
	mutate("waiter never told", "Wait returns only when its context ends.",
		[]string{"wait", "wait and hand over"},
		func(b *broken) {
			b.wait = func(ctx context.Context, _ string) error {
				<-ctx.Done()
				return ctx.Err()
			}
		}),
	mutate("watcher never told", "Watch returns only when its context ends.",
		[]string{"watch"},
		func(b *broken) {
			b.watch = func(ctx context.Context, _, _ string) error {
				<-ctx.Done()
				return ctx.Err()
			}
		}),
	mutate("watcher told at once", "Watch says that the lock is lost, and has not looked.",
		[]string{"watch"},
		func(b *broken) {
			b.watch = func(context.Context, string, string) error { return nil }
		}),
	mutate("watcher hears no end", "Watch goes on when its context has ended.",
		[]string{"watch", "server hangs"},
		func(b *broken) {
			b.watch = func(ctx context.Context, ws, id string) error {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 7*time.Second)
				defer cancel() // so that the test ends
				return b.service.Watch(ctx, ws, id)
			}
		}),
	mutate("waiter takes the lock", "Wait takes the lock that it waited for.",
		[]string{"wait"},
		func(b *broken) {
			b.wait = func(ctx context.Context, ws string) error {
				err := b.service.Wait(ctx, ws)
				if err == nil {
					b.service.Lock(ctx, ws, lock.NewInfo("wait"))
				}
				return err
			}
		}),
}
