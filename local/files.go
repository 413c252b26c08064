package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/statelatch/statelatch/backend"
)

// files are the paths of what belongs to one state.
type files struct {
	configured string // the state file as the configuration names it
	state      string // the same, symbolic links followed
	info       string // beside configured, where Terraform has it
	journal    string // beside state, one for all links to it
	backup     string
}

// begin starts each call: it checks the name and the context, and finds the files.
func (b *Backend) begin(ctx context.Context, workspace string) (files, error) {
	if err := backend.CheckWorkspace(workspace); err != nil {
		return files{}, err
	}
	if err := checkName(workspace); err != nil {
		return files{}, err
	}
	if err := ctx.Err(); err != nil {
		return files{}, err
	}
	path := b.path
	if workspace != backend.DefaultWorkspace {
		if err := b.checkCase(workspace); err != nil {
			return files{}, err
		}
		path = filepath.Join(b.workspaceDir, workspace, workspaceFile)
	}
	state, err := follow(path)
	if err != nil {
		return files{}, err
	}
	backup, err := follow(path + ".backup")
	return files{
		configured: path,
		state:      state,
		info:       hidden(filepath.Dir(path), strings.TrimPrefix(filepath.Base(path), "."), ".lock.info"),
		journal:    hidden(filepath.Dir(state), filepath.Base(state), ".journal"),
		backup:     backup,
	}, err
}

func hidden(dir, name, suffix string) string { return filepath.Join(dir, "."+name+suffix) }

// follow returns what path leads to if it is a symbolic link. What it leads to, or
// path itself, need not exist.
func follow(path string) (string, error) {
	for range 40 {
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
		if err != nil || info.Mode()&fs.ModeSymlink == 0 {
			return path, err
		}
		target, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(target) {
			dir, _ := filepath.Split(path)
			target = dir + target
		}
		// Not cleaned, since ".." after a link to a directory leads elsewhere.
		dir, base := filepath.Split(target)
		if dir, err = filepath.EvalSymlinks(dir); err != nil {
			return "", err
		}
		path = filepath.Join(dir, base)
	}
	return "", &fs.PathError{Op: "follow", Path: path, Err: syscall.ELOOP}
}

// checkCase refuses the name of a workspace whose directory is that of another,
// because the file system ignores case.
func (b *Backend) checkCase(workspace string) error {
	swapped := strings.Map(swapCase, workspace)
	if swapped == workspace || !sameDir(filepath.Join(b.workspaceDir, workspace), filepath.Join(b.workspaceDir, swapped)) {
		return nil
	}
	for e, err := range entries(b.workspaceDir) {
		if err != nil || e.Name() == workspace {
			return err
		}
	}
	return fmt.Errorf("%w: %q differs from another workspace in case alone, and %s ignores case", backend.ErrInvalidName, workspace, b.workspaceDir)
}

// entries yields what is in a directory; nothing if there is none.
func entries(path string) iter.Seq2[fs.DirEntry, error] {
	return func(yield func(fs.DirEntry, error) bool) {
		dir, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(nil, err)
			return
		}
		defer dir.Close()
		for err == nil {
			var some []fs.DirEntry
			some, err = dir.ReadDir(256)
			for _, e := range some {
				if !yield(e, nil) {
					return
				}
			}
		}
		if !errors.Is(err, io.EOF) {
			yield(nil, err)
		}
	}
}

func swapCase(r rune) rune {
	if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
		return r ^ ('a' ^ 'A')
	}
	return r
}

// sameDir is a variable so that a test can be a file system that ignores case.
var sameDir = func(a, b string) bool {
	infoA, errA := os.Lstat(a)
	infoB, errB := os.Lstat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// newFile is the mode of new files: states hold secrets.
const newFile fs.FileMode = 0o600

// openOrCreate opens a file for reading and writing. One that it makes, with the
// directories above, survives a crash. It has the owner and the mode of the state: who
// may read or write that needs the journal too.
func (p files) openOrCreate(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	dir := filepath.Dir(path)
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	if f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, newFile); err != nil {
		return nil, err
	}
	if state, missing := os.Stat(p.state); missing == nil {
		err = resemble(f, state, journalMode(state))
	}
	if err = errors.Join(err, syncDir(dir)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// resemble gives f, a new file, the mode, and the owner of another file, as far as this
// process may.
func resemble(f *os.File, another fs.FileInfo, mode fs.FileMode) error {
	if mode = give(f, another, mode); mode == newFile {
		return nil
	}
	return f.Chmod(mode)
}

// follows gives the journal the mode of the state, where that was changed since, as far
// as this process may.
func (p files) follows(journal *os.File) {
	state, err := os.Stat(p.state)
	if err != nil {
		return
	}
	if had, err := journal.Stat(); err == nil && had.Mode().Perm() != journalMode(state) {
		_ = journal.Chmod(give(journal, state, journalMode(state)))
	}
}

// journalMode lets the owner of a state that is read-only now go on when it no longer is.
func journalMode(state fs.FileInfo) fs.FileMode { return state.Mode().Perm() | newFile }

// give makes f belong to whom another file does, and returns mode without what it would
// then give to another group.
func give(f *os.File, another fs.FileInfo, mode fs.FileMode) fs.FileMode {
	if !giveTo(f, another) {
		mode &^= 0o070
	}
	return mode
}

// makeDir makes a directory, and those above it, so that they survive a crash.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	parent := filepath.Dir(dir)
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	switch {
	case errors.Is(err, fs.ErrExist): // if it is no directory, the next step says so
		return nil
	case err != nil:
		return err
	}
	return syncDir(parent)
}

// isAt reports whether f is the file at path, which another may have replaced.
func isAt(f *os.File, path string) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	return isFileAt(info, path)
}

func isFileAt(file fs.FileInfo, path string) (bool, error) {
	there, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(file, there), err
}

// exists reports whether there is anything at path.
func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
