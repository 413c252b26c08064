package gcs_test

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"testing"

	"cloud.google.com/go/storage"
	"google.golang.org/api/option"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
	"github.com/statelatch/statelatch/internal/measure"
	"github.com/statelatch/statelatch/internal/tftest"
)

func Benchmark(b *testing.B) { backendtest.Benchmarks(b, fakegcs.target("")) }

// BenchmarkBeside has the vendor's client upload an object by one request, and read
// it. Both work through a proxy.
func BenchmarkBeside(b *testing.B) {
	n := fakegcs.open(b)
	c := n.client(b, nil)
	defer c.Close()
	vendor, err := storage.NewClient(b.Context(), option.WithoutAuthentication(), option.WithEndpoint(n.proxy(b).URL()+"/storage/v1/"))
	if err != nil {
		b.Fatal(err)
	}
	defer vendor.Close()
	object := vendor.Bucket(n.config.Bucket).Object(n.object("bare"))
	measure.Backend(b, c, measure.Bare{
		Put: func(ctx context.Context, data []byte) error {
			w := object.NewWriter(ctx)
			w.ChunkSize = 0
			if _, err := w.Write(data); err != nil {
				return err
			}
			return w.Close()
		},
		Get: func(ctx context.Context) error {
			r, err := object.NewReader(ctx)
			if err != nil {
				return err
			}
			defer r.Close()
			_, err = io.ReadAll(r)
			return err
		},
	})
}

func BenchmarkTerraformHandOff(b *testing.B) {
	n := fakegcs.open(b)
	c := n.client(b, nil)
	tftest.HandOff(b, tftest.Terraform(b), tftest.Fixture{Backend: n.block(c.proxy), Ours: c})
}

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
