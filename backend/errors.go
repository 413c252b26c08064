package backend

import (
	"errors"
	"fmt"
	"strings"

	"github.com/statelatch/statelatch/lock"
)

// Kinds of failure, for errors.Is.
var (
	// ErrNotExist: the workspace has no state. It does not match fs.ErrNotExist.
	ErrNotExist = errors.New("no state exists")
	// ErrConflict: the condition's revision does not hold; nothing has changed. Read
	// again and start from there.
	ErrConflict = errors.New("the state has changed since it was read")
	// ErrInvalid: the arguments can never succeed, such as empty data.
	ErrInvalid = errors.New("invalid argument")
	// ErrTooLarge: the data exceeds what the service or the configuration allows.
	ErrTooLarge = errors.New("the state is too large")
	// ErrNoStore: the place that should hold the state does not exist: the bucket, the
	// container, the table. It is not ErrNotExist, which would read as "no state yet".
	ErrNoStore = errors.New("the store does not exist")
	// ErrCorrupt: what is stored is damaged or incomplete; the State comes with it.
	ErrCorrupt = errors.New("the stored state is damaged")

	// ErrInvalidName is [lock.ErrInvalidName].
	ErrInvalidName = lock.ErrInvalidName
	// ErrPermission is [lock.ErrPermission].
	ErrPermission = lock.ErrPermission
	// ErrTransient is [lock.ErrTransient].
	ErrTransient = lock.ErrTransient
	// ErrUnknown is [lock.ErrUnknown].
	ErrUnknown = lock.ErrUnknown
)

// An Error is what went wrong in one call. Backends and their lockers return it
// for every failure, except that a *lock.HeldError and a *lock.UnknownError are
// returned as they are.
type Error struct {
	Op        string // "read", "write", "delete", "list", "lock", "unlock", "holder", "open", …
	Backend   string // the backend's type and place, without secrets: "s3 bucket/key"
	Workspace string // "" where the call concerns none
	Kind      error  // one of the kinds above, or nil if none fits
	Err       error  // the cause, such as the vendor's error; nil if Kind says it all
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Workspace != "" {
		fmt.Fprintf(&b, " workspace %q", e.Workspace)
	}
	if e.Backend != "" {
		b.WriteString(" in " + e.Backend)
	}
	for _, err := range e.Unwrap() {
		b.WriteString(": " + err.Error())
	}
	return b.String()
}

// Unwrap returns Kind and Err, those that are set.
func (e *Error) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.Kind, e.Err} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// A WriteError says that [Update] could not write what edit had made, and hands
// it back, so that a long run's result is never lost: keep Data, and write it
// once the cause is dealt with.
type WriteError struct {
	Workspace string
	Data      []byte    // what should have been written
	Condition Condition // under which; its lock has been released, or Err says so
	Err       error     // why not; if it matches ErrUnknown, it may have been written
}

func (e *WriteError) Error() string {
	return fmt.Sprintf("the new state of workspace %q (%d bytes, kept in this error) was not written: %v", e.Workspace, len(e.Data), e.Err)
}

// Unwrap returns e.Err.
func (e *WriteError) Unwrap() error { return e.Err }
