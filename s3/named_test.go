package s3_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
)

// isItem matches an operation on DynamoDB.
func isItem(op string) faultproxy.Match {
	return func(r *http.Request) bool { return strings.HasSuffix(r.Header.Get("X-Amz-Target"), "."+op) }
}

func isLock(method string) faultproxy.Match {
	return faultproxy.All(faultproxy.Method(method), faultproxy.PathSuffix(".tflock"))
}

func isState(method string) faultproxy.Match {
	return faultproxy.All(faultproxy.Method(method), faultproxy.PathSuffix("terraform.tfstate"))
}

// TestEachReplyLost loses one reply to each kind of request, in each way, and wants
// what the operation did to be told as it is.
func TestEachReplyLost(t *testing.T) {
	file, table := setup{objects: versitygw, file: true}, setup{objects: versitygw, table: dynalite}
	ctx := context.Background()
	lockIt := func(c *client, _ *lock.Info, _ backend.Revision) error {
		_, err := c.Lock(ctx, "default", lock.NewInfo("test"))
		return err
	}
	unlock := func(c *client, held *lock.Info, _ backend.Revision) error { return c.Unlock(ctx, "default", held.ID) }
	read := func(c *client, _ *lock.Info, _ backend.Revision) error {
		_, err := c.Read(ctx, "default")
		return err
	}
	write := func(c *client, _ *lock.Info, rev backend.Revision) error {
		_, err := c.Write(ctx, "default", []byte("two"), backend.Condition{Revision: rev})
		return err
	}
	create := func(c *client, _ *lock.Info, _ backend.Revision) error {
		_, err := c.Write(ctx, "new", []byte("two"), backend.Condition{})
		return err
	}
	remove := func(c *client, _ *lock.Info, rev backend.Revision) error {
		return c.Delete(ctx, "default", backend.Condition{Revision: rev})
	}
	for _, test := range []struct {
		name  string
		setup setup
		held  bool // the lock, before
		match faultproxy.Match
		do    func(*client, *lock.Info, backend.Revision) error
		after error // of a fault after which the request was applied; nil = success
	}{
		{"lock file, Lock", file, false, isLock("PUT"), lockIt, nil},
		{"lock file, Unlock", file, true, isLock("DELETE"), unlock, nil},
		{"lock file, Holder", file, true, isLock("GET"), func(c *client, held *lock.Info, _ backend.Revision) error {
			_, err := c.Holder(ctx, "default")
			return err
		}, nil},
		{"table, Lock", table, false, isItem("PutItem"), lockIt, nil},
		{"table, Unlock", table, true, isItem("DeleteItem"), unlock, nil},
		{"table, Holder", table, true, isItem("GetItem"), func(c *client, held *lock.Info, _ backend.Revision) error {
			_, err := c.Holder(ctx, "default")
			return err
		}, nil},
		{"Read", file, false, isState("GET"), read, nil},
		{"Read of the digest", table, false, isItem("GetItem"), read, nil},
		{"Stat", file, false, isState("HEAD"), func(c *client, _ *lock.Info, _ backend.Revision) error {
			_, err := c.Stat(ctx, "default")
			return err
		}, nil},
		{"Write", file, false, isState("PUT"), write, nil},
		{"Write of the first state", file, false, isState("PUT"), create, nil},
		{"Write of the digest", table, false, isItem("PutItem"), write, nil},
		{"Delete", file, false, isState("DELETE"), remove, backend.ErrUnknown}, // nothing tells whose it was
		{"Delete of the digest", table, false, isItem("DeleteItem"), remove, nil},
	} {
		for fault, may := range map[string]struct {
			fault faultproxy.Fault
			after bool
		}{
			"cut before":  {faultproxy.CutBefore(), false},
			"cut after":   {faultproxy.CutAfter(), true},
			"500":         {faultproxy.Answer(failing), false},
			"500 after":   {faultproxy.AnswerAfter(failing), true},
			"503":         {faultproxy.Answer(busy), false},
			"429":         {faultproxy.Answer(faultproxy.Throttled(1)), false},
			"409":         {faultproxy.Answer(beaten), false},
			"duplicate 1": {faultproxy.Duplicate(1), false},
		} {
			t.Run(test.name+"/"+fault, func(t *testing.T) {
				t.Parallel()
				if fault == "409" && !slices.Contains([]string{"lock file, Lock", "Write", "Write of the first state"}, test.name) {
					return // only S3 answers so, and only to a conditional PUT
				}
				n := test.setup.open(t)
				w := n.wire(t)
				c := n.client(t, w)
				rev, err := c.Write(ctx, "default", []byte("one"), backend.Condition{})
				if err != nil {
					t.Fatal(err)
				}
				var held lock.Info
				if test.held {
					if held, err = c.Lock(ctx, "default", lock.NewInfo("test")); err != nil {
						t.Fatal(err)
					}
				}
				h := w.add(faultproxy.Rule{Match: test.match, Fault: may.fault})
				err = test.do(c, &held, rev)
				if may.after && test.after != nil {
					if !errors.Is(err, test.after) {
						t.Errorf("got error %v, want %v", err, test.after)
					}
				} else if err != nil {
					t.Error(err)
				}
				if h() != 1 {
					t.Errorf("the fault was applied %d times", h())
				}
			})
		}
	}
}

