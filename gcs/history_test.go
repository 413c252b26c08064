package gcs_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/gcs"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
)

// TestHistory keeps all states, newest first, of a bucket with versioning, and the
// current one of another.
func TestHistory(t *testing.T) {
	t.Parallel()
	for _, versioning := range []bool{true, false} {
		n := fakegcs.bucket(t, versioning)
		c := n.client(t, nil)
		defer c.Close()
		var revisions []backend.Revision
		for _, workspace := range []string{"prod", "prod.tfstate"} { // the name of one object begins with that of the other
			if versions, states := history(t, c, workspace); len(versions) > 0 {
				t.Errorf("where there is no state: %q", states)
			}
			revisions = nil
			var rev backend.Revision
			for i := range 3 {
				var err error
				if rev, err = c.Write(t.Context(), workspace, fmt.Append(nil, workspace, i), backend.Condition{Revision: rev}); err != nil {
					t.Fatal(err)
				}
				revisions = append(revisions, rev)
			}
		}
		for _, workspace := range []string{"prod", "prod.tfstate"} {
			want := []string{workspace + "2", workspace + "1", workspace + "0"}
			if !versioning {
				want = want[:1]
			}
			versions, states := history(t, c, workspace)
			if diff := cmp.Diff(want, states); diff != "" {
				t.Errorf("versioning %t (-want +got):\n%s", versioning, diff)
			}
			if workspace == "prod.tfstate" && versions[0].ID != string(revisions[2]) {
				t.Errorf("the newest version is %+v, the revision %q", versions[0], revisions[2])
			}
		}
		for _, id := range []string{"", "0", "-1", "1", "rubbish", lock.NewID()} {
			if _, err := c.ReadVersion(t.Context(), "prod", id); !errors.Is(err, backend.ErrNotExist) {
				t.Errorf("version %q: %v", id, err)
			}
		}
	}
}

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
		if int64(len(st.Data)) != v.Size || string(st.Revision) != v.ID || v.Modified.IsZero() {
			t.Errorf("read %d bytes at %q, where %+v was listed", len(st.Data), st.Revision, v)
		}
		versions, states = append(versions, v), append(states, string(st.Data))
	}
	return versions, states
}

// TestHistoryRefused: the permission that is missing is named, and no bucket is no
// empty history.
func TestHistoryRefused(t *testing.T) {
	t.Parallel()
	c := fakegcs.open(t).client(t, nil)
	defer c.Close()
	c.proxy.Add(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Answer(faultproxy.Reply{Status: 403, Body: `{"error":{"code":403,"message":"denied"}}`})})
	none := fakegcs.open(t).client(t, nil, func(c *gcs.Config) { c.Bucket = "there-is-none" })
	defer none.Close()
	for kind, b := range map[error]*client{backend.ErrPermission: c, backend.ErrNoStore: none} {
		count := 0
		for _, err := range b.Versions(t.Context(), "prod") {
			if count++; !errors.Is(err, kind) {
				t.Errorf("Versions: %v", err)
			}
		}
		if _, err := b.ReadVersion(t.Context(), "prod", "1"); !errors.Is(err, kind) || count != 1 {
			t.Errorf("ReadVersion: %v; Versions yielded %d times", err, count)
		}
	}
}
