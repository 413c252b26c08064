package memory_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
	"github.com/statelatch/statelatch/memory"
)

// target is the whole contract, but for what needs requests or a configuration.
func target(workspace string) backendtest.Target {
	return backendtest.Target{
		New:       namespace,
		Workspace: workspace,
		Fenced:    true,
		TTL:       time.Minute,
		Skips: backendtest.Skips{
			"Beside":   "a store in memory has one configuration",
			"Canary":   "it has no credentials",
			"Empty":    "it keeps no empty state",
			"Hung":     "it makes no requests; through middleware/faulty they hang",
			"Limited":  "it has no such setting",
			"Lossy":    "it makes no requests; through middleware/faulty they lose their replies",
			"Unlocked": "it has no such setting",
		},
	}
}

func namespace(testing.TB) backendtest.Namespace {
	store := memory.New()
	var skipped atomic.Int64
	return backendtest.Namespace{
		Open:        func(testing.TB) backend.Backend { return store.Client() },
		CorruptLock: func(_ testing.TB, workspace string) { store.SetLockRecord(workspace, []byte("rubbish")) },
		Advance: func(d time.Duration) {
			by := time.Duration(skipped.Add(int64(d)))
			store.SetClock(func() time.Time { return time.Now().Add(by) })
		},
	}
}

func TestConformance(t *testing.T) {
	for _, workspace := range []string{backend.DefaultWorkspace, "prod"} {
		t.Run(workspace, func(t *testing.T) { backendtest.Run(t, target(workspace)) })
	}
}
