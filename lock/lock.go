// Package lock guards a state against two runs that change it at once.
//
// It defines what a lock service owes, [Locker], and what every tool wants on
// top of it, [Acquire]: waiting for a lock, renewing it, noticing its loss, and
// giving it back whatever happens. It imports the standard library only.
//
// # What a lock is for
//
// A lock is courtesy and liveness: it makes the second run wait, or stop and say
// who is at work. It is not what keeps the state whole. A holder can be paused
// for an hour while somebody breaks its lock, and then go on writing; no lock
// prevents that. The revision that every write names does (see package backend),
// and some services also refuse the writes of a deposed holder (a fence).
//
// # Locks and Terraform
//
// The lockers of this module use the lock objects of Terraform and OpenTofu, so
// a lock taken by one of the three stops the other two, shows its holder there,
// and can be released there by its ID. [Info] is the record that they share.
//
// # Rules for every Locker
//
//   - A workspace name passes [CheckWorkspace] before any request is made; the
//     error of one that does not matches [ErrInvalidName].
//   - Locks of different workspaces do not touch each other.
//   - A lock outlives the process that took it, except where the operating system
//     ties it to the process (package local).
//   - A lock without TTL never expires by itself.
//   - A method returns promptly when its context ends. If the request may have
//     been applied by then, the error says so: [UnknownError] for Lock, an error
//     matching [ErrUnknown] for Unlock.
//   - A Locker that is configured not to lock returns [errors.ErrUnsupported] from
//     all methods.
//   - All methods may be called from several goroutines.
//
// # Testing
//
// Package lock/locktest checks an implementation against these rules.
package lock

import (
	"context"
	"time"
)

// A Locker keeps one lock per workspace. None of its methods waits for a lock to
// become free; [Acquire] does.
type Locker interface {
	// Lock takes the lock and returns info as stored, with the ID that Unlock,
	// and Terraform's force-unlock, take: info.ID, or another where the service
	// imposes its own (then info.ID is kept in Ref).
	//
	// If anybody holds the lock, this caller's own earlier lock included, the
	// error is a *HeldError with the holder's Info. Two calls with one and the
	// same info are two callers: one of them gets a *HeldError.
	//
	// If the lock may have been taken and that could not be settled, the error is
	// an *UnknownError; Unlock with its ID clears whatever is there.
	//
	// An info whose lock could not be released by its ID is refused: see [Info.Record].
	//
	// info.TTL above zero asks for a lock that expires. A locker that has no such
	// locks, or not in that range, returns errors.ErrUnsupported; it never clamps.
	Lock(ctx context.Context, workspace string, info Info) (Info, error)

	// Unlock releases the lock if id holds it, from any process. If another holds
	// it, the error is a *HeldError and the lock stays; if nobody does, it matches
	// ErrNotHeld. An empty id is always an error, ErrNotHeld where nobody holds the
	// lock and a *HeldError where somebody does.
	//
	// A locker whose locks end with their process answers a foreign id with a
	// *HeldError that matches errors.ErrUnsupported.
	Unlock(ctx context.Context, workspace, id string) error

	// Holder returns the holder's Info, or an error matching ErrNotHeld. A lock
	// that has expired is not held. A lock whose record cannot be read is reported
	// by an Info with an ID that Unlock takes; see ParseInfo.
	Holder(ctx context.Context, workspace string) (Info, error)
}

// A Renewer is a Locker whose locks can carry a TTL and be renewed. Find it with
// [As].
type Renewer interface {
	// Renew lets the TTL of the lock held by id start again and returns the Info as
	// now stored. If id does not hold the lock: *HeldError or ErrNotHeld. An expired
	// lock that nobody has taken since may be renewed or refused.
	Renew(ctx context.Context, workspace, id string) (Info, error)
}

// A Waiter is a Locker that knows when a lock becomes free. Find it with [As].
type Waiter interface {
	// Wait returns nil when the lock may be free, at once if nobody holds it, and
	// an error when it cannot tell or ctx ends. It takes nothing: several waiters
	// may be told of one release.
	Wait(ctx context.Context, workspace string) error
}

// A Watcher is a Locker that knows at once when a lock is lost. Find it with [As].
type Watcher interface {
	// Watch returns nil when id no longer holds the lock, at once if it does not, and
	// an error when it cannot tell or ctx ends.
	Watch(ctx context.Context, workspace, id string) error
}

// A Leaser is a Locker that wants a TTL on every lock that [Acquire] takes and
// keeps alive, when the caller asked for none: a service whose own way is a
// session that dies with its holder (Consul). Find it with [As].
type Leaser interface {
	// LeaseTTL is that TTL; above zero.
	LeaseTTL() time.Duration
}

// As finds the ability T of l: l itself, or what its method As(target any) bool
// puts into a *T, or the same of what its method Unwrap() Locker returns, and so
// on. It is how abilities such as [Renewer] are found through wrappers; a bare
// type assertion misses them.
func As[T any](l Locker) (T, bool) {
	for l != nil {
		if t, ok := l.(T); ok {
			return t, true
		}
		var t T
		if a, ok := l.(interface{ As(target any) bool }); ok && a.As(&t) {
			return t, true
		}
		u, ok := l.(interface{ Unwrap() Locker })
		if !ok {
			break
		}
		l = u.Unwrap()
	}
	var none T
	return none, false
}
