package local

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

const (
	ws     = backend.DefaultWorkspace
	minute = time.Minute
)

// document returns a state of size bytes. Two of different sizes have no block in
// common.
func document(size int) []byte {
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(size), byte(size >> 8), byte(size >> 16), byte(size >> 24)}).Read(data)
	return data
}

// place returns the configuration of a fresh place.
func place(t testing.TB) Config {
	dir := t.TempDir()
	return Config{Path: filepath.Join(dir, "terraform.tfstate"), WorkspaceDir: filepath.Join(dir, "terraform.tfstate.d")}
}

func open(t testing.TB, c Config) *Backend {
	t.Helper()
	b := opened(t, c)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func read(t testing.TB, b *Backend) backend.State {
	t.Helper()
	st, err := b.Read(context.WithoutCancel(t.Context()), ws)
	if err != nil && !errors.Is(err, backend.ErrNotExist) {
		t.Fatal(err)
	}
	return st
}

// write puts data in place of whatever is there.
func write(t testing.TB, b *Backend, data []byte) backend.Revision {
	t.Helper()
	rev, err := b.Write(t.Context(), ws, data, backend.Condition{Revision: backend.AnyRevision})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func take(t testing.TB, b *Backend) lock.Info {
	t.Helper()
	info, err := b.Lock(t.Context(), ws, lock.NewInfo("test"))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// raw returns what another program sees of a file; nothing if it is not there.
func raw(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return data
}

// present reports whether there is anything at path.
func present(path string) bool {
	there, err := exists(path)
	return there && err == nil
}

func put(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func is(t testing.TB, doing string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: got error %v, want one that matches %q", doing, err, kind)
	}
}

// heldBy returns the *lock.HeldError in err.
func heldBy(t testing.TB, doing string, err error) *lock.HeldError {
	t.Helper()
	held, ok := errors.AsType[*lock.HeldError](err)
	if !ok {
		t.Fatalf("%s: got error %v, want a *lock.HeldError", doing, err)
	}
	return held
}

// what names a state in a message.
func what(data []byte) string {
	return fmt.Sprintf("%d bytes, %.40q…", len(data), data)
}
