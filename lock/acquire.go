package lock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Back-off while waiting for a lock whose Locker is no Waiter.
const (
	minDelay = 50 * time.Millisecond
	maxDelay = 1500 * time.Millisecond
)

// Options say how [Acquire] waits for a lock and how it keeps it. The zero value
// makes one attempt and takes a lock that does not expire.
type Options struct {
	// Timeout is how long to wait while somebody else holds the lock; 0 makes one
	// attempt. It counts from when the first attempt has met a holder; the context
	// bounds that attempt, and all of it.
	Timeout time.Duration

	// TTL asks for a lock that expires this long after its last renewal, in whole
	// seconds; it is renewed three times as often. 0 asks for a lock that does not
	// expire (or, of a Leaser, for its own TTL).
	TTL time.Duration

	// Check is how often a lock without TTL is looked at while it is held, to notice
	// that somebody has broken it; 0 means 30 s, negative means never.
	Check time.Duration

	// ReleaseTimeout bounds the release, and the cleaning up after a cancelled
	// attempt, which go on when the context has ended; 0 means 5 s.
	ReleaseTimeout time.Duration

	// OnWait, if not nil, is called before Acquire begins to wait, and whenever it
	// then finds another holder. It must not block.
	OnWait func(*HeldError)
}

func (o Options) check() time.Duration {
	if o.Check == 0 {
		return 30 * time.Second
	}
	return o.Check
}

// cleanup returns a context for what goes on when ctx has ended, which ReleaseTimeout
// bounds.
func (o Options) cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := o.ReleaseTimeout
	if timeout <= 0 {
		timeout = 5 * time.Second
	}
	return context.WithTimeout(context.WithoutCancel(ctx), timeout)
}

// Acquire takes the lock of a workspace, waiting for it as opts say, and keeps
// it: it renews a lock with a TTL, and notices when the lock is lost. Whatever
// info.ID was passed, each acquisition has a fresh one.
//
// The first attempt is made at once. While somebody holds the lock, Acquire waits
// as long as the Locker's own [Waiter] says, or else with jittered delays that
// grow from 50 ms to 1.5 s, looks at the holder, and tries again only when nobody
// holds it.
//
// If the wait ends without the lock, the error is a *[HeldError] with the last
// holder; if ctx ended, it matches ctx.Err() too. If an attempt may have taken the
// lock, or may yet take it, and Acquire could not clear it, the error is or holds an
// *[UnknownError].
func Acquire(ctx context.Context, l Locker, workspace string, info Info, opts Options) (*Lock, error) {
	a := acquisition{l: l, workspace: workspace, info: info, opts: opts}
	a.info.ID = NewID()
	a.info.TTL = opts.TTL
	if leaser, ok := As[Leaser](l); ok && opts.TTL == 0 {
		a.info.TTL = leaser.LeaseTTL()
	}
	if _, ok := As[Renewer](l); !ok && a.info.TTL > 0 {
		return nil, fmt.Errorf("a lock that expires cannot be kept here: %w", errors.ErrUnsupported)
	}
	stored, err := a.take(ctx)
	var held *HeldError
	switch {
	case errors.As(err, &held) && opts.Timeout > 0:
		stored, err = a.wait(ctx, held)
	case held != nil && a.late(ctx, held.Holder): // its request was delivered twice
		stored, err = a.take(ctx)
	}
	if err != nil {
		return nil, err
	}
	return hold(ctx, l, workspace, stored, a.asked, opts), nil
}

// An acquisition is one call of Acquire.
type acquisition struct {
	l         Locker
	workspace string
	info      Info
	opts      Options
	asked     time.Time       // when the last attempt began
	doubts    []*UnknownError // the attempts that may yet take the lock
}

// take makes one attempt. What it may have left behind, it clears, if it can.
func (a *acquisition) take(ctx context.Context) (Info, error) {
	a.asked = time.Now()
	a.info.Created = a.asked.UTC()
	stored, err := a.l.Lock(ctx, a.workspace, a.info)
	var unknown *UnknownError
	var held *HeldError
	if !errors.As(err, &unknown) {
		return stored, err
	}
	a.doubts = append(a.doubts, unknown)
	if errors.As(err, &held) && errors.As(held.Err, &unknown) || !a.clear(ctx, unknown.ID) {
		return Info{}, err // as long as another holds the lock, there is nothing to clear
	}
	// Of the cause only the text, and whether ctx ended: its kind would say that the
	// lock may be there.
	err = fmt.Errorf("%w: an attempt to lock workspace %q was undone: %v", ErrTransient, a.workspace, unknown.Err)
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return Info{}, err
}

