package tfconfig

import (
	"errors"
	"fmt"
	"strings"

	"github.com/statelatch/statelatch/backend"
)

// An Error is one mistake in a configuration: where it is, and what to do about it.
// It holds no value of a setting. It matches [backend.ErrInvalid] and what Err
// matches: a [*backend.SettingError] for a mistake in one setting.
type Error struct {
	Origin Origin
	Err    error
}

func (e *Error) Error() string {
	if e.Origin == (Origin{}) {
		return e.Err.Error()
	}
	return e.Origin.String() + ": " + e.Err.Error()
}

// Unwrap returns [backend.ErrInvalid] and e.Err.
func (e *Error) Unwrap() []error { return []error{backend.ErrInvalid, e.Err} }

// An UnsupportedError says that a directory keeps its state where no driver of the
// program can get it: in HCP Terraform (a cloud block, or backend "remote"), in a
// state_store of a provider, or in a service that the Mux lacks. It matches
// [errors.ErrUnsupported].
type UnsupportedError struct {
	Type      string // of the backend; "cloud" and "state_store" for blocks of those names
	Supported []string
	Origin    Origin
}

func (e *UnsupportedError) Error() string {
	what := fmt.Sprintf("backend %q is", e.Type)
	switch e.Type {
	case "cloud":
		what = "a cloud block (HCP Terraform) is"
	case "remote":
		what = `backend "remote" (HCP Terraform) is`
	case "state_store":
		what = "a state_store, which a provider keeps, is"
	}
	return fmt.Sprintf("%s: %s not supported; there are %s", e.Origin, what, strings.Join(e.Supported, ", "))
}

// Unwrap returns [errors.ErrUnsupported].
func (e *UnsupportedError) Unwrap() error { return errors.ErrUnsupported }

// A ChangedError says that the backend block is not the one that init recorded, so
// that the state may be in one place or in the other. Terraform and OpenTofu answer
// "Backend initialization required" then. It matches [backend.ErrInvalid].
type ChangedError struct {
	Recorded, Configured string   // types; Configured is "" where no block is left
	Settings             []string // that differ, where the types do not
	Record, Block        Origin

	// Shadowed is a *.tf file in whose place a *.tofu file was read, by OpenTofu's rules;
	// "" if there is none. Terraform may have recorded what that one says.
	Shadowed string
}

func (e *ChangedError) Error() string {
	text := e.text()
	if e.Shadowed != "" {
		text += fmt.Sprintf("; %s is not read: OpenTofu, but not Terraform, reads a .tofu file of the same name in its place", e.Shadowed)
	}
	return text
}

func (e *ChangedError) text() string {
	const remedy = `run init, or open what the files say by giving "" as the only -backend-config`
	switch {
	case e.Configured == "":
		return fmt.Sprintf("%s: init recorded backend %q, and no file has a backend block any more; run init to move the state, or put the block back", e.Record, e.Recorded)
	case e.Configured != e.Recorded:
		return fmt.Sprintf("%s: the backend is %q here and %q in %s, which init recorded; %s", e.Block, e.Configured, e.Recorded, e.Record, remedy)
	}
	return fmt.Sprintf("%s: the block differs from what init recorded in %s (%s); %s", e.Block, e.Record, strings.Join(e.Settings, ", "), remedy)
}

// Unwrap returns [backend.ErrInvalid].
func (e *ChangedError) Unwrap() error { return backend.ErrInvalid }

// invalid returns an *Error of that text.
func invalid(at Origin, format string, args ...any) error {
	return &Error{at, fmt.Errorf(format, args...)}
}
