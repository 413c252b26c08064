package azblob_test

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
	"github.com/statelatch/statelatch/internal/measure"
	"github.com/statelatch/statelatch/internal/tftest"
)

func Benchmark(b *testing.B) { backendtest.Benchmarks(b, target(b, "", false)) }

// BenchmarkBeside has the vendor's client put a blob by one request, and read it.
func BenchmarkBeside(b *testing.B) {
	n := newNamespace(b, false)
	bare := n.blob(b, "bare")
	measure.Backend(b, n.client(b, nil), measure.Bare{
		Put: func(ctx context.Context, data []byte) error {
			_, err := bare.Upload(ctx, streaming.NopCloser(bytes.NewReader(data)), nil)
			return err
		},
		Get: func(ctx context.Context) error {
			reply, err := bare.DownloadStream(ctx, nil)
			if err != nil {
				return err
			}
			defer reply.Body.Close()
			_, err = io.ReadAll(reply.Body)
			return err
		},
	})
}

func BenchmarkTerraformHandOff(b *testing.B) {
	tftest.HandOff(b, tftest.Terraform(b), newSky(b).fixture(b, "terraform"))
}

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
