package deptest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sized are the programs that BenchmarkSize links: the package that each imports
// beside backend and lock, and the Mux with which it opens a Backend.
var sized = []struct{ pkg, mux string }{
	{"backend", "backend.NewMux()"},
	{"memory", "backend.NewMux(memory.Driver)"},
	{"local", "backend.NewMux(local.Driver)"},
	{"httpbackend", "backend.NewMux(httpbackend.Driver)"},
	{"consul", "backend.NewMux(consul.Driver)"},
	{"azblob", "backend.NewMux(azblob.Driver)"},
	{"s3", "backend.NewMux(s3.Driver)"},
	{"gcs", "backend.NewMux(gcs.Driver)"},
	{"all", "all.Mux()"},
}

// A program that opens a Backend and changes a state in it.
const program = `package main

import (
	"context"
	"os"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
	%s
)

func main() {
	ctx := context.Background()
	b, err := %s.OpenURL(ctx, os.Args[1])
	if err != nil {
		panic(err)
	}
	_, err = backend.Update(ctx, b, backend.DefaultWorkspace, lock.NewInfo("size"), lock.Options{},
		func(_ context.Context, current backend.State) ([]byte, error) { return append(current.Data, ' '), nil })
	if err != nil {
		panic(err)
	}
}
`

// BenchmarkSize links a program for each row, without symbols, and reports how many
// millions of bytes it has.
func BenchmarkSize(b *testing.B) {
	for _, row := range sized {
		b.Run(row.pkg, func(b *testing.B) {
			also := ""
			if row.pkg != "backend" {
				also = fmt.Sprintf("%q", module+"/"+row.pkg)
			}
			source, size := fmt.Sprintf(program, also, row.mux), int64(0)
			for b.Loop() {
				size = link(b, source)
			}
			b.ReportMetric(float64(size)/1e6, "MB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// link returns the size of a program.
func link(b *testing.B, source string) int64 {
	dir := b.TempDir()
	main, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "main")
	if err := os.WriteFile(main, []byte(source), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, main)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, strings.TrimSpace(string(out)))
	}
	info, err := os.Stat(binary)
	if err != nil {
		b.Fatal(err)
	}
	return info.Size()
}
