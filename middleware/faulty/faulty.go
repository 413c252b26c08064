// Package faulty makes the calls of any Backend fail, hang, or lose their replies,
// when a test says so.
//
// Whoever uses a Backend over a network owes four answers for each call that it
// makes: what if it fails, what if it was applied but its reply is lost, what if it
// takes for ever, and what if another client acts just before it, or just after?
// [Wrap] makes each of these happen, on the call that is meant:
//
//	f := faulty.Wrap(memory.New())
//	f.LoseReply(faulty.Write, 2) // the second write from here on
//	f.Fail(faulty.Any, faulty.Every, backend.ErrPermission)
//
// A call is chosen by its kind, an [Op], and by n: 1 is the next call of that kind,
// 2 the one after it, [Every] is each. Faults add up, in the order in which they
// were asked for; the first that ends the call is the last that it meets.
//
// # What the caller sees
//
// A fault before a call is applied changes nothing: [Backend.Fail],
// [Backend.Delay], [Backend.Hang]. Its error has the kind that the test gave, or
// [backend.ErrTransient], or is that of the context.
//
// A reply that is lost, by [Backend.LoseReply] or [Backend.HangReply], is lost
// whatever it said, success and refusal alike. The caller is told what a client is
// told that could not find out more: of Write, Delete, Unlock and Renew an error
// matching [backend.ErrUnknown]; of Lock a *[lock.UnknownError] with the ID that
// Unlock takes; of the calls that change nothing [backend.ErrTransient].
//
// # Abilities
//
// A Backend of this package has the abilities of the one inside that package
// backend and package lock name, [lock.Locker] first, each with the faults applied, but
// for [lock.Watcher]; find them with [backend.As]. It has no Unwrap, so that nothing reaches around the
// faults. Close meets with none.
package faulty

import (
	"context"
	"iter"
	"sync"

	"github.com/statelatch/statelatch/backend"
)

var _ backend.Backend = (*Backend)(nil)

// An Op is a kind of call.
type Op string

// The kinds of call.
const (
	Any Op = "any" // every kind

	Read        Op = "read"
	Write       Op = "write"
	Delete      Op = "delete"
	List        Op = "list"
	Stat        Op = "stat"
	Versions    Op = "versions"
	ReadVersion Op = "read version"

	Lock   Op = "lock"
	Unlock Op = "unlock"
	Holder Op = "holder"
	Renew  Op = "renew"
	Wait   Op = "wait"
)

// Backend passes calls on to another, with faults. All methods may be called from
// several goroutines, those that ask for faults too.
type Backend struct {
	inner backend.Backend

	mu    sync.Mutex
	calls map[Op]int
	rules []rule
}

// Wrap returns b with no faults yet. Closing it closes b.
func Wrap(b backend.Backend) *Backend {
	return &Backend{inner: b, calls: map[Op]int{}}
}

// Calls returns how many calls of a kind have been made. A List or Versions counts
// when its iteration begins. A call with an invalid name, or a context that has
// ended, does not count, and meets with no fault: a client makes no request of it.
func (f *Backend) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

// Read implements [backend.Backend].
func (f *Backend) Read(ctx context.Context, workspace string) (backend.State, error) {
	return do(ctx, f, Read, workspace, func() (backend.State, error) {
		return f.inner.Read(ctx, workspace)
	})
}

// Write implements [backend.Backend].
func (f *Backend) Write(ctx context.Context, workspace string, data []byte, cond backend.Condition) (backend.Revision, error) {
	return do(ctx, f, Write, workspace, func() (backend.Revision, error) {
		return f.inner.Write(ctx, workspace, data, cond)
	})
}

// Delete implements [backend.Backend].
func (f *Backend) Delete(ctx context.Context, workspace string, cond backend.Condition) error {
	return doErr(ctx, f, Delete, workspace, func() error {
		return f.inner.Delete(ctx, workspace, cond)
	})
}

// List implements [backend.Backend]. If its reply is lost, the names come, and an
// error where their end should be.
func (f *Backend) List(ctx context.Context) iter.Seq2[string, error] {
	return doSeq(ctx, f, List, "", f.inner.List(ctx))
}

// Close implements [backend.Backend].
func (f *Backend) Close() error { return f.inner.Close() }
