package backend_test

import (
	"context"
	"errors"
	"io/fs"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/memory"
)

func TestError(t *testing.T) {
	cause := errors.New("503 SlowDown")
	err := error(&backend.Error{Op: "write", Backend: "s3 bucket/key", Workspace: ws, Kind: backend.ErrTransient, Err: cause})
	if want := `write workspace "prod" in s3 bucket/key: temporary failure: 503 SlowDown`; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if !errors.Is(err, backend.ErrTransient) || !errors.Is(err, lock.ErrTransient) || !errors.Is(err, cause) {
		t.Error("does not match its kind and its cause")
	}
	if got := (&backend.Error{Op: "list"}).Error(); got != "list" {
		t.Errorf("%q", got)
	}
	if errors.Is(backend.ErrNotExist, fs.ErrNotExist) {
		t.Error("a missing file reads as no state")
	}
}

type wrapper struct{ backend.Backend }

func (w wrapper) Unwrap() backend.Backend { return w.Backend }

// encrypted stands for a wrapper that changes bytes: nothing reaches around it.
type encrypted struct{ backend.Backend }

func (e encrypted) As(target any) bool {
	if l, ok := target.(*lock.Locker); ok {
		*l, ok = backend.As[lock.Locker](e.Backend)
		return ok
	}
	return false
}

func TestAs(t *testing.T) {
	b := memory.New()
	if got, ok := backend.As[*memory.Backend](wrapper{wrapper{b}}); !ok || got != b {
		t.Error("not found through Unwrap")
	}
	if got, ok := backend.As[lock.Locker](wrapper{encrypted{wrapper{b}}}); !ok || got != lock.Locker(b) {
		t.Error("not found through As")
	}
	if _, ok := backend.As[backend.Stater](wrapper{encrypted{b}}); ok {
		t.Error("found around As")
	}
	if _, ok := backend.As[backend.Stater](nil); ok {
		t.Error("found in nil")
	}
}

func TestStat(t *testing.T) {
	b := memory.New()
	for _, b := range []backend.Backend{b, encrypted{b}} { // by Stat, by Read
		if _, err := backend.Stat(t.Context(), b, ws); !errors.Is(err, backend.ErrNotExist) {
			t.Errorf("%v", err)
		}
	}
	want := mustWrite(t, b, "one", backend.Condition{})
	for _, b := range []backend.Backend{b, encrypted{b}} {
		if got, err := backend.Stat(t.Context(), b, ws); got != want || err != nil {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}

func TestWithLocker(t *testing.T) {
	states, locks := memory.New(), memory.New()
	b := backend.WithLocker(wrapper{states}, locks)
	l, ok := backend.As[lock.Locker](b)
	if !ok {
		t.Fatal("no Locker")
	}
	held, err := lock.Acquire(t.Context(), l, ws, lock.NewInfo("test"), lock.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantUnlocked(t, states)
	if holder, err := locks.Holder(t.Context(), ws); err != nil || holder.ID != held.ID() {
		t.Errorf("the locker holds %v, %v", holder, err)
	}
	// states would refuse an ID that it does not know.
	cond := backend.Condition{LockID: held.ID()}
	cond.Revision = mustWrite(t, b, "one", cond)
	if err := b.Delete(t.Context(), ws, cond); err != nil {
		t.Error(err)
	}
	if err := held.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if got, ok := backend.As[lock.Renewer](b); !ok || got != lock.Renewer(locks) {
		t.Error("the locker's Renewer is not found")
	}
	if got, ok := backend.As[backend.Stater](b); !ok || got != backend.Stater(states) {
		t.Error("the backend's Stater is not found")
	}
	if _, ok := backend.As[*memory.Backend](b); ok {
		t.Error("the backend's own locks are reachable")
	}
	plain := backend.WithLocker(states, struct{ lock.Locker }{locks})
	if _, ok := backend.As[lock.Waiter](plain); ok {
		t.Error("the backend's own Waiter is reachable")
	}
}

// Two Updates under one locker exclude each other though their backend has no lock.
func TestUpdateWithLocker(t *testing.T) {
	b := backend.WithLocker(encrypted{memory.New()}, memory.New())
	_, err := update(t, b, func(ctx context.Context, _ backend.State) ([]byte, error) {
		if _, err := update(t, b, to("inner")); !errors.As(err, new(*lock.HeldError)) {
			t.Errorf("%v", err)
		}
		return []byte("outer"), nil
	})
	if err != nil {
		t.Error(err)
	}
}
