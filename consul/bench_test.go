package consul_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/statelatch/statelatch/backend/backendtest"
	"github.com/statelatch/statelatch/internal/measure"
	"github.com/statelatch/statelatch/internal/tftest"
	"github.com/statelatch/statelatch/lock"
)

func Benchmark(b *testing.B) {
	target := target(b, "", false, nil)
	target.MaxSize = 0
	backendtest.Benchmarks(b, target)
}

// BenchmarkBeside has the vendor's client put, one by one, the values that a state is
// cut into, and get them.
func BenchmarkBeside(b *testing.B) {
	n := open(b)
	pieces := 0
	key := func(i int) string { return fmt.Sprint(n.config.Path, "-bare/", i) }
	measure.Backend(b, n.client(b), measure.Bare{
		Put: func(ctx context.Context, data []byte) error {
			pieces = 0
			for piece := range slices.Chunk(data, 512<<10) {
				if _, err := n.raw.KV().Put(&api.KVPair{Key: key(pieces), Value: piece}, (&api.WriteOptions{}).WithContext(ctx)); err != nil {
					return err
				}
				pieces++
			}
			return nil
		},
		Get: func(ctx context.Context) error {
			for i := range pieces {
				if _, _, err := n.raw.KV().Get(key(i), (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx)); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

func BenchmarkTerraformHandOff(b *testing.B) {
	n := open(b)
	tftest.HandOff(b, tftest.Terraform(b), tftest.Fixture{Backend: n.block("", n.config.Address, ""), Ours: n.client(b)})
}

// A waiter holds the lock within 100 ms of its release, in the median.
func TestHandOff(t *testing.T) {
	n := open(t)
	var took []time.Duration
	for range 9 {
		holder := mustLock(t, n.client(t))
		waiting, taken := make(chan bool, 1), make(chan *lock.Lock)
		go func() {
			defer close(taken)
			l, err := lock.Acquire(t.Context(), n.client(t), ws, lock.NewInfo("test"), lock.Options{
				Timeout: time.Minute,
				OnWait:  func(*lock.HeldError) { waiting <- true },
			})
			if err != nil {
				t.Error(err)
				return
			}
			taken <- l
		}()
		<-waiting
		time.Sleep(100 * time.Millisecond) // its blocking query has come to the server
		released := time.Now()
		mustUnlock(t, n.client(t), holder.ID)
		l, ok := <-taken
		if !ok {
			return
		}
		took = append(took, time.Since(released))
		if err := l.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(took)
	t.Logf("hand-offs: %v", took)
	if median := took[len(took)/2]; median > 100*time.Millisecond {
		t.Errorf("the median is %s", median)
	}
}
