// Package backend keeps the state of infrastructure tools: the document that
// records what they built.
//
// It defines what a storage service owes, [Backend], and what every tool wants on
// top of it, [Update]: lock, read, edit, write under the revision that was read,
// unlock. Services live in packages of their own (local, s3, gcs, …), each
// importing only its vendor's client; this package imports the standard library
// and package lock.
//
// # Revisions
//
// Every write and delete names the revision that it replaces, in a [Condition].
// A writer whose revision is no longer the stored one gets [ErrConflict] and
// changes nothing, whether or not it holds a lock. So the obvious code is safe:
//
//	st, err := b.Read(ctx, "prod")
//	…
//	rev, err := b.Write(ctx, "prod", data, backend.Condition{Revision: st.Revision})
//
// # Rules for every Backend
//
//   - A Backend is safe for concurrent use, and linearizable for each workspace:
//     every call takes effect at one moment between its start and its return.
//     docs/backends.md names the exceptions.
//   - A workspace name passes [CheckWorkspace] before any request is made.
//   - A zero-byte object is no state.
//   - What is read and what is written stays the caller's: a Backend neither keeps
//     nor changes a slice that it was given, nor one that it returned.
//   - A method returns promptly when its context ends. If the request may have been
//     applied by then, the error matches [ErrUnknown].
//   - An error is an [*Error] (or holds one) whose kind errors.Is finds. No error
//     text holds a credential, and none matches fs.ErrNotExist: a missing
//     credentials file must never read as "no state yet".
//
// Most Backends are also a [lock.Locker]; find it, and every other ability, with
// [As].
//
// # Testing
//
// Package backend/backendtest checks an implementation against these rules.
package backend

import (
	"context"
	"iter"
	"time"

	"github.com/statelatch/statelatch/lock"
)

// A Backend keeps one state per workspace.
type Backend interface {
	// Read returns the current state. If there is none, the error matches
	// ErrNotExist. If what is stored is damaged, it matches ErrCorrupt, and the
	// State comes with it as far as it could be read.
	Read(ctx context.Context, workspace string) (State, error)

	// Write replaces the state by data if cond holds, and returns the new revision.
	//
	// If cond.Revision does not hold, the error matches ErrConflict and nothing has
	// changed. If cond.LockID is set and the service shows that it no longer holds
	// the lock, the error matches lock.ErrNotHeld, or is a *lock.HeldError if another
	// holds it, and nothing has changed. If cond.LockID is empty while another holds
	// the lock, a fencing backend (memory, local, azblob, http) returns a
	// *lock.HeldError; the others go by the revision alone. The lock is never a
	// reason for ErrConflict; where both the lock and the revision are wrong, the
	// lock's error is returned if the service shows it first.
	//
	// Empty data is ErrInvalid. If the outcome could not be settled: ErrUnknown.
	Write(ctx context.Context, workspace string, data []byte, cond Condition) (Revision, error)

	// Delete removes the state under the same rules. If there is none, the error
	// matches ErrNotExist. The zero Condition deletes nothing: where a state exists
	// it does not hold (ErrConflict).
	Delete(ctx context.Context, workspace string, cond Condition) error

	// List yields the name of each workspace once, in no promised order. A
	// workspace that exists throughout the iteration is listed. DefaultWorkspace is
	// listed only if it has a state. An error ends the iteration. Ranging over the
	// sequence again lists anew.
	List(ctx context.Context) iter.Seq2[string, error]

	// Close releases what the Backend itself opened: not a client that it was given,
	// and no lock, except those that end with the process (local).
	Close() error
}

// A State is a stored state and the revision that names it.
type State struct {
	Data     []byte    // opaque; never empty in a state that exists
	Revision Revision  // "" in the zero State: there is none
	Modified time.Time // by the server's clock; zero if the service records none
}

// A Revision names one stored value. It is opaque, and compared for equality
// only, within one workspace of one backend. Locking and unlocking never change
// the revision of a state.
type Revision string

// AnyRevision, in a Condition, stands for whatever is there, a missing state
// included when writing. Using it gives up the protection against lost updates.
const AnyRevision Revision = "*"

// A Condition says what must hold for a Write or a Delete. The zero Condition
// means "no state exists yet", so forgetting it loses nothing. An empty
// placeholder that a lock left counts as no state.
type Condition struct {
	Revision Revision // the revision to be replaced; "" if none exists; AnyRevision
	LockID   string   // the lock that the caller holds, where it holds one
}

// DefaultWorkspace is the workspace that every backend has, and the one that
// tools use when none is selected.
const DefaultWorkspace = "default"

// CheckWorkspace reports whether name may name a workspace; the error matches
// [ErrInvalidName]. See [lock.CheckWorkspace] for the rule.
func CheckWorkspace(name string) error { return lock.CheckWorkspace(name) }
