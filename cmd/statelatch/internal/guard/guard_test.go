package guard

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/memory"
	"github.com/statelatch/statelatch/middleware/faulty"
)

// TestRelease: it tries three times, and does not wait for what it does not try.
func TestRelease(t *testing.T) {
	for failures, want := range map[int]time.Duration{1: 100 * time.Millisecond, 2: 400 * time.Millisecond, 3: 400 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			b := faulty.Wrap(memory.New())
			l, _ := backend.As[lock.Locker](b)
			held, err := lock.Acquire(t.Context(), l, "default", lock.NewInfo("test"), lock.Options{Check: -1})
			if err != nil {
				t.Fatal(err)
			}
			for n := range failures {
				b.Fail(faulty.Unlock, n+1, backend.ErrTransient)
			}
			start := time.Now()
			err = Release(t.Context(), held)
			if got := time.Since(start); got != want || errors.Is(err, lock.ErrTransient) != (failures == 3) {
				t.Errorf("%d failures: %v after %v, want %v", failures, err, got, want)
			}
			_ = held.Release(t.Context())
		})
	}
}
