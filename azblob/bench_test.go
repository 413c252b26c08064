package azblob_test

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
)

func Benchmark(b *testing.B) { backendtest.Benchmarks(b, target(b, "", false)) }

// TestMemory: a state is held once, in reading and in writing.
func TestMemory(t *testing.T) {
	const size = 32 << 20
	n := newNamespace(t, false)
	c := n.client(t, nil)
	data := bytes.Repeat([]byte("x"), size)
	for name, test := range map[string]struct {
		most uint64
		call func() error
	}{
		"write": {size / 4, func() error {
			_, err := c.Write(t.Context(), ws, data, backend.Condition{Revision: backend.AnyRevision})
			return err
		}},
		"read": {size + size/4, func() error {
			_, err := c.Read(t.Context(), ws)
			return err
		}},
	} {
		if err := test.call(); name == "write" && err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(t.Context(), ws, data, backend.Condition{Revision: backend.AnyRevision})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := test.call(); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		got := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s of %d MiB allocates %.1f MiB", name, size>>20, float64(got)/(1<<20))
		if got > test.most {
			t.Errorf("%s of %d bytes allocates %d, at most %d are expected", name, size, got, test.most)
		}
	}
}
