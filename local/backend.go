package local

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"sync"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

var (
	_ backend.Backend = (*Backend)(nil)
	_ backend.Stater  = (*Backend)(nil)
	_ lock.Locker     = (*Backend)(nil)
)

// Backend keeps states in files. It fences writes.
type Backend struct {
	path, workspaceDir string
	backup             bool
	maxSize            int64

	mu   sync.Mutex
	held map[string]*held // by workspace
}

// Read implements [backend.Backend]. Modified is the time of the file.
func (b *Backend) Read(ctx context.Context, workspace string) (backend.State, error) {
	st, err := b.read(ctx, workspace)
	return st, b.fail("read", workspace, err)
}

func (b *Backend) read(ctx context.Context, workspace string) (st backend.State, err error) {
	paths, err := b.begin(ctx, workspace)
	if err != nil {
		return backend.State{}, err
	}
	err = b.view(ctx, workspace, paths, func(c content) error {
		if c.size > b.maxSize {
			return b.tooLarge(c.size)
		}
		if int64(len(st.Data)) != c.size {
			st.Data = make([]byte, c.size)
		}
		st.Modified = c.modified
		return c.read(ctx, st.Data)
	})
	if err != nil {
		return backend.State{}, err
	}
	st.Revision = digest(sha256.Sum256(st.Data)).revision()
	return st, nil
}

// Stat implements [backend.Stater]. It reads the state, but keeps none of it.
func (b *Backend) Stat(ctx context.Context, workspace string) (backend.Revision, error) {
	rev, err := b.stat(ctx, workspace)
	return rev, b.fail("stat", workspace, err)
}

func (b *Backend) stat(ctx context.Context, workspace string) (rev backend.Revision, err error) {
	paths, err := b.begin(ctx, workspace)
	if err != nil {
		return "", err
	}
	err = b.view(ctx, workspace, paths, func(c content) error {
		h := sha256.New()
		err := c.copyTo(ctx, h)
		rev = digest(h.Sum(nil)).revision()
		return err
	})
	return rev, err
}

// Write implements [backend.Backend]. An error that matches ErrUnknown says that
// the state file is as it was, or holds the new state, or will, out of the journal.
func (b *Backend) Write(ctx context.Context, workspace string, data []byte, cond backend.Condition) (backend.Revision, error) {
	rev, err := b.write(ctx, workspace, data, cond)
	return rev, b.fail("write", workspace, err)
}

func (b *Backend) write(ctx context.Context, workspace string, data []byte, cond backend.Condition) (backend.Revision, error) {
	paths, err := b.begin(ctx, workspace)
	switch {
	case err != nil:
		return "", err
	case len(data) == 0:
		return "", fmt.Errorf("%w: an empty state", backend.ErrInvalid)
	case int64(len(data)) > b.maxSize:
		return "", b.tooLarge(int64(len(data)))
	}
	sum := digest(sha256.Sum256(data))
	create := cond.Revision == "" || cond.Revision == backend.AnyRevision
	err = b.change(ctx, request{"write", workspace, paths, cond, create}, func(c change) error {
		old, err := c.image(ctx, int64(len(data)))
		switch {
		case err != nil:
			return err
		case !old.holds(cond):
			return backend.ErrConflict
		case old.sum == sum:
			return c.file.Sync() // whoever wrote it may not have done that
		}
		if err := b.backUp(ctx, c, old); err != nil {
			return err
		}
		return c.put(ctx, old, data, sum)
	})
	if err != nil {
		return "", err
	}
	return sum.revision(), nil
}

// Delete implements [backend.Backend]. The workspace stays listed as long as its
// directory is there.
func (b *Backend) Delete(ctx context.Context, workspace string, cond backend.Condition) error {
	return b.fail("delete", workspace, b.delete(ctx, workspace, cond))
}

func (b *Backend) delete(ctx context.Context, workspace string, cond backend.Condition) error {
	paths, err := b.begin(ctx, workspace)
	if err != nil {
		return err
	}
	return b.change(ctx, request{"delete", workspace, paths, cond, false}, func(c change) error {
		old, err := c.image(ctx, 0)
		switch {
		case err != nil:
			return err
		case old.size == 0:
			return backend.ErrNotExist
		case !old.holds(cond):
			return backend.ErrConflict
		}
		if err := b.backUp(ctx, c, old); err != nil {
			return err
		}
		return c.clear()
	})
}

func (b *Backend) backUp(ctx context.Context, c change, old image) error {
	if !b.backup || old.size == 0 {
		return nil
	}
	return c.backUp(ctx, old.size)
}

func (b *Backend) tooLarge(size int64) error {
	return fmt.Errorf("%w: %d bytes, more than MaxSize, %d", backend.ErrTooLarge, size, b.maxSize)
}

// List implements [backend.Backend]. A directory is a workspace, as for Terraform;
// a symbolic link to one is not.
func (b *Backend) List(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for name, err := range b.list(ctx) {
			if !yield(name, b.fail("list", "", err)) || err != nil {
				return
			}
		}
	}
}

func (b *Backend) list(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		switch has, err := b.hasDefault(ctx); {
		case err != nil:
			yield("", err)
			return
		case has && !yield(backend.DefaultWorkspace, nil):
			return
		}
		for e, err := range entries(b.workspaceDir) {
			if err = errors.Join(err, ctx.Err()); err != nil {
				yield("", err)
				return
			}
			if isWorkspace(e) && !yield(e.Name(), nil) {
				return
			}
		}
	}
}

func (b *Backend) hasDefault(ctx context.Context) (bool, error) {
	paths, err := b.begin(ctx, backend.DefaultWorkspace)
	if err != nil {
		return false, err
	}
	err = b.view(ctx, backend.DefaultWorkspace, paths, func(content) error { return nil })
	if errors.Is(err, backend.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func isWorkspace(e fs.DirEntry) bool {
	name := e.Name()
	return e.IsDir() && name != backend.DefaultWorkspace && backend.CheckWorkspace(name) == nil && checkName(name) == nil
}

// Close implements [backend.Backend]. It releases the locks that b holds.
func (b *Backend) Close() error {
	b.mu.Lock()
	locks := b.held
	b.held = map[string]*held{}
	b.mu.Unlock()
	var errs []error
	for _, h := range locks {
		errs = append(errs, h.release())
	}
	return errors.Join(errs...)
}
