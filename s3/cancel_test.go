package s3_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/clause"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/trial"
	"github.com/statelatch/statelatch/lock"
)

// A hanging is a client whose nth request, to whichever server, and all after it, hang.
type hanging struct {
	*client
	wire    wire
	handles []*faultproxy.Handle
}

func (n *namespace) hanging(t *testing.T, nth int, fault faultproxy.Fault) *hanging {
	h := &hanging{wire: n.wire(t)}
	var seen atomic.Int32
	match := func(*http.Request) bool { return int(seen.Add(1)) >= nth }
	for _, p := range h.wire.proxies() {
		h.handles = append(h.handles, p.Add(faultproxy.Rule{Match: match, Times: faultproxy.Always, Fault: fault}))
	}
	h.client = n.client(t, h.wire)
	return h
}

// cancel makes a call, and cancels it when its nth request hangs.
func (h *hanging) cancel(t *testing.T, call func(context.Context) error) (err error, cancelled bool) {
	t.Helper()
	return trial.Cancel(t, trial.Prompt, call, h.handles...)
}

// release lets go of what hangs, and waits for what becomes of it.
func (h *hanging) release() {
	for _, handle := range h.handles {
		handle.Release()
	}
	for _, p := range h.wire.proxies() {
		<-p.Idle()
	}
}

// TestCancelled cancels each call at each of its requests.
func TestCancelled(t *testing.T) {
	calls := trial.Calls[*client]()
	maps.Copy(calls, map[string]func(context.Context, *client, string, backend.Condition) error{
		"Write": func(ctx context.Context, c *client, w string, cond backend.Condition) error {
			_, err := c.Write(ctx, w, []byte("two"), backend.Condition{Revision: cond.Revision})
			return err
		},
		"create": func(ctx context.Context, c *client, w string, _ backend.Condition) error {
			_, err := c.Write(ctx, w+"-new", []byte("two"), backend.Condition{})
			return err
		},
		"Delete": func(ctx context.Context, c *client, w string, cond backend.Condition) error {
			return c.Delete(ctx, w, backend.Condition{Revision: cond.Revision})
		},
		"Renew": func(ctx context.Context, c *client, w string, cond backend.Condition) error {
			_, err := c.Renew(ctx, w, cond.LockID)
			return err
		},
		"Probe": func(ctx context.Context, c *client, _ string, _ backend.Condition) error {
			_, err := c.Probe(ctx)
			return err
		},
	})
	for name, s := range map[string]setup{
		"conforming": {objects: versitygw, file: true},
		"found out":  {objects: minio, file: true},
		"both":       {objects: versitygw, table: dynalite, file: true},
	} {
		n := s.open(t)
		direct := n.client(t, wire{})
		for op, call := range calls {
			t.Run(name+"/"+op, func(t *testing.T) {
				cancelled := true
				for nth := 1; cancelled && !t.Failed(); nth++ {
					workspace := lock.NewID()
					held, err := direct.Lock(t.Context(), workspace, lock.NewInfo("test"))
					if err != nil {
						t.Fatal(err)
					}
					cond := backend.Condition{LockID: held.ID}
					if cond.Revision, err = direct.Write(t.Context(), workspace, []byte("one"), cond); err != nil {
						t.Fatal(err)
					}
					before := goleak.IgnoreCurrent()
					h := n.hanging(t, nth, faultproxy.Hang())
					err, cancelled = h.cancel(t, func(ctx context.Context) error { return call(ctx, h.client, workspace, cond) })
					verified := err == nil && op == "Lock" // what it wanted was done before
					if cancelled && !errors.Is(err, context.Canceled) && !verified && op != "Probe" {
						t.Errorf("cancelled at request %d, it returned %v", nth, err)
					}
					h.Close()
					for _, p := range h.wire.proxies() {
						p.Close()
					}
					(&clause.T{TB: t}).NothingLeft(before)
					if nth == 1 && !cancelled {
						t.Error("it made no request")
					}
				}
			})
		}
	}
}

// TestLateLock cancels Lock at a request that the server applies afterwards: the
// caller was given the ID, which clears the lock.
func TestLateLock(t *testing.T) {
	for name, test := range map[string]struct {
		setup setup
		nth   int
	}{
		"lock file":           {setup{objects: versitygw, file: true}, 1},
		"repeated, to see":    {setup{objects: minio, file: true}, 2},
		"table":               {setup{objects: versitygw, table: dynalite}, 1},
		"both, at the second": {setup{objects: versitygw, table: dynalite, file: true}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			n := test.setup.open(t)
			h := n.hanging(t, test.nth, faultproxy.Hang().Late())
			err, _ := h.cancel(t, func(ctx context.Context) error {
				_, err := h.Lock(ctx, "default", lock.NewInfo("test"))
				return err
			})
			var unknown *lock.UnknownError
			if !errors.As(err, &unknown) || !errors.Is(err, context.Canceled) {
				t.Fatalf("Lock returned %v, want an *UnknownError", err)
			}
			h.release()
			direct := n.client(t, wire{})
			holder, err := direct.Holder(t.Context(), "default")
			if err != nil || holder.ID != unknown.ID {
				t.Errorf("held by %q, %v, want %q", holder.ID, err, unknown.ID)
			}
			if err := direct.Unlock(t.Context(), "default", unknown.ID); err != nil {
				t.Error(err)
			}
			if _, err := direct.Holder(t.Context(), "default"); !errors.Is(err, lock.ErrNotHeld) {
				t.Errorf("after Unlock: %v", err)
			}
		})
	}
}

// TestCleanUpIsBounded has Acquire, Update and Release return although nothing answers.
func TestCleanUpIsBounded(t *testing.T) {
	const bound = 200 * time.Millisecond
	opts := lock.Options{ReleaseTimeout: bound, Check: -1}
	n := setup{objects: versitygw, table: dynalite, file: true}.open(t)
	ctx := t.Context()
	for name, test := range map[string]struct {
		nth  int
		call func(context.Context, *client) error
	}{
		"Acquire": {1, func(ctx context.Context, c *client) error {
			_, err := lock.Acquire(ctx, c, "acquire", lock.NewInfo("test"), opts)
			return err
		}},
		"Update": {3, func(ctx context.Context, c *client) error {
			_, err := backend.Update(ctx, c, "update", lock.NewInfo("test"), opts, func(context.Context, backend.State) ([]byte, error) { return []byte("x"), nil })
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := n.hanging(t, test.nth, faultproxy.Hang())
			start := time.Now()
			if err, cancelled := h.cancel(t, func(ctx context.Context) error { return test.call(ctx, h.client) }); err == nil || !cancelled {
				t.Errorf("it returned %v", err)
			}
			t.Logf("returned %s after it began", time.Since(start))
		})
	}
	t.Run("Release", func(t *testing.T) {
		h := n.hanging(t, 3, faultproxy.Hang()) // two to lock
		held, err := lock.Acquire(ctx, h.client, "release", lock.NewInfo("test"), opts)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var failed *lock.ReleaseError
		if err := held.Release(ctx); !errors.As(err, &failed) || failed.ID != held.ID() || time.Since(start) > bound+trial.Prompt {
			t.Errorf("Release returned %v after %s", err, time.Since(start))
		}
	})
}
