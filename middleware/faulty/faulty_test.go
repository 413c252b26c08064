package faulty_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/memory"
	"github.com/statelatch/statelatch/middleware/faulty"
)

func TestFail(t *testing.T) {
	each(t, func(t *testing.T, op faulty.Op, f *faulty.Backend, p *probe, call func(context.Context) error) {
		f.Fail(op, 2, nil)
		f.Fail(op, 3, backend.ErrPermission)
		for i, want := range []error{nil, backend.ErrTransient, backend.ErrPermission, nil} {
			if err := call(t.Context()); !errors.Is(err, want) {
				t.Errorf("call %d: %v", i+1, err)
			}
		}
		if p.applied != 2 || f.Calls(op) != 4 {
			t.Errorf("%d applied of %d", p.applied, f.Calls(op))
		}
	})
}

func TestFailKeepsShapes(t *testing.T) {
	for _, want := range []error{
		&backend.Error{Op: "read", Backend: "s3", Kind: backend.ErrTooLarge},
		&lock.HeldError{Workspace: ws},
		&lock.UnknownError{Workspace: ws, Err: backend.ErrTransient},
	} {
		f := faulty.Wrap(memory.New())
		f.Fail(faulty.Any, faulty.Every, want)
		if _, err := f.Read(t.Context(), ws); err != want {
			t.Errorf("%v became %v", want, err)
		}
	}
}

func TestLoseReply(t *testing.T) {
	each(t, func(t *testing.T, op faulty.Op, f *faulty.Backend, p *probe, call func(context.Context) error) {
		f.LoseReply(op, 1)
		checkLost(t, op, call(t.Context()), backend.ErrTransient)
		if err := call(t.Context()); err != nil || p.applied != 2 {
			t.Errorf("%d applied, %v", p.applied, err)
		}
	})
}

// The reply to a refusal is lost like any other.
func TestLoseRefusal(t *testing.T) {
	f := faulty.Wrap(memory.New())
	f.LoseReply(faulty.Any, faulty.Every)
	if err := f.Delete(t.Context(), ws, backend.Condition{}); !errors.Is(err, backend.ErrUnknown) || errors.Is(err, backend.ErrNotExist) {
		t.Error(err)
	}
	info := lock.NewInfo("test")
	for range 2 { // the second is refused
		_, err := must[lock.Locker](f).Lock(t.Context(), ws, info)
		if unknown, ok := errors.AsType[*lock.UnknownError](err); !ok || unknown.ID != info.ID {
			t.Error(err)
		}
	}
}

// A service that imposes its IDs may not know what became of a lock, either.
func TestLoseDoubt(t *testing.T) {
	f := faulty.Wrap(backend.WithLocker(memory.New(), doubtful{memory.New()}))
	f.LoseReply(faulty.Lock, 1)
	_, err := must[lock.Locker](f).Lock(t.Context(), ws, lock.NewInfo("test"))
	if unknown, ok := errors.AsType[*lock.UnknownError](err); !ok || unknown.ID != "imposed" {
		t.Error(err)
	}
}

type doubtful struct{ lock.Locker }

func (doubtful) Lock(_ context.Context, workspace string, _ lock.Info) (lock.Info, error) {
	return lock.Info{}, &lock.UnknownError{Workspace: workspace, ID: "imposed", Err: lock.ErrTransient}
}

