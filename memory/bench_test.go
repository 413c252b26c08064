package memory_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
	"github.com/statelatch/statelatch/internal/measure"
	"github.com/statelatch/statelatch/memory"
)

func Benchmark(b *testing.B) { backendtest.Benchmarks(b, target("")) }

var put, got []byte // so that the copies are made

// BenchmarkBeside compares a write and a read with a copy of the same bytes; of small
// states many at a time, which the clock can tell.
func BenchmarkBeside(b *testing.B) {
	m := memory.New()
	for _, size := range measure.Sizes {
		data := bytes.Repeat([]byte("x"), size.Bytes)
		write := func() error {
			_, err := m.Write(b.Context(), backend.DefaultWorkspace, data, backend.Condition{Revision: backend.AnyRevision})
			return err
		}
		read := func() error {
			st, err := m.Read(b.Context(), backend.DefaultWorkspace)
			got = st.Data
			return err
		}
		clone := func() error { put = bytes.Clone(data); return nil }
		if err := write(); err != nil {
			b.Fatal(err)
		}
		n := max(1, 1<<20/size.Bytes)
		b.Run("write/"+size.Name, func(b *testing.B) { measure.Beside(b, n*size.Bytes, times(n, clone), times(n, write)) })
		b.Run("read/"+size.Name, func(b *testing.B) { measure.Beside(b, n*size.Bytes, times(n, clone), times(n, read)) })
	}
}

func times(n int, call func() error) func() error {
	return func() (err error) {
		for range n {
			err = errors.Join(err, call())
		}
		return err
	}
}
