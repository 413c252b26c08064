package backend

import (
	"context"
	"iter"
	"time"
)

// A Stater can tell the current revision without fetching the state. Call [Stat],
// which works on every Backend.
type Stater interface {
	// Stat returns the current revision, or an error matching ErrNotExist.
	Stat(ctx context.Context, workspace string) (Revision, error)
}

// Stat returns the current revision of a state: by b's own Stat where it has one,
// else by Read.
func Stat(ctx context.Context, b Backend, workspace string) (Revision, error) {
	if s, ok := As[Stater](b); ok {
		return s.Stat(ctx, workspace)
	}
	st, err := b.Read(ctx, workspace)
	return st.Revision, err
}

// A Historian keeps earlier versions of a state. Find it with [As].
type Historian interface {
	// Versions yields the versions that are kept, newest first, the current one
	// included. An error ends the iteration.
	Versions(ctx context.Context, workspace string) iter.Seq2[Version, error]
	// ReadVersion returns the version named id, or an error matching ErrNotExist.
	ReadVersion(ctx context.Context, workspace, id string) (State, error)
}

// A Version is one earlier, or the current, value of a state.
type Version struct {
	ID       string
	Modified time.Time // by the server's clock
	Size     int64     // in bytes
}

// As finds the ability T of b: b itself, or what its method As(target any) bool
// puts into a *T, or the same of what its method Unwrap() Backend returns, and so
// on. A bare type assertion misses the abilities of a wrapped Backend.
//
// A wrapper that leaves names and bytes as they are has Unwrap. One that changes
// either must not have it, and answers As only with abilities that it has
// adapted, so that nothing reaches around it.
func As[T any](b Backend) (T, bool) {
	for b != nil {
		if t, ok := b.(T); ok {
			return t, true
		}
		var t T
		if a, ok := b.(interface{ As(target any) bool }); ok && a.As(&t) {
			return t, true
		}
		u, ok := b.(interface{ Unwrap() Backend })
		if !ok {
			break
		}
		b = u.Unwrap()
	}
	var none T
	return none, false
}
