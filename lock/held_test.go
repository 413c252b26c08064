package lock_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/statelatch/statelatch/lock"
)

// steal breaks the lock and takes it for somebody else.
func steal(t *testing.T, s *script, id string) lock.Info {
	t.Helper()
	if err := s.Backend.Unlock(t.Context(), ws, id); err != nil {
		t.Fatal(err)
	}
	return mustLock(t, s.Backend, lock.NewInfo("theirs"))
}

func TestLossIsNoticed(t *testing.T) {
	for name, test := range map[string]struct {
		opts   lock.Options
		stolen bool
		within time.Duration
	}{
		"broken, looked at":           {lock.Options{}, false, 30 * time.Second},
		"stolen, looked at":           {lock.Options{Check: time.Second}, true, time.Second},
		"broken, not renewable":       {lock.Options{TTL: time.Minute}, false, 20 * time.Second},
		"stolen, renewed by a thief":  {lock.Options{TTL: time.Minute}, true, 20 * time.Second},
		"checks do not disturb a TTL": {lock.Options{TTL: time.Minute, Check: time.Second}, true, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript()
				s.polled = true
				held := mustAcquire(t, s, test.opts)
				time.Sleep(2*time.Minute + time.Millisecond) // it is kept while nobody breaks it
				if held.Context().Err() != nil {
					t.Fatalf("lost: %v", context.Cause(held.Context()))
				}
				thief := lock.Info{}
				if test.stolen {
					thief = steal(t, s, held.ID())
				} else if err := s.Backend.Unlock(t.Context(), ws, held.ID()); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				<-held.Context().Done()
				if took := time.Since(start); took > test.within {
					t.Errorf("noticed after %s", took)
				}
				cause := context.Cause(held.Context())
				var by *lock.HeldError
				if !errors.Is(cause, lock.ErrNotHeld) || errors.As(cause, &by) != test.stolen || test.stolen && by.Holder != thief {
					t.Errorf("cause: %v", cause)
				}
				err := held.Release(t.Context())
				if test.stolen && !errors.As(err, &by) || !test.stolen && !errors.Is(err, lock.ErrNotHeld) {
					t.Errorf("release: %v", err)
				}
				if holder, _ := s.Backend.Holder(t.Context(), ws); holder != thief {
					t.Errorf("the thief's lock is gone: %v", holder)
				}
			})
		})
	}
}

// Watch is memory's, as long as the script is not polled.
func (s *script) Watch(ctx context.Context, workspace, id string) error {
	if s.polled {
		return errors.ErrUnsupported
	}
	return s.Backend.Watch(ctx, workspace, id)
}

func TestLossIsReportedAtOnce(t *testing.T) {
	for name, opts := range map[string]lock.Options{"renewed": {TTL: time.Minute}, "looked at": {}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript()
				held := mustAcquire(t, s, opts)
				time.Sleep(5*time.Minute + time.Millisecond)
				if held.Context().Err() != nil {
					t.Fatalf("lost: %v", context.Cause(held.Context()))
				}
				start, thief := time.Now(), steal(t, s, held.ID())
				<-held.Context().Done()
				var by *lock.HeldError
				if cause := context.Cause(held.Context()); !errors.Is(cause, lock.ErrNotHeld) || errors.As(cause, &by) && by.Holder != thief {
					t.Errorf("cause: %v", cause)
				}
				if took := time.Since(start); took != 0 {
					t.Errorf("noticed after %s", took)
				}
				held.Release(t.Context())
			})
		})
	}
}

// A watcher that cannot tell, or is wrong, is asked again, and loses nobody the lock.
func TestWatcherThatErrs(t *testing.T) {
	for name, answer := range map[string]error{"fails": lock.ErrTransient, "lies": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &erring{script: newScript(), answer: answer}
				held := mustAcquire(t, w, lock.Options{})
				time.Sleep(10*time.Second + time.Millisecond)
				if held.Context().Err() != nil || w.asked.Load() != 11 {
					t.Errorf("lost: %v, asked %d times", context.Cause(held.Context()), w.asked.Load())
				}
				mustRelease(t, held)
			})
		})
	}
}

type erring struct {
	*script
	answer error
	asked  atomic.Int64
}

func (e *erring) Watch(context.Context, string, string) error {
	e.asked.Add(1)
	return e.answer
}

