// Package measure compares what this module does with the bare calls of a vendor's
// client, by turns and in one run: on a machine that does other work too, only ratios
// mean something.
package measure

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
)

// Sizes are those of the states that are measured.
var Sizes = []struct {
	Name  string
	Bytes int
}{{"1KB", 1 << 10}, {"1MB", 1 << 20}, {"100MB", 100 << 20}}

// Bare is the work of a vendor's client on the same server.
type Bare struct {
	Put func(ctx context.Context, data []byte) error
	Get func(ctx context.Context) error
}

// Backend compares writes and reads by c with bare ones, in subbenchmarks.
func Backend(b *testing.B, c backend.Backend, bare Bare) {
	ctx := b.Context()
	for _, size := range Sizes {
		data := bytes.Repeat([]byte("0123456789abcdef"), size.Bytes/16)
		cond := backend.Condition{Revision: backend.AnyRevision}
		write := func() (err error) {
			data[0]++ // another state each time
			cond.Revision, err = c.Write(ctx, backend.DefaultWorkspace, data, cond)
			return err
		}
		read := func() error {
			_, err := c.Read(ctx, backend.DefaultWorkspace)
			return err
		}
		put := func() error { return bare.Put(ctx, data) }
		get := func() error { return bare.Get(ctx) }
		if err := errors.Join(write(), put()); err != nil {
			b.Fatal(err)
		}
		b.Run("write/"+size.Name, func(b *testing.B) { Beside(b, size.Bytes, put, write) })
		b.Run("read/"+size.Name, func(b *testing.B) { Beside(b, size.Bytes, get, read) })
	}
}

// Beside runs both by turns, and reports of ours, as a multiple of what the bare work
// takes, the time ("x-bare"); and as multiples of size, in bytes, what it allocates
// ("x-state"), and the most that the heap holds more at one time than before ("x-peak").
func Beside(b *testing.B, size int, bare, ours func() error) {
	b.SetBytes(int64(size))
	var bareTime, ourTime time.Duration
	var allocated, peak uint64
	for b.Loop() {
		b.StopTimer()
		tidy(size)
		start := time.Now()
		err := bare()
		bareTime += time.Since(start)
		tidy(size)
		before, highest := totalAlloc(), watchHeap(size)
		b.StartTimer()
		start = time.Now()
		err = errors.Join(err, ours())
		ourTime += time.Since(start)
		b.StopTimer()
		peak = max(peak, highest())
		allocated += totalAlloc() - before
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(ourTime)/float64(bareTime), "x-bare")
	b.ReportMetric(float64(allocated)/float64(b.N)/float64(size), "x-state")
	if large(size) {
		b.ReportMetric(float64(peak)/float64(size), "x-peak")
	}
}

// large says of a size that the heap is worth a look now and then.
func large(size int) bool { return size > 10<<20 }

// tidy lets neither pay for the other's garbage, where there is much.
func tidy(size int) {
	if large(size) {
		runtime.GC()
	}
}

func totalAlloc() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// watchHeap looks at the heap every millisecond, garbage included, until highest is
// called, which returns by how much it was larger than at first.
func watchHeap(size int) (highest func() uint64) {
	if !large(size) {
		return func() uint64 { return 0 }
	}
	first := heap()
	most := first
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
				most = max(most, heap())
			}
		}
	}()
	return func() uint64 {
		close(done)
		<-stopped
		return most - first
	}
}

func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
