package locktest

import (
	"errors"
	"time"

	"github.com/statelatch/statelatch/lock"
)

var expiry = table{
	{
		Name:     "expired lock is taken over",
		Sentence: "A lock with a TTL can be taken when that has passed since its last renewal, and not before; it then is the new holder's alone.",
		Check: func(e *env) {
			r, clock := e.renewer()
			first := e.lockFor(e.a, e.ttl())
			var second lock.Info
			clock.expiry(first, func() bool {
				var err error
				second, err = e.b.Lock(e.Ctx, e.ws, e.info())
				if err != nil {
					e.held("Lock of a lock that has not expired", err, first)
				}
				return err == nil
			})
			e.holds(e.a, second)
			e.held("Unlock by the holder before", e.a.Unlock(e.Ctx, e.ws, first.ID), second)
			_, err := r.Renew(e.Ctx, e.ws, first.ID)
			e.held("Renew by the holder before", err, second)
			e.holds(e.a, second)
		},
	},
	{
		Name:     "one winner of an expired lock",
		Sentence: "A lock that has expired is taken, or renewed, by one of all who try to at once.",
		Check: func(e *env) {
			rounds := 1
			if e.ns.Advance != nil { // then they cost nothing
				rounds = 5
			}
			for range rounds {
				r, clock := e.renewer()
				first := e.lockFor(e.a, e.ttl())
				clock.expiry(first, func() bool {
					_, err := e.b.Holder(e.Ctx, e.ws)
					return errors.Is(err, lock.ErrNotHeld)
				})
				winner := e.oneWinnerOf(17, func(i int) (lock.Info, error) {
					if i > 0 {
						return []lock.Locker{e.a, e.b}[i%2].Lock(e.Ctx, e.ws, e.info())
					}
					renewed, err := r.Renew(e.Ctx, e.ws, first.ID)
					if errors.Is(err, lock.ErrNotHeld) { // it need not be renewed
						err = &lock.HeldError{Workspace: e.ws, Err: err}
					}
					return renewed, err
				})
				e.Must("Unlock", e.a.Unlock(e.Ctx, e.ws, winner.ID))
			}
		},
	},
	{
		Name:     "expired lock is not held",
		Sentence: "A lock that has expired is not held: Holder returns ErrNotHeld.",
		Check: func(e *env) {
			_, clock := e.renewer()
			stored := e.lockFor(e.a, e.ttl())
			clock.expiry(stored, func() bool {
				seen, err := e.b.Holder(e.Ctx, e.ws)
				if err != nil {
					e.Is("Holder", err, lock.ErrNotHeld)
				} else {
					e.same("Holder returned", seen, stored)
				}
				return err != nil
			})
		},
	},
	{
		Name:     "renew",
		Sentence: "Renew lets the TTL of the lock start again, and returns the Info as now stored.",
		Check: func(e *env) {
			r, clock := e.renewer()
			stored := e.lockFor(e.a, e.ttl())
			for range 3 {
				clock.advance(e.ttl() * 6 / 10)
				renewed, err := r.Renew(e.Ctx, e.ws, stored.ID)
				e.Must("Renew", err)
				e.same("Renew returned", renewed, stored)
			}
			e.holds(e.b, stored)
			_, err := e.b.Lock(e.Ctx, e.ws, e.info())
			e.held("Lock of a renewed lock", err, stored)
		},
	},
	{
		Name:     "renew with another ID",
		Sentence: "If id does not hold the lock, the error of Renew is a *HeldError, or matches ErrNotHeld where nobody does.",
		Check: func(e *env) {
			r, _ := e.renewer()
			_, err := r.Renew(e.Ctx, e.ws, lock.NewID())
			e.Is("Renew when nobody holds the lock", err, lock.ErrNotHeld)
			stored := e.lockFor(e.a, e.ttl())
			for _, id := range []string{lock.NewID(), "", stored.ID + "x"} {
				_, err := r.Renew(e.Ctx, e.ws, id)
				e.held("Renew with another ID", err, stored)
			}
		},
	},
	{
		Name:     "no TTL, no expiry",
		Sentence: "A lock without TTL never expires by itself.",
		Check: func(e *env) {
			e.Need("Advance", e.ns.Advance != nil)
			stored := e.lock(e.a)
			e.ns.Advance(10 * 365 * 24 * time.Hour)
			e.holds(e.b, stored)
			_, err := e.b.Lock(e.Ctx, e.ws, e.info())
			e.held("Lock after ten years", err, stored)
		},
	},
	{
		Name:     "TTL is never clamped",
		Sentence: "A locker that has no locks that expire, or not in that range, returns errors.ErrUnsupported; it never clamps, and takes no lock then.",
		Check: func(e *env) {
			_, renews := lock.As[lock.Renewer](e.a)
			for _, ttl := range []time.Duration{-time.Second, time.Nanosecond, 2500 * time.Millisecond, 5 * time.Second, time.Hour, 30 * 24 * time.Hour} {
				info := e.info()
				info.TTL = ttl
				stored, err := e.a.Lock(e.Ctx, e.ws, info)
				if err != nil {
					if ttl >= time.Second && ttl%time.Second == 0 {
						e.Is("Lock with TTL "+ttl.String(), err, errors.ErrUnsupported)
					}
					e.free(e.b)
					continue
				}
				if !renews || ttl <= 0 || stored.TTL != ttl {
					e.Errorf("Lock with TTL %s returned one of %s", ttl, stored.TTL)
				}
				e.holds(e.b, stored)
				e.Must("Unlock", e.a.Unlock(e.Ctx, e.ws, stored.ID))
			}
		},
	},
}

func (e *env) ttl() time.Duration {
	if e.target.TTL == 0 {
		return 2 * time.Second
	}
	return e.target.TTL
}

// renewer returns the Renewer of the first client, and a clock.
func (e *env) renewer() (lock.Renewer, *clock) {
	e.Helper()
	r, ok := lock.As[lock.Renewer](e.a)
	e.Need("Renewer", ok)
	return r, &clock{env: e, start: time.Now()}
}

func (e *env) lockFor(l lock.Locker, ttl time.Duration) lock.Info {
	e.Helper()
	info := e.info()
	info.TTL = ttl
	stored, err := l.Lock(e.Ctx, e.ws, info)
	e.Must("Lock with TTL "+ttl.String(), err)
	return stored
}

// A clock is the service's: where it cannot be set, the real one.
type clock struct {
	env     *env
	start   time.Time
	skipped time.Duration
}

func (c *clock) advance(d time.Duration) {
	if c.env.ns.Advance == nil {
		time.Sleep(d)
		return
	}
	c.env.ns.Advance(d)
	c.skipped += d
}

func (c *clock) elapsed() time.Duration { return time.Since(c.start) + c.skipped }

// expiry looks from time to time whether a lock, taken after c was made, has
// expired, and fails the test if that is too early, since its holder still counts on
// it, or too late. A service may be in no hurry (Consul takes up to twice the TTL).
func (c *clock) expiry(stored lock.Info, expired func() bool) {
	c.env.Helper()
	for ttl := stored.TTL; !expired(); c.advance(ttl / 10) {
		if c.elapsed() > 3*ttl+5*time.Second {
			c.env.Fatalf("a lock of %s has not expired after %s", ttl, c.elapsed())
		}
	}
	if c.elapsed() < stored.TTL {
		c.env.Errorf("a lock of %s expired after %s", stored.TTL, c.elapsed())
	}
}
