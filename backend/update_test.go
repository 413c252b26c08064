package backend_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/memory"
)

const ws = "prod"

// A script is memory with methods that a test replaces.
type script struct {
	*memory.Backend
	read   func() (backend.State, error)
	write  func(ctx context.Context, data []byte, cond backend.Condition) (backend.Revision, error)
	lock   func(lock.Info) (lock.Info, error)
	unlock func() error
	holder func() (lock.Info, error)
}

func newScript() *script { return &script{Backend: memory.New()} }

func (s *script) Read(ctx context.Context, workspace string) (backend.State, error) {
	if s.read != nil {
		return s.read()
	}
	return s.Backend.Read(ctx, workspace)
}

func (s *script) Write(ctx context.Context, workspace string, data []byte, cond backend.Condition) (backend.Revision, error) {
	if s.write != nil {
		return s.write(ctx, data, cond)
	}
	return s.Backend.Write(ctx, workspace, data, cond)
}

func (s *script) Lock(ctx context.Context, workspace string, info lock.Info) (lock.Info, error) {
	if s.lock != nil {
		return s.lock(info)
	}
	return s.Backend.Lock(ctx, workspace, info)
}

func (s *script) Unlock(ctx context.Context, workspace, id string) error {
	if s.unlock != nil {
		return s.unlock()
	}
	return s.Backend.Unlock(ctx, workspace, id)
}

func (s *script) Holder(ctx context.Context, workspace string) (lock.Info, error) {
	if s.holder != nil {
		return s.holder()
	}
	return s.Backend.Holder(ctx, workspace)
}

// off makes the script a Locker that is configured not to lock.
func (s *script) off() *script {
	s.lock = func(lock.Info) (lock.Info, error) { return lock.Info{}, errors.ErrUnsupported }
	s.unlock = func() error { return errors.ErrUnsupported }
	s.holder = func() (lock.Info, error) { return lock.Info{}, errors.ErrUnsupported }
	return s
}

type editor = func(context.Context, backend.State) ([]byte, error)

func update(t *testing.T, b backend.Backend, edit editor) (backend.Revision, error) {
	t.Helper()
	return backend.Update(t.Context(), b, ws, lock.NewInfo("test"), lock.Options{}, edit)
}

func to(data string) editor {
	return func(context.Context, backend.State) ([]byte, error) { return []byte(data), nil }
}

