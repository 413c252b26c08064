package s3_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/s3"
)

// history returns the versions that are listed, and what is read of each.
func history(t *testing.T, b backend.Historian, workspace string) (versions []backend.Version, states []string) {
	t.Helper()
	for v, err := range b.Versions(t.Context(), workspace) {
		if err != nil {
			t.Fatal(err)
		}
		st, err := b.ReadVersion(t.Context(), workspace, v.ID)
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(st.Data)) != v.Size || !st.Modified.Equal(v.Modified.Truncate(time.Second)) {
			t.Errorf("read %d bytes of %s, where %+v was listed", len(st.Data), st.Modified, v)
		}
		versions, states = append(versions, v), append(states, string(st.Data))
	}
	return versions, states
}

// TestHistory keeps all states, newest first, among other objects whose names begin
// like theirs, and goes back to one.
func TestHistory(t *testing.T) {
	for name, s := range map[string]setup{
		"lock file": {objects: minio, file: true},
		"table":     {objects: minio, table: dynalite},
	} {
		t.Run(name, func(t *testing.T) {
			n := s.open(t)
			n.versioned(t)
			c := n.client(t, wire{})
			beside := n.client(t, wire{}, func(c *s3.Config) { c.Key += ".bak" })
			for _, workspace := range []string{"default", "prod"} {
				var rev backend.Revision
				for i := range 3 {
					mustLock(t, beside)
					held, err := c.Lock(t.Context(), workspace, lock.NewInfo("test"))
					if err != nil {
						t.Fatal(err)
					}
					if rev, err = c.Write(t.Context(), workspace, fmt.Append(nil, workspace, i), backend.Condition{Revision: rev, LockID: held.ID}); err != nil {
						t.Fatal(err)
					}
					if err := c.Unlock(t.Context(), workspace, held.ID); err != nil {
						t.Fatal(err)
					}
					holder, err := beside.Holder(t.Context(), "default")
					if err != nil {
						t.Fatal(err)
					}
					unlocks(t, beside, holder.ID)
				}
				if err := c.Delete(t.Context(), workspace, backend.Condition{Revision: rev}); err != nil {
					t.Fatal(err)
				}
				versions, states := history(t, c, workspace)
				if diff := cmp.Diff([]string{workspace + "2", workspace + "1", workspace + "0"}, states); diff != "" {
					t.Fatalf("of a state that was deleted (-want +got):\n%s", diff)
				}
				st, err := c.ReadVersion(t.Context(), workspace, versions[2].ID)
				if err != nil {
					t.Fatal(err)
				}
				if _, err = c.Write(t.Context(), workspace, st.Data, backend.Condition{}); err != nil {
					t.Fatal(err)
				}
				if _, states = history(t, c, workspace); len(states) != 4 || states[0] != workspace+"0" {
					t.Errorf("after going back: %q", states)
				}
			}
		})
	}
}

// TestHistoryWithoutVersioning knows the current state alone.
func TestHistoryWithoutVersioning(t *testing.T) {
	c := setup{objects: minio, file: true}.open(t).client(t, wire{})
	if _, states := history(t, c, "default"); len(states) > 0 {
		t.Errorf("where there is none: %q", states)
	}
	var rev backend.Revision
	for _, data := range []string{"one", "two"} {
		var err error
		if rev, err = c.Write(t.Context(), "default", []byte(data), backend.Condition{Revision: rev}); err != nil {
			t.Fatal(err)
		}
	}
	if _, states := history(t, c, "default"); len(states) != 1 || states[0] != "two" {
		t.Errorf("got %q", states)
	}
}

// TestNoSuchVersion asks for versions that are none.
func TestNoSuchVersion(t *testing.T) {
	n := setup{objects: minio, file: true}.open(t)
	n.versioned(t)
	c := n.client(t, wire{})
	rev, err := c.Write(t.Context(), "default", []byte("one"), backend.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(t.Context(), "other", []byte("other"), backend.Condition{}); err != nil {
		t.Fatal(err)
	}
	others, _ := history(t, c, "other")
	if err := c.Delete(t.Context(), "default", backend.Condition{Revision: rev}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", "null", "rubbish", lock.NewID(), others[0].ID} {
		if st, err := c.ReadVersion(t.Context(), "default", id); !errors.Is(err, backend.ErrNotExist) || errors.Is(err, backend.ErrInvalid) {
			t.Errorf("version %q: %q, %v", id, st.Data, err)
		}
	}
	for _, err := range c.Versions(t.Context(), "..") {
		if !errors.Is(err, backend.ErrInvalidName) {
			t.Errorf("Versions: %v", err)
		}
	}
}

// TestHistoryPages has a server reply in pages, and stops with the state's own key.
func TestHistoryPages(t *testing.T) {
	n := setup{objects: minio, file: true}.open(t)
	w := n.wire(t)
	page := func(markers string, versions ...string) string {
		text := "<ListVersionsResult><IsTruncated>true</IsTruncated>" + markers
		for i := 0; i < len(versions); i += 2 {
			text += fmt.Sprintf("<Version><Key>%s</Key><VersionId>%s</VersionId><Size>3</Size></Version>", versions[i], versions[i+1])
		}
		return text + "</ListVersionsResult>"
	}
	key := n.config.Key
	w.objects.Use(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		switch r.URL.Query().Get("version-id-marker") {
		case "":
			io.WriteString(w, page("<NextKeyMarker>"+key+"</NextKeyMarker><NextVersionIdMarker>b</NextVersionIdMarker>", key, "a", key, "b"))
		case "b":
			io.WriteString(w, page("<NextKeyMarker>"+key+".tflock</NextKeyMarker><NextVersionIdMarker>d</NextVersionIdMarker>", key, "c", key+".tflock", "d"))
		default:
			w.WriteHeader(http.StatusTeapot)
		}
	})
	var ids string
	c := n.client(t, w)
	for v, err := range c.Versions(t.Context(), "default") {
		if err != nil {
			t.Fatal(err)
		}
		ids += v.ID
	}
	if requests := w.objects.Count(nil); ids != "abc" || requests != 2 {
		t.Errorf("got versions %q by %d requests", ids, requests)
	}
	w.objects.Add(faultproxy.Rule{Fault: faultproxy.Answer(s3Error(403, "AccessDenied")), Times: 2})
	for _, err := range c.Versions(t.Context(), "default") {
		if !errors.Is(err, backend.ErrPermission) {
			t.Errorf("Versions: %v", err)
		}
	}
	if _, err := c.ReadVersion(t.Context(), "default", "a"); !errors.Is(err, backend.ErrPermission) {
		t.Errorf("ReadVersion: %v", err)
	}
}
