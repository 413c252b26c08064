package faulty_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
	"github.com/statelatch/statelatch/memory"
	"github.com/statelatch/statelatch/middleware/faulty"
)

// The contract is kept without faults and with them: that makes them fair.
func TestConformance(t *testing.T) {
	backendtest.Run(t, backendtest.Target{
		New:    namespace,
		Fenced: true,
		TTL:    time.Minute,
		Skips: backendtest.Skips{
			"Beside":   "a store in memory has one configuration",
			"Canary":   "it has no credentials",
			"Empty":    "a store in memory keeps no empty state",
			"Limited":  "it has no such setting",
			"Unlocked": "it has no such setting",
			"Watcher":  "it is hidden",
		},
	})
}

func namespace(testing.TB) backendtest.Namespace {
	store := memory.New()
	var skipped atomic.Int64
	wrap := func(inject func(*faulty.Backend)) func(testing.TB) backend.Backend {
		return func(testing.TB) backend.Backend {
			f := faulty.Wrap(store.Client())
			inject(f)
			return f
		}
	}
	return backendtest.Namespace{
		Open:        wrap(func(*faulty.Backend) {}),
		Lossy:       wrap(loseFirst),
		Hung:        wrap(func(f *faulty.Backend) { f.HangReply(faulty.Any, faulty.Every) }),
		CorruptLock: func(_ testing.TB, workspace string) { store.SetLockRecord(workspace, []byte("rubbish")) },
		Advance: func(d time.Duration) {
			by := time.Duration(skipped.Add(int64(d)))
			store.SetClock(func() time.Time { return time.Now().Add(by) })
		},
	}
}

// loseFirst loses the reply to the first call that changes something.
func loseFirst(f *faulty.Backend) {
	var lost atomic.Bool
	for _, op := range mutations {
		f.After(op, faulty.Every, func(context.Context) error {
			if lost.Swap(true) {
				return nil
			}
			return errors.New("the connection broke")
		})
	}
}