// TestDeliveredTwice has a PUT delivered twice, and the refusal of the second passed on.
func TestDeliveredTwice(t *testing.T) {
	ctx := t.Context()
	for name, s := range map[string]setup{"file": {objects: versitygw, file: true}, "table": {objects: versitygw, table: dynalite}} {
		t.Run(name, func(t *testing.T) {
			n := s.open(t)
			w := n.wire(t)
			w.add(faultproxy.Rule{Match: stores, Times: faultproxy.Always, Fault: faultproxy.Duplicate(2)})
			c := n.client(t, w)
			held, err := c.Lock(ctx, "default", lock.NewInfo("test"))
			if err != nil {
				t.Fatal(err)
			}
			rev, err := c.Write(ctx, "default", []byte("one"), backend.Condition{LockID: held.ID})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write(ctx, "default", []byte("two"), backend.Condition{Revision: rev}); err != nil {
				t.Fatal(err)
			}
			if err := c.Unlock(ctx, "default", held.ID); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHolderGone has the holder unlock between the refusal and the look at it.
func TestHolderGone(t *testing.T) {
	ctx := t.Context()
	for name, s := range map[string]setup{"file": {objects: versitygw, file: true}, "table": {objects: versitygw, table: dynalite}} {
		t.Run(name, func(t *testing.T) {
			n := s.open(t)
			other := n.client(t, wire{})
			held, err := other.Lock(ctx, "default", lock.NewInfo("other"))
			if err != nil {
				t.Fatal(err)
			}
			w := n.wire(t)
			w.add(faultproxy.Rule{Match: faultproxy.Any(isLock("GET"), isItem("GetItem")), Fault: faultproxy.Before(func(*http.Request) {
				if err := other.Unlock(ctx, "default", held.ID); err != nil {
					t.Error(err)
				}
			})})
			if _, err := n.client(t, w).Lock(ctx, "default", lock.NewInfo("test")); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNeverRepeated has the vendor's client not repeat a request by itself that may
// have been applied: each is seen once before somebody looks.
func TestNeverRepeated(t *testing.T) {
	ctx := t.Context()
	n := setup{objects: versitygw, table: dynalite, file: true}.open(t)
	w := n.wire(t)
	c := n.client(t, w)
	if _, err := c.Write(ctx, "default", []byte("one"), backend.Condition{}); err != nil {
		t.Fatal(err)
	}
	w.add(faultproxy.Rule{Match: changes, Times: faultproxy.Always, Fault: faultproxy.CutAfter()})
	n.operations(w)
	_, err := c.Write(ctx, "default", []byte("two"), backend.Condition{Revision: backend.AnyRevision, LockID: "x"})
	if !errors.Is(err, backend.ErrUnknown) { // the digest's replies are lost too
		t.Errorf("Write: %v", err)
	}
	held, err := c.Lock(ctx, "default", lock.NewInfo("test"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Unlock(ctx, "default", held.ID); err != nil {
		t.Error(err)
	}
	before := ""
	for _, op := range n.operations(w) {
		if op == before && !strings.HasPrefix(op, "Put item") && strings.HasPrefix(op, "PUT") {
			t.Errorf("%s, and again", op)
		}
		before = op
	}
}

// TestOnlyOnce never repeats a write that has no condition.
func TestOnlyOnce(t *testing.T) {
	n := setup{objects: versitygw, file: true}.open(t)
	w := n.wire(t)
	w.add(faultproxy.Rule{Match: isState("PUT"), Times: faultproxy.Always, Fault: faultproxy.CutBefore()})
	_, err := n.client(t, w).Write(t.Context(), "default", []byte("one"), backend.Condition{Revision: backend.AnyRevision})
	if puts := w.objects.Count(isState("PUT")); !errors.Is(err, backend.ErrUnknown) || puts != 1 {
		t.Errorf("%d PUTs, error %v", puts, err)
	}
}
