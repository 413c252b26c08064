package server_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/server"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/memory"
)

// imposing is a Locker that gives its own IDs, as Cloud Storage, Azure and Consul do.
type imposing struct{ *memory.Backend }

func (l imposing) Lock(ctx context.Context, workspace string, info lock.Info) (lock.Info, error) {
	info.Ref, info.ID = info.ID, lock.NewID()
	return l.Backend.Lock(ctx, workspace, info)
}

// TestRestart: a server that was restarted, and one beside it, go on where it stopped.
func TestRestart(t *testing.T) {
	for name, open := range map[string]func() backend.Backend{
		"the client's IDs": func() backend.Backend { return memory.New() },
		"the store's IDs":  func() backend.Backend { return imposing{memory.New()} },
	} {
		t.Run(name, func(t *testing.T) {
			store := open()
			base, stop := run(t, serve(t, store, server.Options{}), "")
			b := client(t, base)
			held, err := b.Lock(t.Context(), "prod", lock.NewInfo("test"))
			if err != nil {
				t.Fatal(err)
			}
			first, err := b.Write(t.Context(), "prod", []byte("one"), backend.Condition{LockID: held.ID})
			if err != nil {
				t.Fatal(err)
			}

			stop()
			run(t, serve(t, store, server.Options{}), strings.TrimPrefix(base, "http://"))
			beside, _ := run(t, serve(t, store, server.Options{}), "")

			if _, err := client(t, beside).Lock(t.Context(), "prod", lock.NewInfo("other")); !errors.As(err, new(*lock.HeldError)) {
				t.Errorf("Lock by way of another server: %v", err)
			}
			second, err := b.Write(t.Context(), "prod", []byte("two"), backend.Condition{Revision: first, LockID: held.ID})
			if err != nil {
				t.Fatal(err)
			}
			cond := backend.Condition{Revision: second, LockID: held.ID}
			if _, err := client(t, beside).Write(t.Context(), "prod", []byte("three"), cond); err != nil {
				t.Errorf("Write by way of another server: %v", err)
			}
			if err := b.Unlock(t.Context(), "prod", held.ID); err != nil {
				t.Error(err)
			}
			if _, err := b.Holder(t.Context(), "prod"); !errors.Is(err, lock.ErrNotHeld) {
				t.Errorf("Holder: %v", err)
			}
		})
	}
}

// TestTerraformOverImposedIDs: Terraform goes on by its own ID, and sees the store's.
func TestTerraformOverImposedIDs(t *testing.T) {
	store := imposing{memory.New()}
	s := serve(t, store, server.Options{})
	for range 2 { // the second time as if the reply was lost
		if reply := (request{method: "LOCK", target: "/prod", body: record}).to(s); reply.Code != 200 {
			t.Fatalf("LOCK: %d %s", reply.Code, reply.Body)
		}
	}
	holder, err := store.Holder(t.Context(), "prod")
	if err != nil || holder.Ref != lockID {
		t.Fatalf("%+v, %v", holder, err)
	}
	if reply := (request{method: "POST", target: "/prod?ID=" + lockID, body: "one"}).to(s); reply.Code != 200 {
		t.Errorf("POST: %d %s", reply.Code, reply.Body)
	}
	if reply := (request{method: "UNLOCK", target: "/prod", body: `{"ID":"` + holder.ID + `"}`}).to(s); reply.Code != 200 {
		t.Errorf("UNLOCK with the store's ID: %d %s", reply.Code, reply.Body)
	}
}

// TestStolenLock: who broke a lock and wrote in between is not overwritten by one who
// knows of no revision, although he had the lock when it was looked at.
func TestStolenLock(t *testing.T) {
	store := &stolen{Backend: memory.New()}
	s := serve(t, store, server.Options{})
	request{method: "POST", target: "/prod", body: "before"}.to(s)
	request{method: "LOCK", target: "/prod", body: record}.to(s)
	store.armed = true
	reply := request{method: "POST", target: "/prod?ID=" + lockID, body: "Terraform's"}.to(s)
	st, err := store.Read(t.Context(), "prod")
	if reply.Code != 423 || err != nil || string(st.Data) != "the thief's" {
		t.Errorf("%d %s; the state is %q, %v", reply.Code, reply.Body, st.Data, err)
	}
}

// stolen is a Backend that goes by the revision alone, as S3 does. When it is armed, its
// lock is broken after it was looked at.
type stolen struct {
	*memory.Backend
	armed bool
}

func (s *stolen) Write(ctx context.Context, workspace string, data []byte, cond backend.Condition) (backend.Revision, error) {
	if s.armed {
		s.armed = false
		s.SetLockRecord(workspace, []byte(`{"ID":"thief"}`))
		if _, err := s.Backend.Write(ctx, workspace, []byte("the thief's"), backend.Condition{Revision: backend.AnyRevision, LockID: "thief"}); err != nil {
			return "", err
		}
	}
	holder, err := s.Holder(ctx, workspace)
	if err == nil {
		cond.LockID = holder.ID
	}
	return s.Backend.Write(ctx, workspace, data, cond)
}
