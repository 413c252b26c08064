package locktest

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/statelatch/statelatch/lock"
)

// Mutants whose locks expire wrongly.
var expirers = []mutant{
	mutate("never expires", "A lock with a TTL is stored as one without.",
		[]string{"expired lock is taken over", "expired lock is not held"},
		withTTL(func(time.Duration) time.Duration { return 0 })),
	mutate("expires early", "A lock is stored with half its TTL.",
		[]string{"expired lock is taken over", "expired lock is not held"},
		withTTL(func(ttl time.Duration) time.Duration { return (ttl / 2).Truncate(time.Second) })),
	mutate("always expires", "A lock without TTL is stored with one of an hour.",
		[]string{"no TTL, no expiry"},
		withTTL(func(ttl time.Duration) time.Duration {
			if ttl == 0 {
				return time.Hour
			}
			return ttl
		})),
	mutate("TTL clamped", "A TTL above a day becomes one of a day.",
		[]string{"TTL is never clamped"},
		withTTL(func(ttl time.Duration) time.Duration { return min(ttl, 24*time.Hour) })),
	mutate("no-op renewal", "Renew succeeds and does nothing.",
		[]string{"renew"},
		func(b *broken) {
			b.renew = func(ctx context.Context, ws, _ string) (info, error) { return b.Holder(ctx, ws) }
		}),
	mutate("anybody renews", "Renew renews whatever lock is there.",
		[]string{"renew with another ID", "expired lock is taken over"},
		func(b *broken) {
			b.renew = func(ctx context.Context, ws, id string) (info, error) {
				if holder, err := b.Holder(ctx, ws); err == nil {
					id = holder.ID
				}
				return b.service.Renew(ctx, ws, id)
			}
		}),
	mutate("look-then-put takeover", "Lock looks whether a lock has expired, then stores its own.",
		[]string{"one winner of an expired lock"},
		func(b *broken) {
			b.lock = b.remembering(func(ctx context.Context, ws string, in info) (info, error) {
				if !b.expired(ctx, ws) {
					return b.service.Lock(ctx, ws, in)
				}
				time.Sleep(20 * time.Millisecond)
				record, err := json.Marshal(in)
				b.store.SetLockRecord(ws, record)
				return in, err
			})
		}),
	mutate("look-then-put renewal", "Renew looks whether anybody holds the lock, then stores the holder's again.",
		[]string{"one winner of an expired lock"},
		func(b *broken) {
			b.lock = b.remembering(func(ctx context.Context, ws string, in info) (info, error) {
				if b.expired(ctx, ws) {
					time.Sleep(20 * time.Millisecond)
				}
				return b.service.Lock(ctx, ws, in)
			})
			b.renew = func(ctx context.Context, ws, id string) (info, error) {
				if !b.expired(ctx, ws) {
					return b.service.Renew(ctx, ws, id)
				}
				time.Sleep(40 * time.Millisecond)
				renewed, err := b.store.Holder(ctx, expiring)
				if err != nil {
					return none, err
				}
				record, err := json.Marshal(renewed)
				b.store.SetLockRecord(ws, record)
				return renewed, err
			}
		}),
}

// expiring is a workspace beside, whose lock is the last one with a TTL that was taken.
const expiring = "expiring"

// remembering is a Lock that remembers locks with a TTL.
func (b *broken) remembering(take func(context.Context, string, info) (info, error)) func(context.Context, string, info) (info, error) {
	return func(ctx context.Context, ws string, in info) (info, error) {
		stored, err := take(ctx, ws, in)
		if err == nil && stored.TTL > 0 {
			lasting := stored
			lasting.TTL = 0
			record, _ := json.Marshal(lasting)
			b.store.SetLockRecord(expiring, record)
		}
		return stored, err
	}
}

// expired reports whether a lock is there, and nobody's any longer.
func (b *broken) expired(ctx context.Context, ws string) bool {
	_, taken := b.store.Holder(ctx, expiring)
	_, err := b.store.Holder(ctx, ws)
	return taken == nil && errors.Is(err, lock.ErrNotHeld)
}

// withTTL stores another TTL than was asked for, and hides it.
func withTTL(change func(time.Duration) time.Duration) func(*broken) {
	return func(b *broken) {
		asked := map[string]time.Duration{} // by ID: each of these clauses is one goroutine
		b.lock = func(ctx context.Context, ws string, in info) (info, error) {
			asked[in.ID] = in.TTL
			in.TTL = change(in.TTL)
			stored, err := b.service.Lock(ctx, ws, in)
			stored.TTL = asked[stored.ID]
			return stored, err
		}
	}
}