func TestWatchingIsOptional(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		held := mustAcquire(t, s, lock.Options{Check: -1})
		steal(t, s, held.ID())
		time.Sleep(time.Hour)
		if held.Context().Err() != nil || len(s.made()) != 1 {
			t.Errorf("looked: %v", s.made())
		}
		held.Release(t.Context())

		// A Locker that cannot show a holder is asked once.
		s = newScript()
		s.holder = func(context.Context) (lock.Info, error) { return lock.Info{}, errors.ErrUnsupported }
		held = mustAcquire(t, s, lock.Options{})
		time.Sleep(time.Hour)
		if held.Context().Err() != nil || len(s.made()) != 2 {
			t.Errorf("looked: %v", s.made())
		}
		mustRelease(t, held)
	})
}

func TestRenewalSurvivesFailuresForOneTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		held := mustAcquire(t, s, lock.Options{TTL: 30 * time.Second})
		s.set(func() {
			s.renew = func(context.Context, string) (lock.Info, error) { return lock.Info{}, lock.ErrTransient }
		})
		time.Sleep(25 * time.Second)
		s.set(func() { s.renew = nil })
		time.Sleep(time.Minute)
		if held.Context().Err() != nil {
			t.Fatalf("lost although renewed in time: %v", context.Cause(held.Context()))
		}

		s.set(func() {
			s.renew = func(ctx context.Context, _ string) (lock.Info, error) { <-ctx.Done(); return lock.Info{}, ctx.Err() }
		})
		start := time.Now()
		<-held.Context().Done()
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("a lock that expired was believed for %s", took)
		}
		if cause := context.Cause(held.Context()); !errors.Is(cause, lock.ErrNotHeld) {
			t.Errorf("cause: %v", cause)
		}
		held.Release(t.Context())
	})
}

// The time of a lock runs from before the request, however late the reply.
func TestTheTimeRunsFromTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.lock = func(ctx context.Context, info lock.Info) (lock.Info, error) {
			defer time.Sleep(25 * time.Second)
			return s.Backend.Lock(ctx, ws, info)
		}
		s.renew = func(context.Context, string) (lock.Info, error) { return lock.Info{}, lock.ErrTransient }
		held := mustAcquire(t, struct { // which nobody tells of the loss
			lock.Locker
			lock.Renewer
		}{s, s}, lock.Options{TTL: 30 * time.Second})
		for !errors.Is(second(s.Backend.Holder(t.Context(), ws)), lock.ErrNotHeld) {
			time.Sleep(time.Second)
		}
		if synctest.Wait(); held.Context().Err() == nil {
			t.Error("the lock has expired, and its holder was not told")
		}
		held.Release(t.Context())
	})
}

func second(_ lock.Info, err error) error { return err }

// A cancelled run saves its state before it releases: until then the lock lives.
func TestKeptUntilReleaseAfterCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		ctx, cancel := context.WithCancelCause(t.Context())
		held, err := lock.Acquire(ctx, s, ws, lock.NewInfo("test"), lock.Options{TTL: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		stop := errors.New("stopped by the user")
		cancel(stop)
		if <-held.Context().Done(); context.Cause(held.Context()) != stop {
			t.Errorf("cause: %v", context.Cause(held.Context()))
		}
		time.Sleep(10 * time.Minute)
		if holder, err := s.Backend.Holder(t.Context(), ws); err != nil || holder.ID != held.ID() {
			t.Errorf("expired: %v, %v", holder, err)
		}
		mustRelease(t, held)
	})
}

type wrapper struct{ lock.Locker }

func (w wrapper) Unwrap() lock.Locker { return w.Locker }

type adapter struct{ lock.Locker }

func (a adapter) As(target any) bool {
	if r, ok := target.(*lock.Renewer); ok {
		*r, ok = lock.As[lock.Renewer](a.Locker)
		return ok
	}
	return false
}

func TestAs(t *testing.T) {
	s := newScript()
	if r, ok := lock.As[lock.Renewer](wrapper{wrapper{s}}); !ok || r != lock.Renewer(s) {
		t.Error("not found through Unwrap")
	}
	if r, ok := lock.As[lock.Renewer](wrapper{adapter{s}}); !ok || r != lock.Renewer(s) {
		t.Error("not found through As")
	}
	if _, ok := lock.As[lock.Waiter](adapter{s}); ok {
		t.Error("found around As")
	}
	if _, ok := lock.As[lock.Renewer](nil); ok {
		t.Error("found in nil")
	}
}
