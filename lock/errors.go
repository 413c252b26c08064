package lock

import (
	"errors"
	"fmt"
)

// Kinds of failure, for errors.Is. Package backend has the last four under the
// same names and with the same values.
var (
	// ErrNotHeld: nobody holds the lock, or not any longer under the given ID.
	ErrNotHeld = errors.New("the lock is not held")
	// ErrInvalidName: the workspace name breaks the rules of CheckWorkspace.
	ErrInvalidName = errors.New("invalid workspace name")
	// ErrPermission: the service refused the credentials or what they may do.
	// Trying again does not help.
	ErrPermission = errors.New("permission denied")
	// ErrTransient: the service was out of reach, overloaded or failing; nothing
	// was changed. Trying again may help.
	ErrTransient = errors.New("temporary failure")
	// ErrUnknown: the request may or may not have been applied, and looking did not
	// tell. Read before trying again.
	ErrUnknown = errors.New("outcome unknown")
)

// A HeldError says that somebody holds the lock, and who.
type HeldError struct {
	Workspace string
	Holder    Info  // as far as it could be read; Holder.ID is what Unlock takes
	Err       error // more about the refusal; nil if there is no more to say
}

func (e *HeldError) Error() string {
	s := fmt.Sprintf("workspace %q is locked by %s", e.Workspace, e.Holder)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns e.Err.
func (e *HeldError) Unwrap() error { return e.Err }

// An UnknownError says that a lock may have been taken. It matches [ErrUnknown].
type UnknownError struct {
	Workspace string
	ID        string // Unlock with it clears the lock, should it be there
	Err       error  // what went wrong
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("workspace %q may have been locked with ID %s (unlock it with that ID): %v", e.Workspace, printable(e.ID), e.Err)
}

// Unwrap returns [ErrUnknown] and e.Err.
func (e *UnknownError) Unwrap() []error { return []error{ErrUnknown, e.Err} }

// A ReleaseError says that a lock could not be given back: it may still be there,
// or it was lost before. If Err matches [ErrNotHeld], it is not there.
type ReleaseError struct {
	Workspace string
	ID        string // the lock's ID, for Unlock
	Err       error
}

func (e *ReleaseError) Error() string {
	return fmt.Sprintf("releasing lock %s of workspace %q: %v", printable(e.ID), e.Workspace, e.Err)
}

// Unwrap returns e.Err.
func (e *ReleaseError) Unwrap() error { return e.Err }
