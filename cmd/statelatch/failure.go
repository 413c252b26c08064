package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/statefile"
)

// Exit codes. The help topic exit-codes says what they mean; they do not change.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitHeld        = 3
	exitConflict    = 4
	exitNotFound    = 5
	exitPermission  = 6
	exitUnknown     = 7
	exitLost        = 8
	exitNotRunnable = 126
	exitNoCommand   = 127
	exitInterrupted = 130
	exitBrokenPipe  = 141 // quietly, as whoever was to read it is gone
)

// errNoLocks is for backends without locks.
var errNoLocks = fmt.Errorf("this backend has no locks: %w", errors.ErrUnsupported)

// A usageError says that the command line cannot be meant; nothing was done.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// An openError says that a backend could not be opened.
type openError struct{ error }

func (e *openError) Unwrap() error { return e.error }

// A missingError says that there is no such thing.
type missingError struct{ error }

func (e *missingError) Unwrap() error { return e.error }

// A deniedError says that a file of the user's may not be read or written.
type deniedError struct{ error }

func (e *deniedError) Unwrap() error { return e.error }

// A lostError says that a lock ended while it was needed.
type lostError struct{ error }

func (e *lostError) Unwrap() error { return e.error }

// underLock is for errors of what is done under a lock: that the lock is not held says
// there that it was lost.
func underLock(err error) error {
	release, ok := errors.AsType[*lock.ReleaseError](err)
	if errors.Is(err, lock.ErrNotHeld) || ok && as[*lock.HeldError](release.Err) {
		return &lostError{err}
	}
	return err
}

// An exitError ends the command with a code, after printing the error it holds, if
// any.
type exitError struct {
	code int
	error
}

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

func (e *exitError) Unwrap() error { return e.error }

// A classedError is of a class that its text does not show.
type classedError struct {
	class
	error
}

func (e *classedError) Unwrap() error { return e.error }

// A hintedError has advice with it.
type hintedError struct {
	error
	hint string
}

func (e *hintedError) Unwrap() error { return e.error }

// A savedError says where that is which could not be stored.
type savedError struct {
	error
	file string
}

func (e *savedError) Unwrap() error { return e.error }

// hinted adds advice to err, if there is an error.
func hinted(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &hintedError{err, hint}
}

// withCause adds to err the signal that ended ctx.
func withCause(ctx context.Context, err error) error {
	var sig signalled
	if err != nil && errors.As(context.Cause(ctx), &sig) && !errors.As(err, &sig) &&
		(errors.Is(err, context.Canceled) || classify(err).code == exitInterrupted) {
		return fmt.Errorf("%w: %w", err, sig)
	}
	return err
}

// A class is what an error is to a script.
type class struct {
	kind string
	code int
}

func is(kind error) func(error) bool { return func(err error) bool { return errors.Is(err, kind) } }

func as[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

// classes are tried in this order: what was refused before anything was done first,
// and an outcome that nobody knows before any that is certain.
var classes = []struct {
	class
	match func(error) bool
}{
	{class{"usage", exitUsage}, as[*usageError]},
	{class{"usage", exitUsage}, is(backend.ErrInvalidName)},
	{class{"configuration", exitUsage}, misconfigured},
	{class{"lost", exitLost}, as[*lostError]},
	{class{"interrupted", exitInterrupted}, waiting},
	{class{"held", exitHeld}, as[*lock.HeldError]},
	{class{"unknown", exitUnknown}, is(backend.ErrUnknown)},
	{class{"conflict", exitConflict}, is(backend.ErrConflict)},
	{class{"conflict", exitConflict}, as[*statefile.SerialError]},
	{class{"conflict", exitConflict}, as[*statefile.LineageError]},
	{class{"permission", exitPermission}, is(backend.ErrPermission)},
	{class{"permission", exitPermission}, as[*deniedError]},
	{class{"not_found", exitNotFound}, as[*missingError]},
	{class{"not_found", exitNotFound}, is(backend.ErrNotExist)},
	{class{"not_found", exitNotFound}, is(backend.ErrNoStore)},
	{class{"not_found", exitNotFound}, is(lock.ErrNotHeld)},
	{class{"interrupted", exitInterrupted}, is(context.Canceled)},
	{class{"corrupt", exitFailed}, is(backend.ErrCorrupt)},
	{class{"too_large", exitFailed}, is(backend.ErrTooLarge)},
	{class{"unsupported", exitFailed}, is(errors.ErrUnsupported)},
	{class{"transient", exitFailed}, is(backend.ErrTransient)},
}

// misconfigured: what says where the backend is, is wrong.
func misconfigured(err error) bool {
	e, ok := errors.AsType[*openError](err)
	return ok && (errors.Is(e, backend.ErrInvalid) || errors.Is(e, errors.ErrUnsupported))
}

// waiting: it was interrupted while it waited for a lock.
func waiting(err error) bool {
	held, ok := errors.AsType[*lock.HeldError](err)
	return ok && errors.Is(held.Err, context.Canceled)
}

func classify(err error) class {
	found := class{"failed", exitFailed}
	for _, c := range classes {
		if c.match(err) {
			found = c.class
			break
		}
	}
	if e, ok := errors.AsType[*classedError](err); ok {
		found = e.class
	}
	if sig, ok := errors.AsType[signalled](err); ok && found.code == exitInterrupted {
		found.code = sig.exitCode()
	}
	if exit, ok := errors.AsType[*exitError](err); ok {
		found.code = exit.code
	}
	return found
}
