package lock_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/statelatch/statelatch/lock"
)

// The reply to Lock is lost: Acquire clears what may be there.
func TestAcquireUndoesAnUnknownAttempt(t *testing.T) {
	for name, test := range map[string]struct {
		applied, reachable bool
		want, not          error
	}{
		"applied":     {true, true, lock.ErrTransient, lock.ErrUnknown},
		"not applied": {false, true, lock.ErrUnknown, lock.ErrTransient}, // it may arrive late
		"unreachable": {true, false, lock.ErrUnknown, lock.ErrTransient},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript()
			ctx, cancel := context.WithCancel(t.Context())
			s.lock = func(_ context.Context, info lock.Info) (lock.Info, error) {
				if test.applied {
					mustLock(t, s.Backend, info)
				}
				cancel()
				return lock.Info{}, &lock.UnknownError{Workspace: ws, ID: info.ID, Err: fmt.Errorf("%w: %w", lock.ErrUnknown, ctx.Err())}
			}
			if !test.reachable {
				s.unlock = func(context.Context, string) error { return lock.ErrTransient }
			}
			_, err := lock.Acquire(ctx, s, ws, lock.NewInfo("test"), lock.Options{})
			if !errors.Is(err, test.want) || errors.Is(err, test.not) || !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			var unknown *lock.UnknownError
			if errors.As(err, &unknown) && !test.reachable {
				s.unlock = nil
				if err := s.Unlock(t.Context(), ws, unknown.ID); err != nil {
					t.Errorf("the ID given does not clear it: %v", err)
				}
			}
			if _, err := s.Backend.Holder(t.Context(), ws); !errors.Is(err, lock.ErrNotHeld) {
				t.Errorf("a lock was left: %v", err)
			}
		})
	}
}

// An attempt is refused, since somebody holds the lock, and yet may arrive late: after
// the holder's release.
func TestAcquireFindsItsOwnLateAttempt(t *testing.T) {
	for name, test := range map[string]struct {
		arrives   time.Duration // as the holder releases; 0: never
		reachable bool          // for Unlock
		taken     bool
		unknown   bool // whether the error tells of it
	}{
		"while it waits":                     {10 * time.Second, true, true, false},
		"while it waits, and cannot undo it": {10 * time.Second, false, false, true},
		"after it gave up":                   {0, true, false, true},
		"just before it gives up":            {time.Minute - 1, true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript()
				s.polled = true
				holder := mustLock(t, s.Backend, lock.NewInfo("theirs"))
				var late lock.Info
				s.lock = func(_ context.Context, info lock.Info) (lock.Info, error) {
					s.set(func() { s.lock = nil })
					late = info
					unknown := &lock.UnknownError{Workspace: ws, ID: info.ID, Err: lock.ErrTransient}
					return lock.Info{}, &lock.HeldError{Workspace: ws, Holder: holder, Err: unknown}
				}
				if !test.reachable {
					s.unlock = func(context.Context, string) error { return lock.ErrTransient }
				}
				if test.arrives > 0 {
					time.AfterFunc(test.arrives, func() {
						s.Backend.Unlock(t.Context(), ws, holder.ID)
						mustLock(t, s.Backend, late)
					})
				}
				held, err := lock.Acquire(t.Context(), s, ws, lock.NewInfo("test"), lock.Options{Timeout: time.Minute})
				if test.taken {
					if err != nil {
						t.Fatal(err)
					}
					mustRelease(t, held)
					return
				}
				var unknown *lock.UnknownError
				if !errors.As(err, new(*lock.HeldError)) || errors.As(err, &unknown) != test.unknown || test.unknown && unknown.ID != late.ID {
					t.Errorf("%v", err)
				}
				if now, err := s.Backend.Holder(t.Context(), ws); !test.unknown && !errors.Is(err, lock.ErrNotHeld) {
					t.Errorf("it left a lock: %v, %v", now, err)
				}
				if test.arrives == 0 && slices.Contains(s.made(), "unlock") {
					t.Error("Unlock while another holds the lock: a server that does not compare the ID would release that") // as some HTTP servers
				}
			})
		})
	}
}

// Two attempts end in doubt, each with an ID of its own (the service's): that the second
// was undone says nothing of the first.
func TestAcquireRemembersEachDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.polled = true
		holder := mustLock(t, s.Backend, lock.NewInfo("theirs"))
		held := func(err error) error { return &lock.HeldError{Workspace: ws, Holder: holder, Err: err} }
		doubt := func(id string) error { return &lock.UnknownError{Workspace: ws, ID: id, Err: lock.ErrTransient} }
		answers := []error{held(doubt("first")), doubt("second")}
		s.lock = func(context.Context, lock.Info) (lock.Info, error) {
			if len(answers) == 0 {
				return lock.Info{}, held(nil)
			}
			answer := answers[0]
			answers = answers[1:]
			return lock.Info{}, answer
		}
		s.holder = func(context.Context) (lock.Info, error) { return lock.Info{}, errors.ErrUnsupported }
		s.unlock = func(_ context.Context, id string) error {
			if id != "second" {
				t.Errorf("Unlock %q", id)
			}
			return nil
		}
		_, err := lock.Acquire(t.Context(), s, ws, lock.NewInfo("test"), lock.Options{Timeout: time.Minute})
		var unknown *lock.UnknownError
		if !errors.As(err, new(*lock.HeldError)) || !errors.As(err, &unknown) || unknown.ID != "first" {
			t.Errorf("%v", err)
		}
	})
}

// The request of the one attempt is delivered twice, and the second is refused.
func TestAcquireIsRefusedByItsOnlyAttempt(t *testing.T) {
	s := newScript()
	s.lock = func(_ context.Context, info lock.Info) (lock.Info, error) {
		s.set(func() { s.lock = nil })
		return lock.Info{}, &lock.HeldError{Workspace: ws, Holder: mustLock(t, s.Backend, info)}
	}
	mustRelease(t, mustAcquire(t, s, lock.Options{}))
	if _, err := s.Backend.Holder(t.Context(), ws); !errors.Is(err, lock.ErrNotHeld) {
		t.Errorf("a lock was left: %v", err)
	}
}

// A Locker that cannot show a holder still names it in a refusal: here our own late
// attempt, under an ID of the service's.
func TestAcquireIsRefusedByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.polled = true
		s.holder = func(context.Context) (lock.Info, error) { return lock.Info{}, errors.ErrUnsupported }
		refuse := func(holder lock.Info) func(context.Context, lock.Info) (lock.Info, error) {
			return func(context.Context, lock.Info) (lock.Info, error) {
				return lock.Info{}, &lock.HeldError{Workspace: ws, Holder: holder}
			}
		}
		s.lock = func(_ context.Context, info lock.Info) (lock.Info, error) {
			s.set(func() { s.lock = refuse(lock.Info{ID: "theirs", Ref: info.ID}) })
			return refuse(lock.Info{ID: "another"})(t.Context(), info)
		}
		s.unlock = func(_ context.Context, id string) error {
			s.set(func() { s.lock, s.unlock = nil, nil })
			if id != "theirs" {
				t.Errorf("Unlock %q", id)
			}
			return nil
		}
		mustRelease(t, mustAcquire(t, s, lock.Options{Timeout: time.Minute}))
	})
}
