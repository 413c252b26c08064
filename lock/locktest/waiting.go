package locktest

import (
	"context"
	"errors"
	"time"

	"github.com/statelatch/statelatch/lock"
)

var waiting = table{
	{
		Name:     "wait and hand over",
		Sentence: "While somebody holds the lock, Acquire tells OnWait who, waits, and takes the lock when it is released.",
		Check: func(e *env) {
			first := e.lock(e.a)
			told := make(chan *lock.HeldError, 1)
			type result struct {
				lock *lock.Lock
				err  error
			}
			done := make(chan result, 1)
			go func() {
				l, err := lock.Acquire(e.Ctx, e.b, e.ws, e.info(), lock.Options{
					Timeout: time.Minute,
					OnWait:  func(held *lock.HeldError) { told <- held },
				})
				done <- result{l, err}
			}()
			select {
			case held := <-told:
				e.same("OnWait was told of", held.Holder, first)
			case early := <-done:
				e.Fatalf("Acquire did not wait: lock %v, error %v", early.lock, early.err)
			}
			e.Must("Unlock by the first holder", e.a.Unlock(e.Ctx, e.ws, first.ID))
			second := <-done
			e.Must("Acquire", second.err)
			e.holds(e.a, second.lock.Info())
			e.Must("Release", second.lock.Release(e.Ctx))
			e.free(e.a)
		},
	},
	{
		Name:     "release after cancellation",
		Sentence: "Release gives the lock back although its context, and that of Acquire, have ended.",
		Check: func(e *env) {
			ctx, cancel := context.WithCancel(e.Ctx)
			defer cancel()
			l, err := lock.Acquire(ctx, e.a, e.ws, e.info(), lock.Options{})
			e.Must("Acquire", err)
			cancel()
			e.Must("Release", l.Release(ctx))
			e.free(e.b)
		},
	},
	{
		Name:     "wait",
		Sentence: "Wait returns nil when the lock may be free, at once if nobody holds it, and takes nothing; it returns an error when its context ends.",
		Check: func(e *env) {
			w, ok := lock.As[lock.Waiter](e.b)
			e.Need("Waiter", ok)
			e.Must("Wait for a free lock", w.Wait(e.Ctx, e.ws))
			stored := e.lock(e.a)
			waited := make(chan error, 1)
			go func() { waited <- w.Wait(e.Ctx, e.ws) }()
			e.Hung("Wait for a held lock", func(ctx context.Context) error { return e.waitOn(ctx, w) })
			e.Must("Unlock", e.a.Unlock(e.Ctx, e.ws, stored.ID))
			e.Must("Wait for a lock that was released meanwhile", <-waited)
			e.free(e.b)
		},
	},
	{
		Name:     "watch",
		Sentence: "Watch returns nil when id no longer holds the lock, at once if it does not, and an error when its context ends.",
		Check: func(e *env) {
			w, ok := lock.As[lock.Watcher](e.a)
			e.Need("Watcher", ok)
			e.Must("Watch over a lock that nobody holds", w.Watch(e.Ctx, e.ws, lock.NewID()))
			stored := e.lock(e.a)
			e.Must("Watch over a lock that another holds", w.Watch(e.Ctx, e.ws, lock.NewID()))
			watched := make(chan error, 1)
			go func() { watched <- w.Watch(e.Ctx, e.ws, stored.ID) }()
			e.Hung("Watch over a lock that is held", func(ctx context.Context) error { return w.Watch(ctx, e.ws, stored.ID) })
			select {
			case early := <-watched:
				e.Errorf("Watch over a lock that is held returned %v", early)
				return
			default:
			}
			e.Must("Unlock by another client", e.b.Unlock(e.Ctx, e.ws, stored.ID))
			e.Must("Watch over a lock that was lost", <-watched)
		},
	},
}

// waitOn waits until ctx ends: Wait may return before, with nothing to tell.
func (e *env) waitOn(ctx context.Context, w lock.Waiter) error {
	for {
		if err := w.Wait(ctx, e.ws); err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
	}
}
