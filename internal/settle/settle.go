// Package settle finds out what became of a conditional request.
//
// A reply can be lost after the server applied the request. Whoever then repeats
// it meets itself: the repetition is refused, since the condition no longer holds,
// and looks like a conflict with somebody else. So the services switch off their
// vendor's retries for conditional requests and hand each one to [Do]: the one
// place that decides whether a write, a delete, a lock or an unlock may be made
// again, succeeded long ago, or has to be reported as unknown.
//
// Nothing else in this module repeats a conditional request that may have been
// applied. The vendors' own retries remain for plain reads, and for writes that say
// the same however often they arrive, and that a condition keeps out once others have
// written since, such as that of a digest.
package settle

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/statelatch/statelatch/backend"
)

// Found is what looking after a doubtful attempt has shown.
type Found int

const (
	// Other: what is stored is neither this call's nor what it was to replace. This
	// call's value may have been there in between.
	Other Found = iota
	// Before: what the request was to replace is still there, so the request can be
	// made again: its condition lets at most one of them through.
	Before
	// Ours: what is stored is this very call's, known by a token that no other call
	// has, and by its bytes.
	Ours
)

// A Request is a conditional request and how to find out what became of it.
type Request[T any] struct {
	// Try makes the request once. Its error says what is known, by its kind:
	// backend.ErrTransient, it was not applied and may be made again;
	// backend.ErrUnknown, it may have been applied; any other, it was refused.
	Try func(ctx context.Context) (T, error)

	// Look reads back what is stored, with the result that Try would have returned if
	// it is ours. Nil means that nothing can be told by looking.
	Look func(ctx context.Context) (T, Found, error)

	// Once forbids to make a request again that may have been applied: it has no
	// condition that would stop the second.
	Once bool

	// Attempts is the most attempts that are made; below one, it means 5.
	Attempts int

	// Unknown makes the error for an outcome that stays in doubt; nil means
	// an error of kind backend.ErrUnknown. why is the last attempt's error, and what
	// looking has shown or why it failed.
	Unknown func(why error) error
}

// Do makes the request, again where that is safe, until it succeeded, was refused,
// or its outcome stays in doubt. It waits between attempts with jittered delays
// that double, or as long as the server asks (see [RetryAfter]), and returns
// promptly when ctx ends.
func Do[T any](ctx context.Context, r Request[T]) (T, error) {
	var none T
	doubt := false // some attempt may have been applied, or may yet be
	for attempt := 1; ; attempt++ {
		result, err := r.Try(ctx)
		if err == nil {
			return result, nil
		}
		again := errors.Is(err, backend.ErrTransient)
		if errors.Is(err, backend.ErrUnknown) {
			doubt, again = true, !r.Once
		}
		if doubt {
			result, found, why := r.look(ctx, err)
			if found == Ours {
				return result, nil
			}
			if why != nil {
				return none, r.unknown(ctx, why)
			}
		}
		if again && attempt < r.attempts() && pause(ctx, attempt, err) {
			continue
		}
		if doubt {
			return none, r.unknown(ctx, err)
		}
		if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
			err = fmt.Errorf("%w: %w", ended, err)
		}
		return none, err
	}
}

// look looks after a doubtful attempt that ended in err. A why that is not nil
// ends the matter.
func (r Request[T]) look(ctx context.Context, err error) (result T, found Found, why error) {
	if r.Look == nil || ctx.Err() != nil {
		return result, Other, err
	}
	result, found, failed := r.Look(ctx)
	switch {
	case failed != nil:
		return result, Other, fmt.Errorf("%w; and looking at what is stored failed: %w", err, failed)
	case found == Other:
		return result, Other, fmt.Errorf("%w; and what is stored now is neither what was sent nor what it replaces", err)
	}
	return result, found, nil
}

func (r Request[T]) attempts() int {
	if r.Attempts < 1 {
		return 5
	}
	return r.Attempts
}

// unknown makes the final error. Of why only the text goes into it, and whether ctx
// ended: its kind, such as a conflict, would claim that nothing has changed.
func (r Request[T]) unknown(ctx context.Context, why error) error {
	err := errors.New(why.Error())
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: %v", ctx.Err(), why)
	}
	if r.Unknown != nil {
		return r.Unknown(err)
	}
	return fmt.Errorf("%w: %w", backend.ErrUnknown, err)
}

// pause waits before the next attempt; it reports false if ctx ends first.
func pause(ctx context.Context, attempt int, err error) bool {
	delay := min(50*time.Millisecond<<min(attempt, 10), 10*time.Second)
	delay = delay/2 + rand.N(delay/2)
	var asked *retryAfter
	if errors.As(err, &asked) {
		delay = max(delay, asked.delay)
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Unseen is why the outcome of a request is unknown that was refused, perhaps against
// itself, when looking whose it is that is stored has failed. Of both only the text goes
// into it: their kinds would claim that nothing has changed.
func Unseen(refused, failed error) error {
	return fmt.Errorf("%v; and whose is stored was not to be seen: %v", refused, failed)
}

// RetryAfter adds to err that the server asks not to be asked again before delay, if
// it does.
func RetryAfter(err error, delay time.Duration) error {
	if delay <= 0 {
		return err
	}
	return &retryAfter{err, delay}
}

type retryAfter struct {
	error
	delay time.Duration
}

func (r *retryAfter) Unwrap() error { return r.error }
