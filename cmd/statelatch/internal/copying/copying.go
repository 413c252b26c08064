// Package copying copies states from one backend to another: each under a lock on
// both sides, never over something newer, and compared afterwards. A run that was
// interrupted is taken up by running it again; see [Journal] for its locks.
package copying

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/cmd/statelatch/internal/guard"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/statefile"
	"golang.org/x/sync/errgroup"
)

// A Job is a copy to be made.
type Job struct {
	From, To backend.Backend
	Names    []string // the workspaces; nil = all that From has
	Force    bool     // disregard lineage and serial
	DryRun   bool     // lock nothing and write nothing
	Parallel int      // how many workspaces at once; at least 1
	Lock     lock.Options

	Run  string   // the ID of this run, which its locks carry
	Dead []string // runs that are over and may have left locks, which are broken
	Left []string // the workspaces whose locks those may have left

	// Enter is told the workspaces before any of them is locked; nil tells nobody.
	Enter func(ctx context.Context, names []string) error

	// Start is told how many workspaces there are, and Done of each that is done with.
	// They are not called at the same time.
	Start func(total int)
	Done  func(Result)
}

// A Status says what became of a workspace.
type Status string

// The statuses.
const (
	Copied Status = "copied" // or would be, in a dry run
	Equal  Status = "equal"  // the destination has the very same bytes already
	Empty  Status = "empty"  // the source has no state
	Failed Status = "failed"
)

// A Result is what became of a workspace.
type Result struct {
	Workspace string
	Status    Status
	Size      int
	SHA256    [sha256.Size]byte // of the state at the source
	Replaced  bool              // Copied: there was a state at the destination
	Unlocked  bool              // Copied: one of the two has no locks
	Err       error             // Failed: why
}

// Copy makes the copy. What fails with one workspace does not stop the others, and is
// in its Result; the error is why the workspaces could not be listed, or why ctx
// ended. Results are in the order of the names.
func (j Job) Copy(ctx context.Context) ([]Result, error) {
	names, err := j.names(ctx)
	if err != nil {
		return nil, err
	}
	if j.Enter != nil {
		if err := j.Enter(ctx, names); err != nil {
			return nil, err
		}
	}
	j.Start(len(names))
	gone := j.gone(names)
	results := make([]Result, len(names)+len(gone)) // an empty one is of nothing to tell
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(max(1, j.Parallel))
	for i, name := range names {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			results[i] = j.one(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			j.Done(results[i])
			return nil
		})
	}
	for i, name := range gone {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := j.clear(ctx, name); err != nil {
				results[len(names)+i] = Result{Workspace: name, Status: Failed, Err: err}
			}
			return nil
		})
	}
	err = group.Wait()
	return slices.DeleteFunc(results, func(r Result) bool { return r.Workspace == "" }), err
}

