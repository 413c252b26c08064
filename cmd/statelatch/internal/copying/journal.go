package copying

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/local"
	"github.com/statelatch/statelatch/lock"
)

// A Journal remembers the runs of one copy that did not come to their end, because
// the process was killed or the machine went down. Such a run leaves the locks that
// it had taken in services whose locks outlive their process. The next run of the same
// copy finds it in the journal, knows that it is over, since the journal itself is
// locked by a lock that ends with its process, and breaks the locks that carry its ID:
// those and no others. A run that could not release a lock stays in the journal too.
//
// The journal is a state of package local; what it says is no secret.
type Journal struct {
	Run  string   // this run
	Dead []string // those before it
	Left []string // the workspaces whose locks those may have left

	b      *local.Backend
	lockID string
	names  []string
	runs   []run
	rev    backend.Revision
}

// A run is a line of the journal.
type run struct {
	ID    string   `json:"id"`
	Names []string `json:"workspaces"` // null = all, of which none is locked yet
}

// OpenJournal opens the journal, in the directory dir, of the copy from one place to
// another, and enters this run, which is to copy these workspaces; nil stands for all.
// If the same copy is being made by another process, the error is a *lock.HeldError.
func OpenJournal(ctx context.Context, dir, from, to string, names []string) (*Journal, error) {
	id := sha256.Sum256([]byte(from + "\x00" + to))
	path := filepath.Join(dir, "copy-"+hex.EncodeToString(id[:8])+".json")
	b, err := local.New(ctx, local.Config{Path: path, NoBackup: true})
	if err != nil {
		return nil, err
	}
	j := &Journal{Run: rand.Text(), b: b, names: names}
	if err := j.enter(ctx); err != nil {
		j.b.Close()
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	return j, nil
}

func (j *Journal) enter(ctx context.Context) error {
	stored, err := j.b.Lock(ctx, backend.DefaultWorkspace, record(j.Run))
	if err != nil {
		return err
	}
	j.lockID = stored.ID
	state, err := j.b.Read(ctx, backend.DefaultWorkspace)
	if err != nil && !errors.Is(err, backend.ErrNotExist) {
		return err
	}
	if err == nil && json.Unmarshal(state.Data, &j.runs) != nil {
		return errors.New("it is not a journal of a copy")
	}
	for _, r := range j.runs {
		j.Dead = append(j.Dead, r.ID)
		j.Left = append(j.Left, r.Names...)
	}
	slices.Sort(j.Left)
	j.Left = slices.Compact(j.Left)
	j.rev = state.Revision
	j.runs = append(j.runs, run{j.Run, j.names})
	return j.write(ctx)
}

// Enter enters the workspaces that this run is about to lock. The next run may find
// others: what it is to look for must be in the journal.
func (j *Journal) Enter(ctx context.Context, names []string) error {
	j.runs[len(j.runs)-1].Names = slices.Clone(names)
	return j.write(ctx)
}

func (j *Journal) write(ctx context.Context) error {
	cond := backend.Condition{Revision: j.rev, LockID: j.lockID}
	if len(j.runs) == 0 {
		return j.b.Delete(ctx, backend.DefaultWorkspace, cond)
	}
	data, err := json.Marshal(j.runs)
	if err != nil {
		return err
	}
	rev, err := j.b.Write(ctx, backend.DefaultWorkspace, data, cond)
	if err == nil {
		j.rev = rev
	}
	return err
}

// Abandon ends the run as the death of the process would.
func (j *Journal) Abandon() { j.b.Close() }

// Close ends the run with these results; whole says that they are those of all of
// its workspaces. Unless a lock may be left, the run is taken out of the journal, and
// so are the earlier ones whose workspaces it has all been through: with their locks in
// hand, it knows that nothing is left. A run over all has been through theirs too.
func (j *Journal) Close(ctx context.Context, results []Result, whole bool) error {
	defer j.b.Close()
	ctx = context.WithoutCancel(ctx)
	through := whole && !slices.ContainsFunc(results, func(r Result) bool { return r.Status == Failed })
	j.runs = slices.DeleteFunc(j.runs, func(r run) bool {
		if r.ID == j.Run {
			return !slices.ContainsFunc(results, leavesLock)
		}
		return through && j.covers(r)
	})
	return errors.Join(j.write(ctx), j.b.Unlock(ctx, backend.DefaultWorkspace, j.lockID))
}

// leavesLock reports whether a lock may be left of the work that came to r.
func leavesLock(r Result) bool {
	return unreleased(r.Err) || errors.Is(r.Err, lock.ErrUnknown)
}

// unreleased reports whether err holds that of a lock that was not released: any, where
// several are joined.
func unreleased(err error) bool {
	switch e := err.(type) { //nolint:errorlint // the tree is walked by hand
	case *lock.ReleaseError:
		return !errors.Is(e, lock.ErrNotHeld)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), unreleased)
	case interface{ Unwrap() error }:
		return unreleased(e.Unwrap())
	}
	return false
}

// covers reports whether this run goes through all the workspaces of r.
func (j *Journal) covers(r run) bool {
	if j.names == nil {
		return true
	}
	return r.Names != nil && !slices.ContainsFunc(r.Names, func(name string) bool { return !slices.Contains(j.names, name) })
}
