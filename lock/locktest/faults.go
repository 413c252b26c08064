package locktest

import (
	"context"
	"errors"
	"time"

	"github.com/statelatch/statelatch/internal/clause"
	"github.com/statelatch/statelatch/lock"
	"go.uber.org/goleak"
)

var faults = table{
	{
		Name:     "context ended before",
		Sentence: "A method whose context has ended returns an error that matches the context's, and changes nothing.",
		Check: func(e *env) {
			for kind, ctx := range e.Ended() {
				for method, err := range e.all(ctx, e.a, e.ws) {
					e.Is(method+" with an ended context", err, kind)
				}
			}
			e.free(e.b)
			stored := e.lock(e.a)
			for kind, ctx := range e.Ended() {
				e.Is("Unlock with an ended context", e.a.Unlock(ctx, e.ws, stored.ID), kind)
			}
			e.holds(e.b, stored)
		},
	},
	{
		Name:     "context ends during",
		Sentence: "When its context ends, Lock has taken the lock, or has not, or says that it may have (UnknownError); so with the other methods (ErrUnknown).",
		Check:    func(e *env) { e.rounds(30, 0.5) },
	},
	{
		Name:     "server hangs",
		Sentence: "A method returns promptly when its context ends.",
		Check: func(e *env) {
			e.Need("Hung", e.ns.Hung != nil)
			l := e.open(e.ns.Hung)
			for _, m := range e.methods(l, e.ws) {
				e.Hung(m.name, m.call)
			}
		},
	},
	{
		Name:     "lost reply to Lock",
		Sentence: "If the lock may have been taken and that could not be settled, the error is an *UnknownError; Unlock with its ID clears whatever is there.",
		Check: func(e *env) {
			e.Need("Lossy", e.ns.Lossy != nil)
			l := e.open(e.ns.Lossy)
			stored, err := l.Lock(e.Ctx, e.ws, e.info())
			var unknown *lock.UnknownError
			switch {
			case err == nil:
				e.holds(e.b, stored)
			case errors.As(err, &unknown):
				if err := l.Unlock(e.Ctx, e.ws, unknown.ID); err != nil {
					e.Is("Unlock with the ID of the *UnknownError", err, lock.ErrNotHeld)
				}
				e.free(e.b)
			default:
				e.Errorf("Lock whose reply was lost: got error %v, want none or an *UnknownError", err)
			}
		},
	},
	{
		Name:     "lost replies to two",
		Sentence: "A lock is held by the call that took it: of two callers with one and the same info, both of whose replies were lost, at most one has it.",
		Check: func(e *env) {
			e.Need("Lossy", e.ns.Lossy != nil)
			info := e.info()
			lockers := []lock.Locker{e.open(e.ns.Lossy), e.open(e.ns.Lossy)}
			errs := clause.Race(len(lockers), func(i int) error {
				_, err := lockers[i].Lock(e.Ctx, e.ws, info)
				return err
			})
			won := 0
			for _, err := range errs {
				var held *lock.HeldError
				switch {
				case err == nil:
					won++
				case !errors.As(err, &held):
					e.Is("Lock", err, lock.ErrUnknown)
				}
			}
			if won > 1 {
				e.Errorf("%d callers have the lock", won)
			}
		},
	},
	{
		Name:     "lost reply to Unlock",
		Sentence: "A lock that was released although the reply was lost is free, and Unlock does not say that it never was held.",
		Check: func(e *env) {
			e.Need("Lossy", e.ns.Lossy != nil)
			stored := e.lock(e.a)
			if err := e.open(e.ns.Lossy).Unlock(e.Ctx, e.ws, stored.ID); err != nil {
				e.Is("Unlock whose reply was lost", err, lock.ErrUnknown)
			}
			e.free(e.b)
		},
	},
	{
		Name:     "configured not to lock",
		Sentence: "A Locker that is configured not to lock returns errors.ErrUnsupported from all methods.",
		Check: func(e *env) {
			e.Need("Unlocked", e.ns.Unlocked != nil)
			for method, err := range e.all(e.Ctx, e.open(e.ns.Unlocked), e.ws) {
				e.Is(method+" of a Locker that is configured not to lock", err, errors.ErrUnsupported)
			}
		},
	},
	{
		Name:     "nothing left running",
		Sentence: "No method leaves a goroutine behind, whether it succeeds, fails or is cut short.",
		Alone:    true,
		Check: func(e *env) {
			before := goleak.IgnoreCurrent()
			l := e.ns.Open(e.TB)
			stored := e.lock(l)
			short, cancel := context.WithTimeout(e.Ctx, 20*time.Millisecond)
			defer cancel()
			e.all(short, l, e.ws)
			e.all(short, l, e.ws)
			e.Must("Unlock", l.Unlock(e.Ctx, e.ws, stored.ID))
			closeLocker(l)
			e.NothingLeft(before)
		},
	},
}

// A method of a Locker, ready to be called.
type method struct {
	name string
	call func(context.Context) error
}

// methods are those of l, Lock last: the others find the lock as it was.
func (e *env) methods(l lock.Locker, workspace string) []method {
	methods := []method{
		{"Unlock", func(ctx context.Context) error { return l.Unlock(ctx, workspace, lock.NewID()) }},
		{"Holder", func(ctx context.Context) error {
			_, err := l.Holder(ctx, workspace)
			return err
		}},
	}
	if r, ok := lock.As[lock.Renewer](l); ok {
		methods = append(methods, method{"Renew", func(ctx context.Context) error {
			_, err := r.Renew(ctx, workspace, lock.NewID())
			return err
		}})
	}
	if w, ok := lock.As[lock.Waiter](l); ok {
		methods = append(methods, method{"Wait", func(ctx context.Context) error { return w.Wait(ctx, workspace) }})
	}
	if w, ok := lock.As[lock.Watcher](l); ok {
		methods = append(methods, method{"Watch", func(ctx context.Context) error { return w.Watch(ctx, workspace, lock.NewID()) }})
	}
	return append(methods, method{"Lock", func(ctx context.Context) error {
		_, err := l.Lock(ctx, workspace, e.info())
		return err
	}})
}

// all calls each method of l, and returns their errors.
func (e *env) all(ctx context.Context, l lock.Locker, workspace string) map[string]error {
	errs := map[string]error{}
	for _, m := range e.methods(l, workspace) {
		errs[m.name] = m.call(ctx)
	}
	return errs
}