func (j Job) names(ctx context.Context) ([]string, error) {
	if j.Names != nil {
		return slices.Compact(slices.Sorted(slices.Values(j.Names))), nil
	}
	var names []string
	for name, err := range j.From.List(ctx) {
		if err != nil {
			return nil, fmt.Errorf("source: %w", err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func (j Job) one(ctx context.Context, name string) Result {
	// A look without locks is enough for what is not to be copied, if no lock is left.
	r := j.plan(ctx, name).result
	source, destination := j.sides()
	if j.DryRun || r.Status != Copied && !j.mayBeLocked(ctx, source, name) && !j.mayBeLocked(ctx, destination, name) {
		return r
	}
	err := j.locked(ctx, source, name, func(ctx context.Context, from string) error {
		return j.locked(ctx, destination, name, func(ctx context.Context, to string) error {
			p := j.plan(ctx, name)
			if r = p.result; r.Status != Copied {
				return r.Err
			}
			r.Unlocked = from == "" || to == ""
			return j.write(ctx, name, p, to)
		})
	})
	if err != nil {
		r.Status, r.Err = Failed, err
	}
	return r
}

// A plan is what is to be written over what.
type plan struct {
	result   Result
	from, to backend.State
}

// plan reads both sides and decides.
func (j Job) plan(ctx context.Context, name string) plan {
	p := plan{result: Result{Workspace: name}}
	fail := func(where string, err error) plan {
		p.result.Status, p.result.Err = Failed, fmt.Errorf("%s: %w", where, err)
		return p
	}
	var err error
	if p.from, err = j.From.Read(ctx, name); err != nil {
		if errors.Is(err, backend.ErrNotExist) && j.Names == nil { // listed, but without a state
			p.result.Status = Empty
			return p
		}
		return fail("source", err)
	}
	p.result.Size, p.result.SHA256 = len(p.from.Data), sha256.Sum256(p.from.Data)
	if p.to, err = j.To.Read(ctx, name); err != nil && !errors.Is(err, backend.ErrNotExist) {
		return fail("destination", err)
	}
	if bytes.Equal(p.from.Data, p.to.Data) {
		p.result.Status = Equal
		return p
	}
	if p.result.Replaced = p.to.Revision != ""; p.result.Replaced && !j.Force {
		if err := older(p.from.Data, p.to.Data); err != nil {
			return fail("the destination has another state", err)
		}
	}
	p.result.Status = Copied
	return p
}

// older says whether the state next may replace current, as statefile.CheckPush does.
// But that one takes a state that has become empty for nothing, whatever its serial:
// an old copy would bring back what has been destroyed since.
func older(next, current []byte) error {
	if err := statefile.CheckPush(next, current); err != nil {
		return err
	}
	n, _ := statefile.ReadHeader(next) // CheckPush has read both
	c, _ := statefile.ReadHeader(current)
	if n.Lineage == c.Lineage && n.Serial < c.Serial {
		return &statefile.SerialError{Next: n.Serial, Current: c.Serial}
	}
	return nil
}

// write stores what was planned, and reads it back.
func (j Job) write(ctx context.Context, name string, p plan, lockID string) error {
	cond := backend.Condition{Revision: p.to.Revision, LockID: lockID}
	if _, err := j.To.Write(ctx, name, p.from.Data, cond); err != nil {
		return fmt.Errorf("destination: %w", err)
	}
	stored, err := j.To.Read(ctx, name)
	if err != nil {
		return fmt.Errorf("destination, reading back what was written: %w", err)
	}
	if got := sha256.Sum256(stored.Data); got != p.result.SHA256 {
		return fmt.Errorf("destination: what was written reads back with digest %x instead of %x: %w", got, p.result.SHA256, backend.ErrCorrupt)
	}
	return nil
}

// A side is one of the two backends.
type side struct {
	name string
	backend.Backend
}

func (j Job) sides() (source, destination side) {
	return side{"source", j.From}, side{"destination", j.To}
}

// gone returns the workspaces of dead runs that are no longer among those of the source.
func (j Job) gone(names []string) []string {
	if j.Names != nil {
		return nil // others are none of this run's business
	}
	return slices.DeleteFunc(slices.Clone(j.Left), func(name string) bool { return slices.Contains(names, name) })
}

// clear breaks the locks of a workspace that dead runs may have left on either side.
func (j Job) clear(ctx context.Context, name string) error {
	var errs []error
	source, destination := j.sides()
	for _, s := range []side{source, destination} {
		if j.mayBeLocked(ctx, s, name) {
			errs = append(errs, j.locked(ctx, s, name, func(context.Context, string) error { return nil }))
		}
	}
	return errors.Join(errs...)
}

const operation = "copy"

// record is what the locks of a run say, so that they can be told from all others.
func record(run string) lock.Info {
	info := lock.NewInfo(operation)
	info.Info = "statelatch copy, run " + run
	return info
}

// locked does something under the lock of one side, which it breaks if a dead run
// left it.
func (j Job) locked(ctx context.Context, s side, name string, do func(ctx context.Context, id string) error) error {
	inside := false
	attempt := func(opts lock.Options) error {
		err := guard.Do(ctx, s.Backend, name, record(j.Run), opts, func(ctx context.Context, id string) error {
			inside = true
			return do(ctx, id)
		})
		if err != nil && !inside {
			err = fmt.Errorf("%s: %w", s.name, err)
		}
		return err
	}
	once := j.Lock
	once.Timeout = 0
	err := attempt(once)
	var held *lock.HeldError
	if inside || !errors.As(err, &held) {
		return err
	}
	switch {
	case j.left(held.Holder):
		if err := breakLock(ctx, s, name, held.Holder.ID); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	case j.Lock.Timeout == 0:
		return err
	}
	return attempt(j.Lock)
}

func breakLock(ctx context.Context, s side, name, id string) error {
	l, _ := backend.As[lock.Locker](s.Backend) // it has refused a lock
	if err := l.Unlock(ctx, name, id); !errors.Is(err, lock.ErrNotHeld) {
		return err
	}
	return nil
}

// mayBeLocked reports whether a dead run may have left a lock on a side, or that
// cannot be seen without taking the lock.
func (j Job) mayBeLocked(ctx context.Context, s side, name string) bool {
	l, ok := backend.As[lock.Locker](s.Backend)
	if !ok || len(j.Dead) == 0 {
		return false
	}
	holder, err := l.Holder(ctx, name)
	return err == nil && j.left(holder) || err != nil && !errors.Is(err, lock.ErrNotHeld)
}

// left reports whether a lock is that of a run that is over.
func (j Job) left(holder lock.Info) bool {
	return holder.Operation == operation && slices.ContainsFunc(j.Dead, func(run string) bool {
		return holder.Info == record(run).Info
	})
}
