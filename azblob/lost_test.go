package azblob_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
)

// An operation is a call whose every request meets with a fault, one after another.
// It starts with the state "old", at rev, and, if locked, with a lock that the client
// of the call took, or another one did.
type operation struct {
	name   string
	locked string // "", "own" or "other"
	call   func(ctx context.Context, c *client, rev backend.Revision, id string) error
	// What may be true afterwards, beside the call's success: Unknown.
	unknown bool
}

const ws = backend.DefaultWorkspace

var operations = []operation{
	{name: "create", call: func(ctx context.Context, c *client, _ backend.Revision, _ string) error {
		_, err := c.Write(ctx, "new", []byte("new"), backend.Condition{})
		return err
	}},
	{name: "replace", call: func(ctx context.Context, c *client, rev backend.Revision, _ string) error {
		_, err := c.Write(ctx, ws, []byte("new"), backend.Condition{Revision: rev})
		return err
	}},
	{name: "replace any", call: func(ctx context.Context, c *client, _ backend.Revision, _ string) error {
		_, err := c.Write(ctx, ws, []byte("new"), backend.Condition{Revision: backend.AnyRevision})
		return err
	}},
	{name: "replace under the lock", locked: "own", call: func(ctx context.Context, c *client, rev backend.Revision, id string) error {
		_, err := c.Write(ctx, ws, []byte("new"), backend.Condition{Revision: rev, LockID: id})
		return err
	}},
	{name: "delete", unknown: true, call: func(ctx context.Context, c *client, rev backend.Revision, _ string) error {
		return c.Delete(ctx, ws, backend.Condition{Revision: rev})
	}},
	{name: "delete under the lock", locked: "own", call: func(ctx context.Context, c *client, rev backend.Revision, id string) error {
		return c.Delete(ctx, ws, backend.Condition{Revision: rev, LockID: id})
	}},
	{name: "lock", call: func(ctx context.Context, c *client, _ backend.Revision, _ string) error {
		_, err := c.Lock(ctx, ws, lock.NewInfo("test"))
		return err
	}},
	{name: "lock of no blob", call: func(ctx context.Context, c *client, _ backend.Revision, _ string) error {
		_, err := c.Lock(ctx, "new", lock.NewInfo("test"))
		return err
	}},
	{name: "unlock", locked: "own", call: func(ctx context.Context, c *client, _ backend.Revision, id string) error {
		return c.Unlock(ctx, ws, id)
	}},
	{name: "unlock another's", locked: "other", call: func(ctx context.Context, c *client, _ backend.Revision, id string) error {
		return c.Unlock(ctx, ws, id)
	}},
	{name: "renew", locked: "own", call: func(ctx context.Context, c *client, _ backend.Revision, id string) error {
		_, err := c.Renew(ctx, ws, id)
		return err
	}},
	{name: "holder", locked: "other", call: func(ctx context.Context, c *client, _ backend.Revision, _ string) error {
		_, err := c.Holder(ctx, ws)
		return err
	}},
	{name: "read", call: func(ctx context.Context, c *client, _ backend.Revision, _ string) error {
		_, err := c.Read(ctx, ws)
		return err
	}},
}

// A scene is an operation about to be made, behind a proxy.
type scene struct {
	*namespace
	proxy  *faultproxy.Proxy
	client *client
	other  *client
	rev    backend.Revision
	id     string
}

func (o operation) scene(t *testing.T) *scene {
	t.Helper()
	n := newNamespace(t, false)
	s := &scene{namespace: n, proxy: n.proxy(t), other: n.client(t, nil)}
	s.client = n.client(t, s.proxy)
	var err error
	if s.rev, err = s.other.Write(t.Context(), ws, []byte("old"), backend.Condition{}); err != nil {
		t.Fatal(err)
	}
	holder := map[string]*client{"own": s.client, "other": s.other}[o.locked]
	if holder != nil {
		held, err := holder.Lock(t.Context(), ws, lock.NewInfo("test"))
		if err != nil {
			t.Fatal(err)
		}
		s.id = held.ID
	}
	s.proxy.Reset()
	return s
}

// each calls f for each of the requests that the operation makes.
func (o operation) each(t *testing.T, f func(t *testing.T, s *scene, nth int)) {
	s := o.scene(t)
	if err := o.call(t.Context(), s.client, s.rev, s.id); err != nil {
		t.Fatalf("%s: %v", o.name, err)
	}
	for nth := range s.proxy.Count(nil) {
		t.Run(fmt.Sprint(o.name, " ", nth+1), func(t *testing.T) {
			t.Parallel()
			f(t, o.scene(t), nth+1)
		})
	}
}

func TestLostReplies(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]faultproxy.Fault{
		"applied":                       faultproxy.CutAfter(),
		"not applied":                   faultproxy.CutBefore(),
		"failing":                       faultproxy.AnswerAfter(failing),
		"busy":                          faultproxy.Answer(busy),
		"delivered twice, first reply":  faultproxy.Duplicate(1),
		"delivered twice, second reply": faultproxy.Duplicate(2),
		"truncated":                     faultproxy.Truncate(1),
	} {
		t.Run(name, func(t *testing.T) {
			for _, o := range operations {
				o.each(t, func(t *testing.T, s *scene, nth int) {
					rule := s.proxy.Add(faultproxy.Rule{Nth: nth, Fault: fault})
					err := o.call(t.Context(), s.client, s.rev, s.id)
					if rule.Applied() != 1 {
						t.Fatal("the fault was not applied")
					}
					twice := strings.HasSuffix(name, "second reply")
					switch {
					case err == nil, o.unknown && errors.Is(err, backend.ErrUnknown):
					case twice && o.name == "delete" && errors.Is(err, backend.ErrNotExist): // the second finds nothing
						err = nil
					default:
						t.Error(err)
					}
					s.whole(t, o, err)
				})
			}
		})
	}
}

