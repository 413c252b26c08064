package faulty_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/memory"
	"github.com/statelatch/statelatch/middleware/faulty"
)

// increment adds one to the number that is the state.
func increment(_ context.Context, current backend.State) ([]byte, error) {
	if current.Revision == "" {
		return []byte("1"), nil
	}
	n, err := strconv.Atoi(string(current.Data))
	return strconv.AppendInt(nil, int64(n+1), 10), err
}

func counter(t *testing.T, b backend.Backend) int {
	t.Helper()
	st, err := b.Read(t.Context(), ws)
	if errors.Is(err, backend.ErrNotExist) {
		return 0
	}
	n, err := strconv.Atoi(string(st.Data))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func update(ctx context.Context, b backend.Backend) (backend.Revision, error) {
	return backend.Update(ctx, b, ws, lock.NewInfo("test"), lock.Options{Timeout: time.Hour}, increment)
}

// ways are the two that Update has, with a lock and without one.
var ways = map[string]func(backend.Backend) backend.Backend{
	"locked":           func(b backend.Backend) backend.Backend { return b },
	"compare-and-swap": func(b backend.Backend) backend.Backend { return struct{ backend.Backend }{b} },
}

// A tally counts what Updates reported.
type tally struct {
	mu                    sync.Mutex
	done, unknown, failed int
	other                 []error
}

func (c *tally) count(rev backend.Revision, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case rev != "": // written; it may be unknown whether the lock was released
		c.done++
		if err != nil && !errors.Is(err, backend.ErrUnknown) {
			c.other = append(c.other, err)
		}
	case errors.Is(err, backend.ErrUnknown):
		c.unknown++
	case errors.Is(err, backend.ErrTransient):
		c.failed++
	default:
		c.other = append(c.other, err)
	}
}

// One reply in five is lost, and nobody loses count: the end lies between the
// number of successes and that number plus the unknown outcomes.
func TestUpdatesWithLostReplies(t *testing.T) {
	const clients, each = 16, 50
	for way, open := range ways {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, c := memory.New(), &tally{}
				var group sync.WaitGroup
				for i := range clients {
					f := faulty.Wrap(b.Client())
					f.Chaos(faulty.Any, uint64(i), 0, 0.2)
					group.Go(func() {
						for range each {
							c.count(update(t.Context(), open(f)))
						}
					})
				}
				group.Wait()
				c.check(t, clients*each, counter(t, b))
				if holder, err := b.Holder(t.Context(), ws); !errors.Is(err, lock.ErrNotHeld) {
					t.Errorf("the lock is left to %v, %v", holder, err)
				}
			})
		})
	}
}

// check compares what was reported with what is there at the end.
func (c *tally) check(t *testing.T, updates, end int) {
	t.Logf("%d updates: %d done, %d unknown, %d failed; %d at the end", updates, c.done, c.unknown, c.failed, end)
	if end < c.done || end > c.done+c.unknown {
		t.Error("updates were lost, or made twice")
	}
	if c.done == 0 || c.unknown == 0 || c.failed == 0 || len(c.other) > 0 {
		t.Errorf("reported: %v", c.other)
	}
}

// Each call that an Update makes meets with each fault. What Update says is true,
// and what it could clear up it did.
func TestUpdateMeetsEachFault(t *testing.T) {
	faults := map[string]func(f *faulty.Backend, n int){
		"failure":    func(f *faulty.Backend, n int) { f.Fail(faulty.Any, n, nil) },
		"lost reply": func(f *faulty.Backend, n int) { f.LoseReply(faulty.Any, n) },
	}
	for way, open := range ways {
		for fault, inject := range faults {
			t.Run(way+"/"+fault, func(t *testing.T) {
				for n := 1; ; n++ {
					f := faulty.Wrap(memory.New())
					inject(f, n)
					rev, err := update(t.Context(), open(f))
					if f.Calls(faulty.Any) < n {
						if n == 1 || err != nil {
							t.Errorf("%d calls, %v", n-1, err)
						}
						return // the fault found no call any more
					}
					checkOutcome(t, n, f, rev, err)
				}
			})
		}
	}
}

func checkOutcome(t *testing.T, n int, f *faulty.Backend, rev backend.Revision, err error) {
	f.Heal()
	end := counter(t, f)
	unknown := errors.Is(err, backend.ErrUnknown)
	if err == nil || (rev != "") != (end == 1) && !unknown {
		t.Errorf("call %d: revision %q, %v; the state is %d", n, rev, err, end)
	}
	var write *backend.WriteError
	if errors.As(err, &write) && string(write.Data) != "1" {
		t.Errorf("call %d: the new state is lost: %v", n, err)
	}
	// A lock that may be there is named, and can be cleared.
	holder, held := must[lock.Locker](f).Holder(t.Context(), ws)
	if held != nil {
		return
	}
	var release *lock.ReleaseError
	if !errors.As(err, &release) || release.ID != holder.ID {
		t.Errorf("call %d: %v, but the lock is left to %s", n, err, holder.ID)
	}
}
