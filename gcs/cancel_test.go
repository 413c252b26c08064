package gcs_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/trial"
	"github.com/statelatch/statelatch/lock"
)

// A hanging is a client whose nth request, and all after it, hang.
type hanging struct {
	*client
	handle *faultproxy.Handle
}

func (n *namespace) hanging(t *testing.T, nth int, fault faultproxy.Fault) *hanging {
	h := &hanging{client: n.client(t, nil)}
	h.handle = h.proxy.Add(faultproxy.Rule{Nth: nth, Times: faultproxy.Always, Fault: fault})
	return h
}

// TestCancelled cancels each call at each of its requests. It runs alone: it looks
// for goroutines left behind.
func TestCancelled(t *testing.T) {
	n := fakegcs.open(t)
	direct := n.client(t, nil)
	defer direct.Close()
	calls := trial.Calls[*client]()
	maps.Copy(calls, map[string]func(context.Context, *client, string, backend.Condition) error{
		"Read of none": func(ctx context.Context, c *client, w string, _ backend.Condition) error {
			_, err := c.Read(ctx, w+"-new")
			return err
		},
		"Write": func(ctx context.Context, c *client, w string, cond backend.Condition) error {
			_, err := c.Write(ctx, w, make([]byte, 1<<20), backend.Condition{Revision: cond.Revision})
			return err
		},
		"refused Write": func(ctx context.Context, c *client, w string, _ backend.Condition) error {
			_, err := c.Write(ctx, w, []byte("two"), backend.Condition{})
			return err
		},
		"Delete": func(ctx context.Context, c *client, w string, _ backend.Condition) error {
			return c.Delete(ctx, w, backend.Condition{Revision: backend.AnyRevision})
		},
		"refused Lock": func(ctx context.Context, c *client, w string, _ backend.Condition) error {
			_, err := c.Lock(ctx, w, lock.NewInfo("test"))
			return err
		},
	})
	for op, call := range calls {
		t.Run(op, func(t *testing.T) {
			cancelled := true
			for nth := 1; cancelled && !t.Failed(); nth++ {
				workspace := lock.NewID()
				held, err := direct.Lock(t.Context(), workspace, lock.NewInfo("test"))
				if err != nil {
					t.Fatal(err)
				}
				rev, err := direct.Write(t.Context(), workspace, []byte("one"), backend.Condition{})
				if err != nil {
					t.Fatal(err)
				}
				before := goleak.IgnoreCurrent()
				h := n.hanging(t, nth, faultproxy.Hang())
				cond := backend.Condition{Revision: rev, LockID: held.ID}
				err, cancelled = trial.Cancel(t, trial.Prompt, func(ctx context.Context) error { return call(ctx, h.client, workspace, cond) }, h.handle)
				if cancelled && !errors.Is(err, context.Canceled) && op != "refused Lock" && op != "refused Write" {
					t.Errorf("cancelled at request %d, it returned %v", nth, err)
				}
				h.Close()
				err = goleak.Find(before)
				for end := time.Now().Add(trial.Prompt); err != nil && time.Now().Before(end); { // of the proxy, for a while
					err = goleak.Find(before)
				}
				if err != nil {
					t.Errorf("cancelled at request %d: %v", nth, err)
				}
				if nth == 1 && !cancelled {
					t.Error("it made no request")
				}
			}
		})
	}
}

// TestLateLock cancels Lock at a request that the server applies afterwards: the
// caller was given the ID, which clears the lock.
func TestLateLock(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	h := n.hanging(t, 1, faultproxy.Hang().Late())
	defer h.Close()
	err, _ := trial.Cancel(t, trial.Prompt, func(ctx context.Context) error {
		_, err := h.Lock(ctx, "default", lock.NewInfo("test"))
		return err
	}, h.handle)
	var unknown *lock.UnknownError
	if !errors.As(err, &unknown) || !errors.Is(err, context.Canceled) {
		t.Fatalf("Lock returned %v, want an *UnknownError", err)
	}
	h.handle.Release()
	<-h.proxy.Idle()
	direct := n.client(t, nil)
	defer direct.Close()
	holder, err := direct.Holder(t.Context(), "default")
	if err != nil || holder.Ref != unknown.ID {
		t.Errorf("held by %q, %v, want %q", holder.Ref, err, unknown.ID)
	}
	if err := direct.Unlock(t.Context(), "default", unknown.ID); err != nil {
		t.Error(err)
	}
	if _, err := direct.Holder(t.Context(), "default"); !errors.Is(err, lock.ErrNotHeld) {
		t.Errorf("after Unlock: %v", err)
	}
}

// TestWriteDoesNotKeepData changes the caller's bytes after a cancelled Write.
func TestWriteDoesNotKeepData(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	h := n.hanging(t, 1, faultproxy.Hang())
	defer h.Close()
	data := make([]byte, 1<<20)
	trial.Cancel(t, trial.Prompt, func(ctx context.Context) error {
		_, err := h.Write(ctx, "default", data, backend.Condition{})
		clear(data) // the race detector tells
		return err
	}, h.handle)
}
