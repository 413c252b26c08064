package lock_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/memory"
)

const ws = "prod"

// A script is a Locker whose methods a test replaces; the rest go to memory.
type script struct {
	*memory.Backend
	lock   func(context.Context, lock.Info) (lock.Info, error)
	unlock func(context.Context, string) error
	holder func(context.Context) (lock.Info, error)
	renew  func(context.Context, string) (lock.Info, error)
	polled bool // hides that memory is a Waiter, so that Acquire must poll

	mu    sync.Mutex
	calls []string
}

func newScript() *script { return &script{Backend: memory.New()} }

// set changes the script while it may be in use.
func (s *script) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// made returns the calls made so far.
func (s *script) made() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// begin records a call and returns the script as it is now.
func (s *script) begin(call string) script {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
	return script{lock: s.lock, unlock: s.unlock, holder: s.holder, renew: s.renew}
}

func (s *script) Lock(ctx context.Context, workspace string, info lock.Info) (lock.Info, error) {
	if now := s.begin("lock"); now.lock != nil {
		return now.lock(ctx, info)
	}
	return s.Backend.Lock(ctx, workspace, info)
}

func (s *script) Unlock(ctx context.Context, workspace, id string) error {
	if now := s.begin("unlock"); now.unlock != nil {
		return now.unlock(ctx, id)
	}
	return s.Backend.Unlock(ctx, workspace, id)
}

func (s *script) Holder(ctx context.Context, workspace string) (lock.Info, error) {
	if now := s.begin("holder"); now.holder != nil {
		return now.holder(ctx)
	}
	return s.Backend.Holder(ctx, workspace)
}

func (s *script) Renew(ctx context.Context, workspace, id string) (lock.Info, error) {
	if now := s.begin("renew"); now.renew != nil {
		return now.renew(ctx, id)
	}
	return s.Backend.Renew(ctx, workspace, id)
}

func (s *script) Wait(ctx context.Context, workspace string) error {
	if s.polled {
		return errors.ErrUnsupported
	}
	return s.Backend.Wait(ctx, workspace)
}

func mustLock(t *testing.T, l lock.Locker, info lock.Info) lock.Info {
	t.Helper()
	stored, err := l.Lock(t.Context(), ws, info)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func mustAcquire(t *testing.T, l lock.Locker, opts lock.Options) *lock.Lock {
	t.Helper()
	held, err := lock.Acquire(t.Context(), l, ws, lock.NewInfo("test"), opts)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

func mustRelease(t *testing.T, held *lock.Lock) {
	t.Helper()
	if err := held.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAcquireAndRelease(t *testing.T) {
	s := newScript()
	info := lock.NewInfo("test")
	held, err := lock.Acquire(t.Context(), s, ws, info, lock.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if held.ID() == info.ID || held.ID() != held.Info().ID {
		t.Errorf("the ID %s is not fresh", held.ID())
	}
	if holder, err := s.Backend.Holder(t.Context(), ws); err != nil || holder != held.Info() {
		t.Errorf("stored is %v, %v", holder, err)
	}
	if held.Context().Err() != nil {
		t.Error("the lock's context has ended")
	}
	mustRelease(t, held)
	mustRelease(t, held)
	if want := []string{"lock", "unlock"}; !slices.Equal(s.made(), want) {
		t.Errorf("calls %v, want %v", s.made(), want)
	}
	if held.Context().Err() == nil || errors.Is(context.Cause(held.Context()), lock.ErrNotHeld) {
		t.Errorf("the context of a released lock: %v", context.Cause(held.Context()))
	}
}

func TestAcquireOneAttempt(t *testing.T) {
	s := newScript()
	holder := mustLock(t, s.Backend, lock.NewInfo("theirs"))
	_, err := lock.Acquire(t.Context(), s, ws, lock.NewInfo("ours"), lock.Options{OnWait: func(*lock.HeldError) { t.Error("waits") }})
	var held *lock.HeldError
	if !errors.As(err, &held) || held.Holder != holder {
		t.Errorf("%v", err)
	}
	if want := []string{"lock"}; !slices.Equal(s.made(), want) {
		t.Errorf("calls %v, want %v", s.made(), want)
	}
}

func TestAcquirePolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.polled = true
		first := mustLock(t, s.Backend, lock.NewInfo("first"))
		go func() {
			time.Sleep(10 * time.Second)
			s.Backend.Unlock(t.Context(), ws, first.ID)
			second, _ := s.Backend.Lock(t.Context(), ws, lock.NewInfo("second"))
			time.Sleep(10 * time.Second)
			s.Backend.Unlock(t.Context(), ws, second.ID)
		}()
		var told []string
		start := time.Now()
		held := mustAcquire(t, s, lock.Options{Timeout: time.Minute, OnWait: func(e *lock.HeldError) {
			told = append(told, e.Holder.Operation)
		}})
		defer mustRelease(t, held)
		if took := time.Since(start); took < 20*time.Second || took > 21500*time.Millisecond {
			t.Errorf("took the lock after %s; it was free after 20 s", took)
		}
		if want := []string{"first", "second"}; !slices.Equal(told, want) {
			t.Errorf("told of %v, want %v", told, want)
		}
		looks := s.made()[1 : len(s.made())-1] // between the first attempt and the last
		if slices.Contains(looks, "lock") {
			t.Error("tried to lock while somebody held it")
		}
		if n := len(looks); n < 13 || n > 40 {
			t.Errorf("looked %d times in 20 s", n)
		}
	})
}

func TestAcquireWaitsForTheWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		holder := mustLock(t, b, lock.NewInfo("theirs"))
		time.AfterFunc(10*time.Second, func() { b.Unlock(t.Context(), ws, holder.ID) })
		start := time.Now()
		held := mustAcquire(t, b, lock.Options{Timeout: time.Minute})
		mustRelease(t, held)
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("took the lock after %s, not at once", took)
		}
	})
}

