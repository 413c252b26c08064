package faulty

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/statelatch/statelatch/backend"
)

// Every, as the n of a fault, stands for each call from then on.
const Every = 0

var errLost = errors.New("the reply was lost")

// A rule is about the at-th call of a kind since Wrap, or about Every.
type rule struct {
	op            Op
	at            int
	before, after func(context.Context) error
}

func nothing(context.Context) error { return nil }

// Before runs act before a call is applied: another client's write, say, or the
// end of the context. If act returns an error, the call is not applied, and fails
// as by Fail.
func (f *Backend) Before(op Op, n int, act func(ctx context.Context) error) {
	f.add(rule{op, n, act, nothing})
}

// After runs act when a call has been applied, before its caller gets the reply. If
// act returns an error, the reply is lost, for that reason.
func (f *Backend) After(op Op, n int, act func(ctx context.Context) error) {
	f.add(rule{op, n, nothing, act})
}

// Fail lets a call fail, not applied, with an error of kind err; nil stands for
// [backend.ErrTransient]. An err that is, or holds, one of the error types of
// package backend or lock is returned as it is.
func (f *Backend) Fail(op Op, n int, err error) {
	err = cmp.Or(err, backend.ErrTransient)
	f.Before(op, n, func(context.Context) error { return err })
}

// LoseReply loses the reply to a call that has been applied.
func (f *Backend) LoseReply(op Op, n int) {
	f.After(op, n, func(context.Context) error { return errLost })
}

// Delay holds a call for d before it is applied. If its context ends meanwhile, it
// is not applied.
func (f *Backend) Delay(op Op, n int, d time.Duration) {
	f.Before(op, n, func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// Hang holds a call before it is applied, until release is called. If its context
// ends meanwhile, it is not applied. reached is closed when a call hangs.
func (f *Backend) Hang(op Op, n int) (reached <-chan struct{}, release func()) {
	hold, reached, release := gate()
	f.Before(op, n, hold)
	return reached, release
}

// HangReply holds the reply to a call that has been applied, until release is
// called. If its context ends meanwhile, the reply is lost. reached is closed when
// a call hangs.
func (f *Backend) HangReply(op Op, n int) (reached <-chan struct{}, release func()) {
	hold, reached, release := gate()
	f.After(op, n, hold)
	return reached, release
}

// gate returns a function that holds its callers until release.
func gate() (hold func(context.Context) error, reached <-chan struct{}, release func()) {
	arrived, opened := make(chan struct{}), make(chan struct{})
	arrive := sync.OnceFunc(func() { close(arrived) })
	hold = func(ctx context.Context) error {
		arrive()
		select {
		case <-opened:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return hold, arrived, sync.OnceFunc(func() { close(opened) })
}

// Chaos lets a random share of the calls fail, from 0 to 1, and loses the replies
// to a random share of the others. One caller alone meets with the same faults
// whenever the seed is the same; print it when the test fails.
func (f *Backend) Chaos(op Op, seed uint64, fail, lose float64) {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0))
	sometimes := func(share float64, err error) func(context.Context) error {
		return func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			if random.Float64() < share {
				return err
			}
			return nil
		}
	}
	f.add(rule{op, Every, sometimes(fail, backend.ErrTransient), sometimes(lose, errLost)})
}

// Heal takes all faults away. What hangs goes on hanging, until its release or the
// end of its context.
func (f *Backend) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// add puts a rule to work, whose at counts from the next call.
func (f *Backend) add(r rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.at > 0 {
		r.at += f.calls[r.op]
	}
	f.rules = append(f.rules, r)
}

// count counts a call and returns the rules that are about it.
func (f *Backend) count(op Op) (due []rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[op]++
	f.calls[Any]++
	for _, r := range f.rules {
		if (r.op == op || r.op == Any) && (r.at == Every || r.at == f.calls[r.op]) {
			due = append(due, r)
		}
	}
	return due
}
