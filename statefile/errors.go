package statefile

import (
	"errors"
	"fmt"
)

var (
	// ErrEmpty is the error for zero bytes. Every backend takes them for "no
	// state"; whoever has a document to read should have found that out before.
	ErrEmpty = errors.New("statefile: no state: the document has zero bytes")

	// ErrEncrypted is the error for what cannot be done to a state that OpenTofu
	// has encrypted. Decrypt it first.
	ErrEncrypted = errors.New("statefile: the state is encrypted by OpenTofu: only its serial and lineage can be read")
)

// A SyntaxError says that a document is not JSON, or not a state, and where.
type SyntaxError struct {
	Offset int64  // how many bytes had been read when it showed
	Msg    string // what is wrong
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("statefile: not a state: at byte %d: %s", e.Offset, e.Msg)
}

// A VersionError says that a state has a format version other than 4.
type VersionError struct {
	Version          uint64 // 0 if the document has none
	TerraformVersion string // the program that wrote it, or ""
}

func (e *VersionError) Error() string {
	switch {
	case e.Version == 0:
		return `statefile: not a state: it has no format version ("version" at the top level)`
	case e.Version < formatVersion:
		return fmt.Sprintf("statefile: format version %d (written by Terraform %q) is too old: have Terraform 0.12 or later write it again as version %d",
			e.Version, e.TerraformVersion, formatVersion)
	}
	return fmt.Sprintf("statefile: format version %d (written by version %q) is not known: only version %d is",
		e.Version, e.TerraformVersion, formatVersion)
}

// A LineageError says that a state would replace one that it does not descend from.
type LineageError struct {
	Next, Current string // lineages
}

func (e *LineageError) Error() string {
	return fmt.Sprintf("statefile: lineage %q is not that of the stored state, %q: the two are unrelated; is this the right workspace?",
		e.Next, e.Current)
}

// A SerialError says that a state would replace one that is newer than itself
// or, where the serials are equal, a different one.
type SerialError struct {
	Next, Current uint64 // serials
}

func (e *SerialError) Error() string {
	if e.Next == e.Current {
		return fmt.Sprintf("statefile: the stored state has the same serial %d but different contents: read it, make the change again, and raise the serial",
			e.Current)
	}
	return fmt.Sprintf("statefile: serial %d is older than the stored state's, %d: read that and make the change again; to go back on purpose, raise the serial above it",
		e.Next, e.Current)
}