func TestAcquireGivesUp(t *testing.T) {
	for _, polled := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := newScript()
			s.polled = polled
			holder := mustLock(t, s.Backend, lock.NewInfo("theirs"))
			start := time.Now()
			_, err := lock.Acquire(t.Context(), s, ws, lock.NewInfo("ours"), lock.Options{Timeout: 5 * time.Second})
			var held *lock.HeldError
			if !errors.As(err, &held) || held.Holder != holder || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("after the timeout: %v", err)
			}
			if took := time.Since(start); took != 5*time.Second {
				t.Errorf("gave up after %s", took)
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			_, err = lock.Acquire(ctx, s, ws, lock.NewInfo("ours"), lock.Options{Timeout: time.Hour})
			if !errors.As(err, &held) || held.Holder != holder || !errors.Is(err, context.Canceled) {
				t.Errorf("after cancellation: %v", err)
			}
		})
	}
}

func TestAcquireWaitsThroughTransientFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.polled = true
		holder := mustLock(t, s.Backend, lock.NewInfo("theirs"))
		start := time.Now()
		failing := func() bool { return time.Since(start) > 2*time.Second && time.Since(start) < 10*time.Second }
		s.holder = func(ctx context.Context) (lock.Info, error) {
			if failing() {
				return lock.Info{}, lock.ErrTransient
			}
			return s.Backend.Holder(ctx, ws)
		}
		s.lock = func(ctx context.Context, info lock.Info) (lock.Info, error) {
			if failing() {
				return lock.Info{}, lock.ErrTransient
			}
			return s.Backend.Lock(ctx, ws, info)
		}
		time.AfterFunc(10*time.Second, func() { s.Backend.Unlock(t.Context(), ws, holder.ID) })
		mustRelease(t, mustAcquire(t, s, lock.Options{Timeout: time.Minute}))

		s.lock = func(context.Context, lock.Info) (lock.Info, error) { return lock.Info{}, lock.ErrPermission }
		if _, err := lock.Acquire(t.Context(), s, ws, lock.NewInfo("test"), lock.Options{Timeout: time.Minute}); !errors.Is(err, lock.ErrPermission) {
			t.Errorf("%v", err)
		}
	})
}

func TestAcquireRefusesATTLThatNobodyRenews(t *testing.T) {
	type plain struct{ lock.Locker } // shows nothing but a Locker
	b := memory.New()
	_, err := lock.Acquire(t.Context(), plain{b}, ws, lock.NewInfo("test"), lock.Options{TTL: time.Minute})
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v", err)
	}
	if _, err := b.Holder(t.Context(), ws); !errors.Is(err, lock.ErrNotHeld) {
		t.Errorf("a lock was left: %v", err)
	}
}

type leaser struct{ *memory.Backend }

func (leaser) LeaseTTL() time.Duration { return 15 * time.Second }

func TestAcquireTakesTheLeasersTTL(t *testing.T) {
	for opts, want := range map[time.Duration]time.Duration{0: 15 * time.Second, time.Minute: time.Minute} {
		held := mustAcquire(t, leaser{memory.New()}, lock.Options{TTL: opts})
		if got := held.Info().TTL; got != want {
			t.Errorf("TTL %s, want %s", got, want)
		}
		mustRelease(t, held)
	}
}

func TestReleaseAfterCancel(t *testing.T) {
	b := memory.New()
	ctx, cancel := context.WithCancel(t.Context())
	held, err := lock.Acquire(ctx, b, ws, lock.NewInfo("test"), lock.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := held.Release(ctx); err != nil {
		t.Error(err)
	}
	if _, err := b.Holder(t.Context(), ws); !errors.Is(err, lock.ErrNotHeld) {
		t.Errorf("a lock was left: %v", err)
	}
}

func TestReleaseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		held := mustAcquire(t, s, lock.Options{ReleaseTimeout: 3 * time.Second})
		s.unlock = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
		start := time.Now()
		err := held.Release(t.Context())
		var release *lock.ReleaseError
		if !errors.As(err, &release) || release.ID != held.ID() || release.Workspace != ws || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("took %s", took)
		}
		s.unlock = nil
		mustRelease(t, held) // a second try
	})
}