// TestDoubled has a middlebox deliver every request twice, and pass on the second reply.
func TestDoubled(t *testing.T) {
	t.Parallel()
	for _, o := range operations {
		if o.name == "delete" || o.name == "unlock another's" { // nothing tells whose it was that is gone, or marked
			continue
		}
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			s := o.scene(t)
			s.proxy.Add(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Duplicate(2)})
			err := o.call(t.Context(), s.client, s.rev, s.id)
			if err != nil {
				t.Error(err)
			}
			s.whole(t, o, err)
		})
	}
}

// TestDoubledUnseen has the second reply passed on, and whose it was be hidden: then the
// refusal is none.
func TestDoubledUnseen(t *testing.T) {
	t.Parallel()
	for _, o := range operations {
		if o.name != "create" && o.name != "replace under the lock" && o.name != "unlock" { // which begin with a change
			continue
		}
		s := o.scene(t)
		s.proxy.Add(faultproxy.Rule{Match: changes, Fault: faultproxy.Duplicate(2)})
		s.proxy.Add(faultproxy.Rule{Match: faultproxy.Not(changes), Times: faultproxy.Always, Fault: faultproxy.Answer(faultproxy.Reply{Status: 403})})
		err := o.call(t.Context(), s.client, s.rev, s.id)
		checkError(t, o.name, err, backend.ErrUnknown, "was not to be seen", s.server.SecretKey)
		s.whole(t, o, err)
	}
}

// TestCancelled ends the context of each call while a reply is held back: the server
// has applied the request, or has not seen it.
func TestCancelled(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]faultproxy.Fault{
		"applied":     faultproxy.HangAfter(),
		"not applied": faultproxy.Hang(),
	} {
		t.Run(name, func(t *testing.T) {
			for _, o := range operations {
				o.each(t, func(t *testing.T, s *scene, nth int) {
					rule := s.proxy.Add(faultproxy.Rule{Nth: nth, Fault: fault})
					ctx, cancel := context.WithCancel(t.Context())
					go func() {
						<-rule.Reached()
						cancel()
					}()
					start := time.Now()
					err := o.call(ctx, s.client, s.rev, s.id)
					if took := time.Since(start); took > 30*time.Second { // else it waits for a reply that never comes
						t.Errorf("it returned after %s", took)
					}
					last := nth == s.proxy.Count(nil)
					if err == nil && !(o.locked != "" && last) { // unlocked: only the record was left to erase
						t.Error("it succeeded without a reply")
					}
					if err != nil && !errors.Is(err, context.Canceled) {
						t.Errorf("got error %v, want one that matches context.Canceled", err)
					}
					for _, kind := range []error{backend.ErrConflict, backend.ErrTransient, backend.ErrNotExist, lock.ErrNotHeld} {
						if errors.Is(err, kind) {
							t.Errorf("error %v matches %q", err, kind)
						}
					}
					s.proxy.Close()
					s.whole(t, o, err)
				})
			}
		})
	}
}

// whole fails the test unless the state is the old or the new one, as err says, and
// the lock is free or held by whom the caller knows.
func (s *scene) whole(t *testing.T, o operation, err error) {
	t.Helper()
	ctx := context.Background()
	workspace, old, changed := ws, "old", "old"
	switch o.name {
	case "create":
		workspace, old, changed = "new", "", "new"
	case "lock of no blob":
		workspace, old, changed = "new", "", ""
	case "replace", "replace any", "replace under the lock":
		changed = "new"
	case "delete", "delete under the lock":
		changed = ""
	}
	st, readErr := s.other.Read(ctx, workspace)
	if readErr != nil && !errors.Is(readErr, backend.ErrNotExist) {
		t.Fatal(readErr)
	}
	got := string(st.Data)
	if (err != nil || got != changed) && (err == nil || got != old && !(got == changed && errors.Is(err, backend.ErrUnknown))) {
		t.Errorf("after error %v, the state is %q", err, got)
	}
	holder, holderErr := s.other.Holder(ctx, workspace)
	var unknown *lock.UnknownError
	isLock, isUnlock := o.name == "lock" || o.name == "lock of no blob", o.name == "unlock" || o.name == "unlock another's"
	switch held := holderErr == nil; {
	case holderErr != nil && !errors.Is(holderErr, lock.ErrNotHeld):
		t.Fatal(holderErr)
	case isLock && err == nil && !held, isLock && err != nil && held && !(errors.As(err, &unknown) && unknown.ID == holder.ID):
		t.Errorf("after error %v of Lock, Holder: %v, %v", err, holder, holderErr)
	case isUnlock && err == nil && held, isUnlock && err != nil && !held && !errors.Is(err, lock.ErrUnknown):
		t.Errorf("after error %v of Unlock, Holder: %v, %v", err, holder, holderErr)
	case !isLock && !isUnlock && held != (o.locked != ""):
		t.Errorf("Holder: %v, %v", holder, holderErr)
	}
	if errors.As(err, &unknown) {
		if err := s.other.Unlock(ctx, workspace, unknown.ID); err != nil && !errors.Is(err, lock.ErrNotHeld) {
			t.Errorf("Unlock with the ID of the *UnknownError: %v", err)
		}
		if holder, err := s.other.Holder(ctx, workspace); !errors.Is(err, lock.ErrNotHeld) {
			t.Errorf("after that, Holder: %v, %v", holder, err)
		}
	}
}
