package azblob_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
)

// TestLeaseWithoutItsRecord: a lease that has no record, or that of a lock before it,
// is shown, keeps others out, and can be broken.
func TestLeaseWithoutItsRecord(t *testing.T) {
	for name, meta := range map[string]map[string]*string{
		"none":       {"owner": new("me")},
		"not base64": {"terraformlockid": new("rubbish")},
		"not JSON":   {"terraformlockid": new("bm90aGluZw==")},
		"another's":  {"terraformlockid": new(base64.StdEncoding.EncodeToString([]byte(`{"ID":"` + lock.NewID() + `"}`)))},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNamespace(t, false)
			b, c, d := n.blob(t, ws), n.client(t, nil), n.client(t, nil)
			upload(t, b, "state", nil)
			id := takeLease(t, b)
			setMetadata(t, b, id, meta)
			holder, err := c.Holder(t.Context(), ws)
			if err != nil || !strings.HasPrefix(holder.ID, "unreadable-") {
				t.Fatalf("Holder: %v, %v", holder, err)
			}
			held := func(doing string, err error) {
				t.Helper()
				var by *lock.HeldError
				if !errors.As(err, &by) || by.Holder.ID != holder.ID {
					t.Errorf("%s: %v", doing, err)
				}
			}
			_, err = d.Lock(t.Context(), ws, lock.NewInfo("test"))
			held("Lock", err)
			_, err = d.Write(t.Context(), ws, []byte("new"), backend.Condition{Revision: backend.AnyRevision})
			held("Write", err)
			held("Unlock with another ID", d.Unlock(t.Context(), ws, lock.NewID()))
			held("Unlock with another such ID", d.Unlock(t.Context(), ws, holder.ID+"0"))
			if err := d.Unlock(t.Context(), ws, holder.ID); err != nil {
				t.Fatal(err)
			}
			if holder, err := c.Holder(t.Context(), ws); !errors.Is(err, lock.ErrNotHeld) {
				t.Errorf("Holder: %v, %v", holder, err)
			}
			takeLease(t, b) // again without a record
			var by *lock.HeldError
			if err := d.Unlock(t.Context(), ws, holder.ID); !errors.As(err, &by) || by.Holder.ID == holder.ID {
				t.Errorf("Unlock of a later lease with that ID: %v", err)
			}
		})
	}
}

// TestUnlockByLeaseID: whoever knows the ID of a lease can release it, record or not.
func TestUnlockByLeaseID(t *testing.T) {
	n := newNamespace(t, false)
	b, c := n.blob(t, ws), n.client(t, nil)
	upload(t, b, "state", nil)
	id := takeLease(t, b)
	if _, err := c.Write(t.Context(), ws, []byte("new"), backend.Condition{Revision: backend.AnyRevision, LockID: id}); err != nil {
		t.Errorf("Write under a lease of others: %v", err)
	}
	if err := c.Unlock(t.Context(), ws, id); err != nil {
		t.Error(err)
	}
	if err := c.Unlock(t.Context(), ws, id); !errors.Is(err, lock.ErrNotHeld) {
		t.Errorf("Unlock the second time: %v", err)
	}
}

// TestAnnouncedInBetween: the reply to the creation of the blob is lost, and another
// announces a lock before it can be looked at. What is there then has the token of the
// call, but not its record.
func TestAnnouncedInBetween(t *testing.T) {
	n := newNamespace(t, false)
	b := n.blob(t, ws)
	another := base64.StdEncoding.EncodeToString([]byte(`{"ID":"` + lock.NewID() + `"}`))
	p := n.proxy(t, faultproxy.Rule{Match: faultproxy.Method("PUT"), Fault: faultproxy.CutAfter()})
	looked := p.Add(faultproxy.Rule{Match: faultproxy.Method("GET"), Fault: faultproxy.Before(func(*http.Request) {
		meta := properties(t, b).Metadata
		meta["Terraformlockid"] = &another
		setMetadata(t, b, "", meta)
	})})
	held, err := n.client(t, p).Lock(t.Context(), ws, lock.NewInfo("test"))
	if err != nil {
		t.Fatal(err)
	}
	if looked.Applied() != 1 {
		t.Fatal("nothing happened in between")
	}
	if holder, err := n.client(t, nil).Holder(t.Context(), ws); err != nil || holder.ID != held.ID {
		t.Errorf("Holder: %v, %v; want ID %s", holder, err, held.ID)
	}
}

// TestTwoUnlock: one has given the blob an ETag of his own, and his release does not
// arrive; meanwhile the owner, who has seen that ETag, releases the lock, and dies.
// Only one of them may say that it was he.
func TestTwoUnlock(t *testing.T) {
	n := newNamespace(t, false)
	quitting := n.proxy(t, faultproxy.Rule{
		Match: func(r *http.Request) bool {
			return r.URL.Query().Get("comp") == "metadata" && r.Header.Get("X-Ms-Lease-Id") == "" && r.Header.Get("X-Ms-Meta-Statelatchcall") != ""
		},
		Nth: 2, Times: faultproxy.Always, Fault: faultproxy.CutBefore(), // the first announces the lock
	})
	owner := n.client(t, quitting)
	if _, err := owner.Write(t.Context(), ws, []byte("state"), backend.Condition{}); err != nil {
		t.Fatal(err)
	}
	held, err := owner.Lock(t.Context(), ws, lock.NewInfo("test"))
	if err != nil {
		t.Fatal(err)
	}
	p := n.proxy(t)
	released := make(chan error, 1)
	var once sync.Once
	p.Use(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		lost := false
		if r.Header.Get("X-Ms-Lease-Action") == "release" {
			once.Do(func() {
				_, err := owner.Holder(context.Background(), ws)
				if err == nil {
					err = owner.Unlock(context.Background(), ws, held.ID)
				}
				released <- err
				lost = true
			})
		}
		if lost {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		forward.ServeHTTP(w, r)
	})
	err = n.client(t, p).Unlock(t.Context(), ws, held.ID)
	if err := <-released; err != nil {
		t.Errorf("Unlock by the owner: %v", err)
	}
	if !errors.Is(err, lock.ErrUnknown) && !errors.Is(err, lock.ErrNotHeld) {
		t.Errorf("Unlock by the other: %v; the lock was released once", err)
	}
}
