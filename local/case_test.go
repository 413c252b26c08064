package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statelatch/statelatch/backend"
)

// TestCase plays a file system that ignores case.
func TestCase(t *testing.T) {
	before := sameDir
	defer func() { sameDir = before }()
	sameDir = func(a, b string) bool {
		return strings.EqualFold(a, b) && there(a)
	}
	config := place(t)
	b := open(t, config)
	if _, err := b.Write(t.Context(), "Prod", []byte("x"), backend.Condition{}); err != nil {
		t.Fatal(err)
	}
	for name, kind := range map[string]error{
		"Prod": nil, "prod": backend.ErrInvalidName, "PROD": backend.ErrInvalidName, "other": backend.ErrNotExist, "1": backend.ErrNotExist,
	} {
		if _, err := b.Read(t.Context(), name); kind == nil && err != nil {
			t.Errorf("Read %s: %v", name, err)
		} else if kind != nil {
			is(t, "Read "+name, err, kind)
		}
	}
	_, err := b.Write(t.Context(), "prod", []byte("y"), backend.Condition{Revision: backend.AnyRevision})
	is(t, "Write prod", err, backend.ErrInvalidName)
}

// there reports whether a file system that ignores case has a directory of this
// name.
func there(path string) bool {
	list, _ := os.ReadDir(filepath.Dir(path))
	for _, e := range list {
		if strings.EqualFold(e.Name(), filepath.Base(path)) {
			return true
		}
	}
	return false
}