// clear takes back what an attempt in doubt has left, and reports whether it was
// there. Not even "not held" settles the matter: the attempt may arrive after this.
func (a *acquisition) clear(ctx context.Context, id string) bool {
	ctx, cancel := a.opts.cleanup(ctx)
	defer cancel()
	if a.l.Unlock(ctx, a.workspace, id) != nil {
		return false
	}
	if i := a.doubt(id); i >= 0 { // one: another attempt with that ID may still be on its way
		a.doubts = slices.Delete(a.doubts, i, i+1)
	}
	return true
}

func (a *acquisition) doubt(id string) int {
	return slices.IndexFunc(a.doubts, func(u *UnknownError) bool { return u.ID == id })
}

// late reports whether it was an attempt of ours, after all, that took the lock, and
// is cleared now.
func (a *acquisition) late(ctx context.Context, holder Info) bool {
	if holder.ID != a.info.ID && holder.Ref != a.info.ID {
		return false
	}
	if a.doubt(holder.ID) < 0 {
		a.doubts = append(a.doubts, &UnknownError{Workspace: a.workspace, ID: holder.ID, Err: errors.New("an attempt took the lock late")})
	}
	return a.clear(ctx, holder.ID)
}

// wait waits for the lock, which held was found to hold, and takes it.
func (a *acquisition) wait(ctx context.Context, held *HeldError) (Info, error) {
	limited, cancel := context.WithTimeout(ctx, a.opts.Timeout)
	defer cancel()
	pause := pauses(a.l, a.workspace)
	a.tell(nil, held)
	for pause(limited) {
		before := held
		stored, err := a.again(limited)
		switch {
		case errors.As(err, &held):
			a.tell(before, held)
		case errors.Is(err, ErrTransient): // keep the place in the queue
		case err == nil || limited.Err() == nil || errors.Is(err, ErrUnknown):
			return stored, err
		}
	}
	return Info{}, a.gaveUp(ctx, held)
}

// again looks who holds the lock, and makes an attempt if nobody does, or if that
// cannot be seen.
func (a *acquisition) again(ctx context.Context) (Info, error) {
	if holder, err := a.l.Holder(ctx, a.workspace); err == nil && !a.late(ctx, holder) {
		return Info{}, &HeldError{Workspace: a.workspace, Holder: holder}
	}
	stored, err := a.take(ctx)
	if held := (*HeldError)(nil); errors.As(err, &held) && a.late(ctx, held.Holder) {
		return Info{}, fmt.Errorf("%w: a late attempt to lock workspace %q was undone", ErrTransient, a.workspace)
	}
	return stored, err
}

func (a *acquisition) tell(before, held *HeldError) {
	if a.opts.OnWait != nil && (before == nil || before.Holder.ID != held.Holder.ID) {
		a.opts.OnWait(held)
	}
}

// gaveUp is the error of a wait that ended without the lock.
func (a *acquisition) gaveUp(ctx context.Context, held *HeldError) error {
	why := context.Cause(ctx)
	if ctx.Err() == nil {
		why = fmt.Errorf("gave up after %s", a.opts.Timeout)
	} else if !errors.Is(why, ctx.Err()) {
		why = fmt.Errorf("%w: %w", ctx.Err(), why)
	}
	if len(a.doubts) > 0 { // one of them may have taken it since
		looking, cancel := a.opts.cleanup(ctx)
		defer cancel()
		if holder, err := a.l.Holder(looking, a.workspace); err == nil {
			a.late(ctx, holder)
		}
	}
	for _, doubt := range a.doubts {
		why = fmt.Errorf("%w; %w", why, doubt)
	}
	return &HeldError{Workspace: a.workspace, Holder: held.Holder, Err: why}
}

// pauses returns a function that waits until the lock may be free, or for the
// next delay; it reports false when ctx has ended.
func pauses(l Locker, workspace string) func(context.Context) bool {
	waiter, _ := As[Waiter](l)
	delay := minDelay
	return func(ctx context.Context) bool {
		if waiter != nil {
			start := time.Now()
			err := waiter.Wait(ctx, workspace)
			if err == nil && time.Since(start) >= minDelay {
				delay = minDelay
				return ctx.Err() == nil
			}
			// Told at once, or not at all: without a delay this would spin.
		}
		// Between half of delay and all of it, so that waiters spread out.
		timer := time.NewTimer(delay/2 + rand.N(delay/2))
		defer timer.Stop()
		delay = min(2*delay, maxDelay)
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return ctx.Err() == nil
		}
	}
}