func mustWrite(t *testing.T, b backend.Backend, data string, cond backend.Condition) backend.Revision {
	t.Helper()
	rev, err := b.Write(t.Context(), ws, []byte(data), cond)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func wantState(t *testing.T, b backend.Backend, data string, rev backend.Revision) {
	t.Helper()
	st, err := b.Read(t.Context(), ws)
	if err != nil || string(st.Data) != data || st.Revision != rev {
		t.Errorf("the state is %q at %q, %v; want %q at %q", st.Data, st.Revision, err, data, rev)
	}
}

func wantUnlocked(t *testing.T, l lock.Locker) {
	t.Helper()
	if holder, err := l.Holder(t.Context(), ws); !errors.Is(err, lock.ErrNotHeld) {
		t.Errorf("the lock is held by %v, %v", holder, err)
	}
}

func TestUpdateLocksReadsEditsWritesUnlocks(t *testing.T) {
	b := memory.New()
	rev, err := update(t, b, func(ctx context.Context, current backend.State) ([]byte, error) {
		if current.Data != nil || current.Revision != "" || !current.Modified.IsZero() {
			t.Errorf("the state that does not exist is %+v", current)
		}
		if _, err := b.Lock(ctx, ws, lock.NewInfo("other")); !errors.As(err, new(*lock.HeldError)) {
			t.Errorf("not locked while editing: %v", err)
		}
		return []byte("one"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantState(t, b, "one", rev)
	wantUnlocked(t, b)

	same, err := update(t, b, func(_ context.Context, current backend.State) ([]byte, error) {
		if string(current.Data) != "one" || current.Revision != rev {
			t.Errorf("the current state is %+v", current)
		}
		return nil, nil
	})
	if err != nil || same != rev {
		t.Errorf("writing nothing: %q, %v; want %q", same, err, rev)
	}
	wantState(t, b, "one", rev)
	wantUnlocked(t, b)
}

func TestUpdateWritesUnderTheLockAndTheRevision(t *testing.T) {
	s := newScript()
	rev := mustWrite(t, s, "one", backend.Condition{})
	var holder lock.Info
	s.write = func(ctx context.Context, data []byte, cond backend.Condition) (backend.Revision, error) {
		if holder.ID == "" || cond != (backend.Condition{Revision: rev, LockID: holder.ID}) {
			t.Errorf("written under %+v, locked by %s", cond, holder.ID)
		}
		return s.Backend.Write(ctx, ws, data, cond)
	}
	if _, err := update(t, s, func(ctx context.Context, _ backend.State) (_ []byte, err error) {
		holder, err = s.Holder(ctx, ws)
		return []byte("two"), err
	}); err != nil {
		t.Error(err)
	}
}

func TestUpdateReturnsTheEditsError(t *testing.T) {
	b := memory.New()
	rev := mustWrite(t, b, "one", backend.Condition{})
	no := errors.New("no")
	got, err := update(t, b, func(context.Context, backend.State) ([]byte, error) { return []byte("two"), no })
	if got != "" || !errors.Is(err, no) || errors.As(err, new(*backend.WriteError)) {
		t.Errorf("%q, %v", got, err)
	}
	wantState(t, b, "one", rev)
	wantUnlocked(t, b)

	func() { // a panic goes through, and leaves no lock
		defer func() { recover() }()
		update(t, b, func(context.Context, backend.State) ([]byte, error) { panic("oops") })
		t.Error("the panic was lost")
	}()
	wantUnlocked(t, b)
}

func TestUpdateDoesNotEditWhatCannotBeRead(t *testing.T) {
	for _, kind := range []error{backend.ErrCorrupt, backend.ErrTransient, backend.ErrPermission} {
		s := newScript()
		s.read = func() (backend.State, error) { return backend.State{Data: []byte("half")}, kind }
		_, err := update(t, s, func(context.Context, backend.State) ([]byte, error) {
			t.Errorf("edits after %v", kind)
			return []byte("two"), nil
		})
		if !errors.Is(err, kind) {
			t.Errorf("%v, want %v", err, kind)
		}
		wantUnlocked(t, s)
	}
}

func TestUpdateHandsBackWhatItCouldNotWrite(t *testing.T) {
	for _, kind := range []error{backend.ErrConflict, backend.ErrTransient, backend.ErrUnknown, backend.ErrTooLarge, backend.ErrPermission, lock.ErrNotHeld} {
		s := newScript()
		rev := mustWrite(t, s, "one", backend.Condition{})
		s.write = func(context.Context, []byte, backend.Condition) (backend.Revision, error) { return "", kind }
		runs := 0
		_, err := update(t, s, func(context.Context, backend.State) ([]byte, error) { runs++; return []byte("two"), nil })
		var w *backend.WriteError
		if !errors.As(err, &w) || string(w.Data) != "two" || w.Workspace != ws || w.Condition.Revision != rev || w.Condition.LockID == "" || !errors.Is(err, kind) {
			t.Errorf("%v: %#v", err, w)
		}
		if runs != 1 {
			t.Errorf("under a lock edit ran %d times", runs)
		}
		wantUnlocked(t, s)
	}
	_, err := update(t, memory.New(), to(""))
	if !errors.As(err, new(*backend.WriteError)) || !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("empty data: %v", err)
	}
}

func TestUpdateHandsBackWhatWasMadeBeforeACancel(t *testing.T) {
	b := memory.New()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := backend.Update(ctx, b, ws, lock.NewInfo("test"), lock.Options{}, func(context.Context, backend.State) ([]byte, error) {
		cancel()
		return []byte("precious"), nil
	})
	var w *backend.WriteError
	if !errors.As(err, &w) || string(w.Data) != "precious" || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	wantUnlocked(t, b)
}

func TestUpdateTellsTheEditThatTheLockIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		_, err := backend.Update(t.Context(), b, ws, lock.NewInfo("test"), lock.Options{Check: time.Second}, func(ctx context.Context, _ backend.State) ([]byte, error) {
			holder, _ := b.Holder(ctx, ws)
			b.Unlock(ctx, ws, holder.ID)
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), lock.ErrNotHeld) {
				t.Errorf("cause: %v", context.Cause(ctx))
			}
			return []byte("two"), nil
		})
		var w *backend.WriteError
		if !errors.As(err, &w) || !errors.Is(w, lock.ErrNotHeld) {
			t.Errorf("%v", err)
		}
		if _, err := b.Read(t.Context(), ws); !errors.Is(err, backend.ErrNotExist) {
			t.Errorf("written without the lock: %v", err)
		}
	})
}

