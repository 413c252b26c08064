package gcs_test

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
)

func Benchmark(b *testing.B) { backendtest.Benchmarks(b, fakegcs.target("")) }

// TestMemory: a read allocates the state once, a write not at all. It runs alone.
func TestMemory(t *testing.T) {
	c := fakegcs.open(t).client(t, nil)
	defer c.Close()
	const size = 32 << 20
	data := bytes.Repeat([]byte("state"), size/5)
	allocated := func(call func() error) float64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := call(); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return float64(after.TotalAlloc-before.TotalAlloc) / size
	}
	write := allocated(func() error {
		_, err := c.Write(t.Context(), backend.DefaultWorkspace, data, backend.Condition{})
		return err
	})
	read := allocated(func() error {
		_, err := c.Read(t.Context(), backend.DefaultWorkspace)
		return err
	})
	t.Logf("allocated, as a multiple of the state's size: Write %.2f, Read %.2f", write, read)
	if write > 0.1 || read > 1.1 {
		t.Error("the state is copied")
	}
}
