package local

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/statelatch/statelatch/internal/measure"
)

// BenchmarkBeside compares a write without .backup with one bare write and fsync plus one
// read and SHA-256, all of the same bytes; and a read with a bare read and SHA-256.
func BenchmarkBeside(b *testing.B) {
	config := place(b)
	config.NoBackup = true
	path := config.Path + "-bare"
	measure.Backend(b, open(b, config), measure.Bare{
		Put: func(_ context.Context, data []byte) error { return errors.Join(bareWrite(path, data), bareRead(path)) },
		Get: func(context.Context) error { return bareRead(path) },
	})
}

// bareWrite writes as Terraform does.
func bareWrite(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func bareRead(path string) error {
	data, err := os.ReadFile(path)
	fmt.Fprint(nowhere{}, sha256.Sum256(data))
	return err
}

// nowhere keeps the compiler from leaving out what nobody looks at.
type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