// An edit that obeys its context has no more to say than that it ended.
func TestUpdateSaysWhyTheEditStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		_, err := backend.Update(t.Context(), b, ws, lock.NewInfo("test"), lock.Options{Check: time.Second}, func(ctx context.Context, _ backend.State) ([]byte, error) {
			holder, _ := b.Holder(ctx, ws)
			b.Unlock(ctx, ws, holder.ID)
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if !errors.Is(err, lock.ErrNotHeld) || !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

func TestUpdateReportsALockThatItLeft(t *testing.T) {
	for _, fail := range []bool{false, true} { // also when the write failed
		s := newScript()
		s.unlock = func() error { return backend.ErrTransient }
		if fail {
			s.write = func(context.Context, []byte, backend.Condition) (backend.Revision, error) {
				return "", backend.ErrTooLarge
			}
		}
		rev, err := update(t, s, to("one"))
		var left *lock.ReleaseError
		if !errors.As(err, &left) || !errors.Is(left, backend.ErrTransient) {
			t.Fatalf("%v", err)
		}
		if errors.As(err, new(*backend.WriteError)) != fail {
			t.Errorf("%v", err)
		}
		if !fail {
			wantState(t, s, "one", rev)
		}
		if holder, err := s.Holder(t.Context(), ws); err != nil || holder.ID != left.ID {
			t.Errorf("held by %v, %v; want %s", holder, err, left.ID)
		}
	}
}

func TestUpdateWithoutALockRunsAgainAfterAConflict(t *testing.T) {
	type bare struct{ backend.Backend } // no Locker
	for name, b := range map[string]backend.Backend{"no locker": bare{memory.New()}, "configured off": newScript().off()} {
		t.Run(name, func(t *testing.T) {
			const writers, each = 8, 25
			var all sync.WaitGroup
			for range writers {
				all.Go(func() {
					for range each {
						if _, err := update(t, b, increment); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			if st, err := b.Read(t.Context(), ws); err != nil || string(st.Data) != fmt.Sprint(writers*each) {
				t.Errorf("counted %s, %v", st.Data, err)
			}
		})
	}
}

// TestUpdateDoesNotHurryWithoutALock has one write after the other fail for another's:
// only the first is tried again at once.
func TestUpdateDoesNotHurryWithoutALock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript().off()
		s.write = func(context.Context, []byte, backend.Condition) (backend.Revision, error) {
			return "", backend.ErrConflict
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		runs := 0
		_, err := backend.Update(ctx, s, ws, lock.NewInfo("test"), lock.Options{}, func(context.Context, backend.State) ([]byte, error) {
			runs++
			return []byte("two"), nil
		})
		if runs < 60 || runs > 400 || !errors.As(err, new(*backend.WriteError)) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d runs in a minute, %v", runs, err)
		}
	})
}

func increment(_ context.Context, current backend.State) ([]byte, error) {
	n, _ := strconv.Atoi(string(current.Data)) // 0 where there is none
	return fmt.Append(nil, n+1), nil
}

func TestUpdateGoesOnWithoutALockOnlyIfNoneIsConfigured(t *testing.T) {
	s := newScript().off()
	s.holder = nil // it can lock, but refused this lock
	if _, err := update(t, s, to("one")); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("written without the lock that is configured: %v", err)
	}
	_, err := backend.Update(t.Context(), newScript().off(), ws, lock.NewInfo("test"), lock.Options{TTL: time.Second}, to("one"))
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("written without the TTL that was asked for: %v", err)
	}
	holder, err := memory.New().Lock(t.Context(), ws, lock.NewInfo("theirs"))
	if err != nil {
		t.Fatal(err)
	}
	s = newScript()
	s.lock = func(lock.Info) (lock.Info, error) { return lock.Info{}, &lock.HeldError{Workspace: ws, Holder: holder} }
	if _, err := update(t, s, to("one")); !errors.As(err, new(*lock.HeldError)) {
		t.Errorf("%v", err)
	}
}

func TestUpdateDoesNotRunAgainForTheEditsOwnConflict(t *testing.T) {
	runs := 0
	_, err := update(t, newScript().off(), func(context.Context, backend.State) ([]byte, error) {
		runs++
		return nil, &backend.WriteError{Workspace: "another", Err: backend.ErrConflict}
	})
	if runs != 1 || !errors.Is(err, backend.ErrConflict) {
		t.Errorf("%d runs, %v", runs, err)
	}
}
