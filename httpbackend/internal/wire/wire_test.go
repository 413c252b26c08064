package wire_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/internal/wire"
	"github.com/statelatch/statelatch/lock"
)

// FuzzRevision: whatever a tag is, it names one revision, which has just that tag, or
// none.
func FuzzRevision(f *testing.F) {
	for _, etag := range []string{"", `"`, `""`, `"b25l"`, `W/"b25l"`, `"*"`, `"Kg"`, `"b25"`, `"b25="`, `"b25l`, "\"a\r\nb\""} {
		f.Add(etag)
	}
	f.Fuzz(func(t *testing.T, etag string) {
		rev, ok := wire.Revision(etag)
		if ok && (rev == "" || rev == backend.AnyRevision || wire.ETag(rev) != strings.TrimPrefix(etag, "W/")) {
			t.Errorf("%q names %q, whose tag is %q", etag, rev, wire.ETag(rev))
		}
		back, ok := wire.Revision(wire.ETag(backend.Revision(etag)))
		if usual := etag != "" && etag != "*"; ok != usual || usual && string(back) != etag {
			t.Errorf("revision %q comes back as %q", etag, back)
		}
	})
}

// TestKinds: each kind comes back as itself, whatever it is wrapped in.
func TestKinds(t *testing.T) {
	for _, kind := range []error{
		backend.ErrNotExist, backend.ErrConflict, backend.ErrInvalid, backend.ErrTooLarge, backend.ErrNoStore, backend.ErrCorrupt,
		backend.ErrInvalidName, backend.ErrPermission, backend.ErrTransient, backend.ErrUnknown, lock.ErrNotHeld, errors.ErrUnsupported,
	} {
		name, status, _, ok := wire.Refusal(fmt.Errorf("x: %w", &backend.Error{Kind: kind, Err: errors.New("y")}))
		if !ok || status < 400 || !errors.Is(wire.Kind(name), kind) {
			t.Errorf("%v crosses as %q (%d), which is %v", kind, name, status, wire.Kind(name))
		}
	}
	if wire.Kind("") != nil || wire.Kind(wire.Held) != nil {
		t.Error("no name is a kind's")
	}
}
