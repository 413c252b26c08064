package consul_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend/backendtest"
	"github.com/statelatch/statelatch/lock"
)

func Benchmark(b *testing.B) {
	target := target(b, "", false, nil)
	target.MaxSize = 0
	backendtest.Benchmarks(b, target)
}

// BenchmarkHandOff measures how long after a release a waiter holds the lock, while
// so many others wait too: the median, and the 99th of 100.
func BenchmarkHandOff(b *testing.B) {
	for name, waiters := range map[string]int{"1 waiter": 1, "2 waiters": 2, "20 waiters": 20} {
		b.Run(name, func(b *testing.B) {
			n := open(b)
			var took []time.Duration
			for b.Loop() {
				took = append(took, n.handOff(b, waiters)...)
			}
			slices.Sort(took)
			b.ReportMetric(milliseconds(took[len(took)/2]), "ms-median")
			b.ReportMetric(milliseconds(took[len(took)*99/100]), "ms-p99")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// handOff lets the lock go from one waiter to the next until all have had it, and
// returns how long each hand-off took.
func (n *namespace) handOff(t testing.TB, waiters int) (took []time.Duration) {
	t.Helper()
	first, err := lock.Acquire(t.Context(), n.client(t), ws, lock.NewInfo("bench"), lock.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards released and took
	var released time.Time
	release := func(l *lock.Lock) {
		mu.Lock()
		released = time.Now()
		mu.Unlock()
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
	}
	waiting := make(chan bool, waiters)
	var group sync.WaitGroup
	for range waiters {
		client := n.client(t)
		group.Go(func() {
			var once sync.Once
			l, err := lock.Acquire(t.Context(), client, ws, lock.NewInfo("bench"), lock.Options{
				Timeout: time.Minute,
				OnWait:  func(*lock.HeldError) { once.Do(func() { waiting <- true }) },
			})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			took = append(took, time.Since(released))
			mu.Unlock()
			time.Sleep(100 * time.Millisecond) // those who came too late wait again
			release(l)
		})
	}
	for range waiters {
		<-waiting
	}
	time.Sleep(100 * time.Millisecond)
	release(first)
	group.Wait()
	return took
}

// A waiter holds the lock within 100 ms of its release, in the median.
func TestHandOff(t *testing.T) {
	n := open(t)
	var took []time.Duration
	for range 9 {
		took = append(took, n.handOff(t, 1)...)
	}
	slices.Sort(took)
	t.Logf("hand-offs: %v", took)
	if median := took[len(took)/2]; median > 100*time.Millisecond {
		t.Errorf("the median is %s", median)
	}
}
