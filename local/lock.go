package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// held is a lock that this process holds.
type held struct {
	files files
	info  lock.Info
	file  *os.File    // the state file, locked
	id    fs.FileInfo // of file

	mu       sync.Mutex  // a write under the lock keeps Unlock waiting
	released atomic.Bool // set under mu, before the lock is given up
}

// pinned keeps held locks reachable: a file that is not is closed, and its lock
// lost, though Close was never called.
var pinned sync.Map

// Lock implements [lock.Locker].
func (b *Backend) Lock(ctx context.Context, workspace string, info lock.Info) (lock.Info, error) {
	stored, err := b.lock(ctx, workspace, info)
	return stored, b.fail("lock", workspace, err)
}

func (b *Backend) lock(ctx context.Context, workspace string, info lock.Info) (lock.Info, error) {
	paths, err := b.begin(ctx, workspace)
	switch {
	case err != nil:
		return lock.Info{}, err
	case info.TTL != 0:
		return lock.Info{}, fmt.Errorf("a file's lock does not expire: %w", errors.ErrUnsupported)
	case info.ID == "":
		return lock.Info{}, fmt.Errorf("%w: a lock without ID", backend.ErrInvalid)
	}
	guard, err := b.guard(ctx, workspace, paths)
	if err != nil {
		return lock.Info{}, err
	}
	defer dropGuard(guard)
	h, err := takeLock(ctx, workspace, paths, info)
	if err != nil {
		return lock.Info{}, err
	}
	// Terraform, once it can have the lock, should find a whole state.
	if err := (change{paths, guard, h.file}).prepare(ctx, ""); err != nil {
		return lock.Info{}, errors.Join(err, h.release())
	}
	b.keep(workspace, h)
	return h.info, nil
}

// takeLock locks the state file, which it makes if there is none. The caller has
// the exclusive guard.
func takeLock(ctx context.Context, workspace string, paths files, info lock.Info) (*held, error) {
	attempt := 0
	file, err := waitFor(ctx, paths.state, func() (*os.File, error) {
		file, err := openLocked(paths.state, paths.openOrCreate, wholeFile, true)
		if !errors.Is(err, errBusy) {
			return file, err
		}
		by, err := paths.holder(ctx)
		attempt++
		switch {
		case err == nil:
			return nil, &lock.HeldError{Workspace: workspace, Holder: by.Info}
		case errors.Is(err, lock.ErrNotHeld) && attempt < patience:
			return nil, errBusy // it has just been released
		case errors.Is(err, lock.ErrNotHeld):
			return nil, &backend.Error{Kind: backend.ErrTransient, Err: errors.New("the state file is locked time and again, by nobody whom the system names")}
		}
		return nil, err
	})
	if err != nil {
		return nil, err
	}
	info.Path = paths.configured
	h := &held{files: paths, info: info, file: file}
	if h.id, err = file.Stat(); err == nil {
		err = h.record()
	}
	if err != nil {
		return nil, errors.Join(err, h.release())
	}
	return h, nil
}

// release gives up the lock. The record goes first, as it would be the next
// holder's; and it goes only if it is ours.
func (h *held) release() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.released.Load() {
		return lock.ErrNotHeld
	}
	if there, _ := isFileAt(h.id, h.files.state); there {
		_ = os.Remove(h.files.info) // without a lock, a record that is left means nothing
	}
	pinned.Delete(h)
	h.released.Store(true)
	return unlock(h.file)
}

// use calls do with the locked state file, if it has not been released.
func (h *held) use(do func(*os.File) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.released.Load() {
		return lock.ErrNotHeld
	}
	return do(h.file)
}

// Unlock implements [lock.Locker].
func (b *Backend) Unlock(ctx context.Context, workspace, id string) error {
	return b.fail("unlock", workspace, b.unlock(ctx, workspace, id))
}

func (b *Backend) unlock(ctx context.Context, workspace, id string) error {
	paths, err := b.begin(ctx, workspace)
	if err != nil {
		return err
	}
	h, err := b.own(ctx, workspace, paths, id)
	if err != nil {
		return err
	}
	return b.drop(workspace, h)
}

// own returns the lock that this Backend holds under id.
func (b *Backend) own(ctx context.Context, workspace string, paths files, id string) (*held, error) {
	if h := b.holding(workspace); h != nil {
		switch there, err := isFileAt(h.id, paths.state); {
		case err != nil:
			return nil, err
		case !there:
			_ = b.drop(workspace, h) // lost: another file is there now
		case h.info.ID == id:
			return h, nil
		}
	}
	by, err := b.holder(ctx, paths)
	if err != nil {
		return nil, err
	}
	why := errors.New("not by the lock ID given")
	if by.ID == id {
		why = fmt.Errorf("a file's lock ends with its holder%s, and nobody else can use or release it: %w", by.process, errors.ErrUnsupported)
	}
	return nil, &lock.HeldError{Workspace: workspace, Holder: by.Info, Err: why}
}

// holding returns the lock that this Backend took, or nil.
func (b *Backend) holding(workspace string) *held {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held[workspace]
}

// keep makes h the lock of a workspace. One that was kept before has been lost.
func (b *Backend) keep(workspace string, h *held) {
	pinned.Store(h, nil)
	b.mu.Lock()
	before := b.held[workspace]
	b.held[workspace] = h
	b.mu.Unlock()
	if before != nil {
		_ = before.release()
	}
}

// drop releases h, and forgets it.
func (b *Backend) drop(workspace string, h *held) error {
	err := h.release()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held[workspace] == h {
		delete(b.held, workspace)
	}
	return err
}

// Holder implements [lock.Locker]. Of a lock of its own a Backend needs no record.
func (b *Backend) Holder(ctx context.Context, workspace string) (lock.Info, error) {
	paths, err := b.begin(ctx, workspace)
	if err != nil {
		return lock.Info{}, b.fail("holder", workspace, err)
	}
	if h := b.holding(workspace); h != nil && !h.released.Load() {
		if there, err := isFileAt(h.id, paths.state); err == nil && there {
			return h.info, nil
		}
	}
	by, err := b.holder(ctx, paths)
	return by.Info, b.fail("holder", workspace, err)
}
