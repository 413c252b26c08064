package backendtest

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// benchmarkHandOff measures how long after the release of a lock any one of so many
// waiters holds it: the median, and the 99th of 100 (-benchtime 100x). Each holder
// keeps it for so long that those who wait look as seldom as they ever do.
func benchmarkHandOff(b *testing.B, target Target, waiters int) {
	ns, workspace := target.New(b), cmp.Or(target.Workspace, backend.DefaultWorkspace)
	ctx, cancel := context.WithCancel(b.Context())
	var group sync.WaitGroup
	takes := make(chan take)
	for range waiters + 1 { // and the holder
		client := ns.Open(b)
		b.Cleanup(func() { client.Close() })
		l, ok := backend.As[lock.Locker](client)
		if !ok {
			b.Skip("it is no lock.Locker")
		}
		group.Go(func() { takeTurns(ctx, b, l, workspace, takes) })
	}
	var took []float64
	holder := <-takes
	for b.Loop() {
		time.Sleep(500*time.Millisecond + rand.N(2*time.Second))
		released := time.Now()
		if err := holder.Release(b.Context()); err != nil {
			b.Error(err)
			break
		}
		next := <-takes
		took = append(took, float64(next.at.Sub(released))/float64(time.Millisecond))
		close(holder.again)
		holder = next
	}
	cancel()
	group.Wait()
	if err := holder.Release(b.Context()); err != nil {
		b.Error(err)
	}
	if len(took) == 0 {
		return // and the error is told
	}
	slices.Sort(took)
	b.ReportMetric(took[(len(took)*50-1)/100], "ms-median")
	b.ReportMetric(took[(len(took)*99-1)/100], "ms-99th")
	b.ReportMetric(0, "ns/op")
}

// A take is a lock that was taken at that time. Who took it waits for it again once
// again is closed.
type take struct {
	*lock.Lock
	at    time.Time
	again chan struct{}
}

// takeTurns waits for the lock, hands it over to be released, and waits again.
func takeTurns(ctx context.Context, b *testing.B, l lock.Locker, workspace string, takes chan<- take) {
	for {
		held, err := lock.Acquire(ctx, l, workspace, lock.NewInfo("benchmark"), lock.Options{Timeout: time.Hour})
		if err != nil {
			if ctx.Err() == nil {
				b.Error(err)
			}
			return
		}
		t := take{held, time.Now(), make(chan struct{})}
		select {
		case takes <- t:
		case <-ctx.Done(): // nobody wants it any longer
			if err := held.Release(ctx); err != nil {
				b.Error(err)
			}
			return
		}
		select {
		case <-t.again:
		case <-ctx.Done():
			return
		}
	}
}
