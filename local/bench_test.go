package local

import (
	"crypto/sha256"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
)

var sizes = []struct {
	name string
	size int
}{{"1KB", 1 << 10}, {"1MB", 1 << 20}, {"100MB", 100 << 20}}

// The measures are ratios of the same run: "x-bare", the time beside that of the
// bare system calls, and "x-state", the memory allocated beside the size of the
// state, of which the peak can be no more.

// BenchmarkWrite compares a write without .backup with one bare write and fsync
// plus one read and SHA-256, all of the same bytes.
func BenchmarkWrite(b *testing.B) {
	for _, s := range sizes {
		b.Run(s.name, func(b *testing.B) {
			config := place(b)
			config.NoBackup = true
			ours := open(b, config)
			states := [][]byte{document(s.size), document(s.size)}
			states[1][0]++ // so that there is something to write
			rev := write(b, ours, states[0])
			path := config.Path + "-bare"
			bareWrite(b, path, states[0])
			compare(b, s.size, func(i int) {
				bareWrite(b, path, states[i%2])
				bareRead(b, path)
			}, func(i int) {
				var err error
				if rev, err = ours.Write(b.Context(), ws, states[(i+1)%2], backend.Condition{Revision: rev}); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

// BenchmarkRead compares a read with a bare read and SHA-256.
func BenchmarkRead(b *testing.B) {
	for _, s := range sizes {
		b.Run(s.name, func(b *testing.B) {
			config := place(b)
			ours := open(b, config)
			write(b, ours, document(s.size))
			compare(b, s.size, func(int) { bareRead(b, config.Path) }, func(int) { read(b, ours) })
		})
	}
}

// compare runs both by turns, and reports the ratios.
func compare(b *testing.B, size int, bare, ours func(i int)) {
	b.SetBytes(int64(size))
	var bareTime, ourTime time.Duration
	var allocated uint64
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		tidy(size)
		start := time.Now()
		bare(i)
		bareTime += time.Since(start)
		tidy(size)
		before := totalAlloc()
		b.StartTimer()
		start = time.Now()
		ours(i)
		ourTime += time.Since(start)
		b.StopTimer()
		allocated += totalAlloc() - before
		b.StartTimer()
	}
	b.ReportMetric(float64(ourTime)/float64(bareTime), "x-bare")
	b.ReportMetric(float64(allocated)/float64(b.N)/float64(size), "x-state")
}

// tidy lets neither pay for the other's garbage, where there is much.
func tidy(size int) {
	if size > 10<<20 {
		runtime.GC()
	}
}

func totalAlloc() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// bareWrite writes as Terraform does.
func bareWrite(b *testing.B, path string, data []byte) {
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := f.Write(data); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	f.Close()
}

func bareRead(b *testing.B, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	fmt.Fprint(nowhere{}, sha256.Sum256(data))
}

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