func TestLoseReplyOfList(t *testing.T) {
	f := faulty.Wrap(&probe{})
	f.LoseReply(faulty.List, 1)
	f.Fail(faulty.List, 2, nil)
	for _, want := range [][]string{{"a", "b", "error"}, {"error"}, {"a", "b"}} {
		var got []string
		for name, err := range f.List(t.Context()) {
			if err != nil {
				name = "error"
			}
			got = append(got, name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	for range f.List(t.Context()) {
		break // must not panic
	}
}

// An error ends the iteration, the inner one's too.
func TestListFailsOnce(t *testing.T) {
	inner := faulty.Wrap(&probe{})
	inner.Fail(faulty.List, 1, backend.ErrPermission)
	f := faulty.Wrap(inner)
	f.LoseReply(faulty.List, 1)
	if err := drain(f.List(t.Context())); !errors.Is(err, backend.ErrPermission) {
		t.Error(err)
	}
}

func TestDelay(t *testing.T) {
	each(t, func(t *testing.T, op faulty.Op, f *faulty.Backend, p *probe, call func(context.Context) error) {
		f.Delay(op, 1, time.Minute)
		f.Delay(op, faulty.Every, time.Hour) // they add up
		start := time.Now()
		if err := call(t.Context()); err != nil || time.Since(start) != time.Hour+time.Minute {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) || p.applied != 1 {
			t.Errorf("%d applied, %v", p.applied, err)
		}
	})
}

func TestHang(t *testing.T) {
	each(t, func(t *testing.T, op faulty.Op, f *faulty.Backend, p *probe, call func(context.Context) error) {
		reached, release := f.Hang(op, faulty.Every)
		err := hung(t, call, reached)
		if !errors.Is(err, context.Canceled) || errors.Is(err, backend.ErrUnknown) || p.applied != 0 {
			t.Errorf("%d applied, %v", p.applied, err)
		}
		time.AfterFunc(time.Minute, release)
		if err := call(t.Context()); err != nil || p.applied != 1 {
			t.Errorf("%d applied, %v", p.applied, err)
		}
	})
}

func TestHangReply(t *testing.T) {
	each(t, func(t *testing.T, op faulty.Op, f *faulty.Backend, p *probe, call func(context.Context) error) {
		reached, release := f.HangReply(op, faulty.Every)
		err := hung(t, call, reached)
		checkLost(t, op, err, context.Canceled)
		if !errors.Is(err, context.Canceled) || errors.Is(err, backend.ErrTransient) || p.applied != 1 {
			t.Errorf("%d applied, %v", p.applied, err)
		}
		defer release() // again
		time.AfterFunc(time.Minute, release)
		if err := call(t.Context()); err != nil || p.applied != 2 {
			t.Errorf("%d applied, %v", p.applied, err)
		}
	})
}

// hung makes a call and cancels it when it hangs.
func hung(t *testing.T, call func(context.Context) error, reached <-chan struct{}) error {
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-reached
		cancel()
	}()
	return call(ctx)
}

func TestNth(t *testing.T) {
	f := faulty.Wrap(memory.New())
	read := func() bool { return errors.Is(second(f.Read(t.Context(), ws)), backend.ErrTransient) }
	f.Fail(faulty.Any, 3, nil)
	f.Fail(faulty.Write, 1, nil)
	failed := []bool{read(), read(), read(), read()}
	_ = f.Delete(t.Context(), ws, backend.Condition{})
	f.Fail(faulty.Read, 2, nil) // from here on
	failed = append(failed, read(), read(), read())
	f.Fail(faulty.Read, faulty.Every, nil)
	failed = append(failed, read(), read())
	f.Heal()
	failed = append(failed, read())
	want := []bool{false, false, true, false, false, true, false, true, true, false}
	if diff := cmp.Diff(want, failed); diff != "" {
		t.Errorf("failed (-want +got):\n%s", diff)
	}
	if f.Calls(faulty.Any) != 11 || f.Calls(faulty.Read) != 10 || f.Calls(faulty.Write) != 0 {
		t.Error("calls are not counted")
	}
}

func second(_ backend.State, err error) error { return err }

// What makes no request meets with no fault.
func TestNoRequestNoFault(t *testing.T) {
	f := faulty.Wrap(memory.New())
	f.LoseReply(faulty.Any, faulty.Every)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Write(ctx, ws, []byte("x"), backend.Condition{}); !errors.Is(err, context.Canceled) || errors.Is(err, backend.ErrUnknown) {
		t.Error(err)
	}
	if _, err := f.Write(t.Context(), "a/b", []byte("x"), backend.Condition{}); !errors.Is(err, backend.ErrInvalidName) {
		t.Error(err)
	}
	if n := f.Calls(faulty.Any); n != 0 {
		t.Errorf("%d calls counted", n)
	}
}

func TestAnotherClientActs(t *testing.T) {
	b := memory.New()
	f := faulty.Wrap(b)
	write := func(ctx context.Context) error {
		_, err := b.Write(ctx, ws, []byte("another's"), backend.Condition{Revision: backend.AnyRevision})
		return err
	}
	f.Before(faulty.Write, 1, write)
	if _, err := f.Write(t.Context(), ws, []byte("mine"), backend.Condition{}); !errors.Is(err, backend.ErrConflict) {
		t.Error(err)
	}
	f.After(faulty.Write, 1, write)
	any := backend.Condition{Revision: backend.AnyRevision}
	if _, err := f.Write(t.Context(), ws, []byte("mine"), any); err != nil {
		t.Error(err)
	}
	if st, err := f.Read(t.Context(), ws); string(st.Data) != "another's" {
		t.Errorf("%s, %v", st.Data, err)
	}
}

func TestChaos(t *testing.T) {
	type tally struct{ failed, lost int }
	run := func(seed uint64) (pattern []bool, seen tally) {
		f := faulty.Wrap(&probe{})
		f.Chaos(faulty.Any, seed, 0.25, 0.2)
		for range 1000 {
			_, err := f.Write(t.Context(), ws, []byte("x"), backend.Condition{})
			pattern = append(pattern, err == nil)
			if errors.Is(err, backend.ErrTransient) {
				seen.failed++
			}
			if errors.Is(err, backend.ErrUnknown) {
				seen.lost++
			}
		}
		return pattern, seen
	}
	first, seen := run(1)
	// Expected are 250 of 1000 and 150 of the other 750; five sigmas either way.
	if seen.failed < 180 || seen.failed > 320 || seen.lost < 90 || seen.lost > 210 {
		t.Errorf("%+v", seen)
	}
	if again, _ := run(1); !slices.Equal(first, again) {
		t.Error("the same seed gives other faults")
	}
	if other, _ := run(2); slices.Equal(first, other) {
		t.Error("another seed gives the same faults")
	}
}

func TestAbilities(t *testing.T) {
	abilities := func(b backend.Backend) map[string]bool {
		has := map[string]bool{}
		_, has["Locker"] = backend.As[lock.Locker](b)
		_, has["Renewer"] = backend.As[lock.Renewer](b)
		_, has["Waiter"] = backend.As[lock.Waiter](b)
		_, has["Leaser"] = backend.As[lock.Leaser](b)
		_, has["Stater"] = backend.As[backend.Stater](b)
		_, has["Historian"] = backend.As[backend.Historian](b)
		_, has["itself"] = backend.As[*probe](b)
		maps.DeleteFunc(has, func(_ string, has bool) bool { return !has })
		return has
	}
	type yes = map[string]bool
	for name, test := range map[string]struct {
		inner backend.Backend
		want  yes
	}{
		"all":    {&probe{}, yes{"Locker": true, "Renewer": true, "Waiter": true, "Leaser": true, "Stater": true, "Historian": true}},
		"some":   {memory.New(), yes{"Locker": true, "Renewer": true, "Waiter": true, "Stater": true}},
		"none":   {struct{ backend.Backend }{memory.New()}, yes{}},
		"hidden": {backend.WithLocker(&probe{}, struct{ lock.Locker }{memory.New()}), yes{"Locker": true, "Stater": true, "Historian": true}},
	} {
		if diff := cmp.Diff(test.want, abilities(faulty.Wrap(test.inner))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

type closer struct {
	backend.Backend
	err error
}

func (c closer) Close() error { return c.err }

func TestCloseClosesTheInner(t *testing.T) {
	want := errors.New("closed")
	f := faulty.Wrap(closer{err: want})
	f.Fail(faulty.Any, faulty.Every, nil)
	if err := f.Close(); err != want {
		t.Error(err)
	}
}
