package tftest

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// HandOff measures how long after our release of a lock a program that waits for it
// holds it, one that has waited for 1 s to 16 s: the median, and the longest.
func HandOff(b *testing.B, p *Program, f Fixture) {
	ours, ok := backend.As[lock.Locker](f.Ours)
	if !ok {
		b.Fatalf("%T is no lock.Locker", f.Ours)
	}
	b.Cleanup(func() { f.Ours.Close() })
	dir := p.Dir(b, Config{Backend: f.Backend, Count: 1, Word: "one"}, f.Env...)
	var took []float64
	for b.Loop() {
		held, err := ours.Lock(b.Context(), backend.DefaultWorkspace, lock.NewInfo("benchmark"))
		if err != nil {
			b.Fatal(err)
		}
		plan := dir.Start("plan", "-lock-timeout=60s")
		plan.Until("Acquiring state lock. This may take a few moments")
		time.Sleep(time.Second + rand.N(15*time.Second))
		released := time.Now()
		if err := ours.Unlock(b.Context(), backend.DefaultWorkspace, held.ID); err != nil {
			b.Fatal(err)
		}
		for { // until they have it, or have had it
			if _, err := ours.Holder(b.Context(), backend.DefaultWorkspace); err == nil || plan.ended() {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		took = append(took, float64(time.Since(released))/float64(time.Millisecond))
		plan.Must()
	}
	slices.Sort(took)
	b.ReportMetric(took[(len(took)-1)/2], "ms-median")
	b.ReportMetric(took[len(took)-1], "ms-longest")
	b.ReportMetric(0, "ns/op")
}
