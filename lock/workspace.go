package lock

import (
	"fmt"
	"net/url"
)

// MaxWorkspace is the longest workspace name, in bytes.
const MaxWorkspace = 200

// CheckWorkspace reports whether name may name a workspace: 1 to 200 bytes of
// ASCII letters, digits and $ & + : = @ ~ . - _ (the names that url.PathEscape
// leaves alone, which is Terraform's rule), but not "." and not "..". The error
// matches [ErrInvalidName]. Every implementation calls it before any request.
func CheckWorkspace(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidName)
	case len(name) > MaxWorkspace:
		return fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrInvalidName, len(name), MaxWorkspace)
	case name == "." || name == "..":
		return fmt.Errorf("%w: %q names a directory", ErrInvalidName, name)
	case name != url.PathEscape(name):
		return fmt.Errorf("%w: %q has characters other than letters, digits and $ & + : = @ ~ . - _", ErrInvalidName, name)
	}
	return nil
}
