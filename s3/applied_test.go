package s3_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/clause"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
)

// TestAppliedThenCancelled has the server apply a request and its reply never come,
// and then cancels the call: it returns at once, says what it cannot know, and
// leaves no goroutine.
func TestAppliedThenCancelled(t *testing.T) {
	const hang = 5 * time.Second // for a failing call only
	file, table := setup{objects: versitygw, file: true}, setup{objects: versitygw, table: dynalite}
	found, both := setup{objects: minio, file: true}, setup{objects: versitygw, table: dynalite, file: true}
	ttl := func(s setup) time.Duration {
		if s.table == nil {
			return time.Minute
		}
		return 0
	}
	read := func(ctx context.Context, c *client, _ lock.Info, _ backend.Revision) error {
		return everyCall["Read"](ctx, c)
	}
	stat := func(ctx context.Context, c *client, _ lock.Info, _ backend.Revision) error {
		return everyCall["Stat"](ctx, c)
	}
	list := func(ctx context.Context, c *client, _ lock.Info, _ backend.Revision) error {
		return everyCall["List"](ctx, c)
	}
	holder := func(ctx context.Context, c *client, _ lock.Info, _ backend.Revision) error {
		return everyCall["Holder"](ctx, c)
	}
	write := func(ctx context.Context, c *client, _ lock.Info, rev backend.Revision) error {
		_, err := c.Write(ctx, "default", []byte("two"), backend.Condition{Revision: rev})
		return err
	}
	remove := func(ctx context.Context, c *client, _ lock.Info, rev backend.Revision) error {
		return c.Delete(ctx, "default", backend.Condition{Revision: rev})
	}
	unlock := func(ctx context.Context, c *client, held lock.Info, _ backend.Revision) error {
		return c.Unlock(ctx, "default", held.ID)
	}
	renew := func(ctx context.Context, c *client, held lock.Info, _ backend.Revision) error {
		_, err := c.Renew(ctx, "default", held.ID)
		return err
	}
	lockIt := func(ctx context.Context, c *client, _ lock.Info, _ backend.Revision) error {
		_, err := c.Lock(ctx, "new", lock.NewInfo("test"))
		return err
	}
	for name, test := range map[string]struct {
		setup   setup
		match   faultproxy.Match
		call    func(context.Context, *client, lock.Info, backend.Revision) error
		table   bool // whether it is a request to the table
		unknown bool // whether it may have been applied
	}{
		"Read":                   {file, isState("GET"), read, false, false},
		"Read, digest":           {table, isItem("GetItem"), read, true, false},
		"Stat":                   {file, isState("HEAD"), stat, false, false},
		"List":                   {file, faultproxy.Query("list-type", "2"), list, false, false},
		"Write":                  {file, isState("PUT"), write, false, true},
		"Write, digest":          {table, isItem("PutItem"), write, true, true},
		"Delete":                 {file, isState("DELETE"), remove, false, true},
		"Delete, empty object":   {found, isState("PUT"), remove, false, true},
		"Delete, digest":         {table, isItem("DeleteItem"), remove, true, true},
		"Holder":                 {file, isLock("GET"), holder, false, false},
		"Holder, table":          {table, isItem("GetItem"), holder, true, false},
		"Unlock":                 {file, isLock("DELETE"), unlock, false, true},
		"Unlock, found out":      {found, isLock("DELETE"), unlock, false, true},
		"Unlock, table":          {table, isItem("DeleteItem"), unlock, true, true},
		"Unlock, first of both":  {both, isItem("DeleteItem"), unlock, true, true},
		"Unlock, second of both": {both, isLock("DELETE"), unlock, false, true},
		"Renew":                  {file, isLock("PUT"), renew, false, true},
		"Lock":                   {file, isLock("PUT"), lockIt, false, true},
		"Lock, table":            {table, isItem("PutItem"), lockIt, true, true},
		"Lock, first of both":    {both, isLock("PUT"), lockIt, false, true},
		"Lock, second of both":   {both, isItem("PutItem"), lockIt, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			n := test.setup.open(t)
			direct, w := n.client(t, wire{}), n.wire(t)
			rev, err := direct.Write(t.Context(), "default", []byte("one"), backend.Condition{})
			if err != nil {
				t.Fatal(err)
			}
			info := lock.NewInfo("test")
			info.TTL = ttl(test.setup)
			held, err := direct.Lock(t.Context(), "default", info)
			if err != nil {
				t.Fatal(err)
			}
			before := goleak.IgnoreCurrent()
			c := n.client(t, w)
			hung := w.objects
			if test.table {
				hung = w.tables
			}
			handle := hung.Add(faultproxy.Rule{Match: test.match, Fault: faultproxy.HangAfter()})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- test.call(ctx, c, held, rev) }()
			select {
			case <-handle.Reached():
			case err := <-done:
				t.Fatalf("it returned before it was cancelled: %v", err)
			}
			start := time.Now()
			cancel()
			select {
			case err = <-done:
			case <-time.After(hang):
				t.Fatal("it has not returned")
			}
			t.Logf("returned after %v: %v", time.Since(start), err)
			if !errors.Is(err, context.Canceled) || errors.Is(err, backend.ErrUnknown) != test.unknown {
				t.Errorf("got error %v, want it cancelled, and unknown: %v", err, test.unknown)
			}
			handle.Release()
			c.Close()
			w.close()
			(&clause.T{TB: t}).NothingLeft(before)
			cleared(t, direct, err)
		})
	}
}

func (w wire) close() {
	w.objects.Close()
	if w.tables != nil {
		w.tables.Close()
	}
}

// cleared wants the ID of a Lock in doubt to clear what there is.
func cleared(t *testing.T, c *client, err error) {
	var unknown *lock.UnknownError
	if !errors.As(err, &unknown) {
		return
	}
	if err := c.Unlock(t.Context(), "new", unknown.ID); err != nil {
		t.Errorf("Unlock with the ID of the error: %v", err)
	}
	if holder, err := c.Holder(t.Context(), "new"); !errors.Is(err, lock.ErrNotHeld) {
		t.Errorf("after that, it is held by %s: %v", holder.ID, err)
	}
}
