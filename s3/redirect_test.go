package s3_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// TestRedirectElsewhere has the endpoints redirect to another host: it gets nothing, and
// the error names it.
func TestRedirectElsewhere(t *testing.T) {
	for _, status := range []int{302, 307, 308} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			isolate(t)
			other := record(t)
			from := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, other.URL+r.URL.Path+"?signature=secret", status)
			}))
			t.Cleanup(from.Close)
			b := mustOpen(t, merge(keys, map[string]any{"token": "session", "endpoints.s3": from.URL, "endpoints.dynamodb": from.URL, "dynamodb_table": "locks"}))
			_, write := b.Write(t.Context(), "default", []byte("x"), backend.Condition{Revision: backend.AnyRevision})
			_, read := b.Read(t.Context(), "default")
			_, stat := b.Stat(t.Context(), "default")
			_, locked := b.Lock(t.Context(), "default", lock.NewInfo("test"))
			for doing, err := range map[string]error{"Write": write, "Read": read, "Stat": stat, "Lock": locked} {
				wants(t, doing, err, backend.ErrInvalid)
				if text := fmt.Sprint(err); !strings.Contains(text, "redirects to "+other.URL+",") || strings.Contains(text, "secret") {
					t.Errorf("%s: %v", doing, err)
				}
			}
			if got := other.order(); len(got) > 0 {
				t.Errorf("the other host got %q", got)
			}
		})
	}
}

// TestRedirectHere has an endpoint redirect to another path of its own.
func TestRedirectHere(t *testing.T) {
	isolate(t)
	r := record(t)
	from := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if !strings.HasPrefix(q.URL.Path, "/here/") {
			http.Redirect(w, q, "/here"+q.URL.Path, http.StatusTemporaryRedirect)
			return
		}
		r.serve(w, q)
	}))
	t.Cleanup(from.Close)
	b := mustOpen(t, merge(keys, map[string]any{"endpoints.s3": from.URL, "use_path_style": true}))
	_, err := b.Read(t.Context(), "default")
	wants(t, "Read", err, backend.ErrNotExist)
	if got := r.order(); len(got) != 1 || got[0] != "GET /here/b/k" {
		t.Errorf("the requests were %q", got)
	}
}
