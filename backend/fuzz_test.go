package backend_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/statelatch/statelatch/backend"
)

// FuzzOpenURL opens URLs of drivers with each kind of place. Settings that a URL gave
// give a URL that gives them again.
func FuzzOpenURL(f *testing.F) {
	f.Fuzz(func(t *testing.T, rawURL string) {
		b, err := placed.OpenURL(t.Context(), rawURL)
		if (b == nil) == (err == nil) || err != nil && !errors.Is(err, backend.ErrInvalid) {
			t.Fatalf("%v, %v", b, err)
		}
		typ, settings, parseErr := placed.ParseURL(rawURL)
		if parseErr != nil {
			if err == nil {
				t.Errorf("ParseURL: %v", parseErr)
			}
			return
		}
		formatted, formatErr := placed.FormatURL(typ, settings)
		if formatErr != nil {
			if err == nil {
				t.Errorf("FormatURL: %v", formatErr)
			}
			return
		}
		typ2, again, parseErr := placed.ParseURL(formatted)
		if parseErr != nil || typ2 != typ {
			t.Fatalf("%s: %q, %v", formatted, typ2, parseErr)
		}
		if diff := cmp.Diff(settings, again); diff != "" {
			t.Errorf("%s (-before +after):\n%s", formatted, diff)
		}
	})
}
