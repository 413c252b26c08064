package local

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// testHook, in tests, is told of each step of a change: the process may die there.
var testHook func(step string)

func at(step string) {
	if testHook != nil {
		testHook(step)
	}
}

// A change is a write or delete under way, under the exclusive guard and the lock
// of the state file.
type change struct {
	files
	guard, file *os.File // the journal and the state file, both locked; nil: there are none
}

// A request is what a change is about.
type request struct {
	op, workspace string
	files
	cond   backend.Condition
	create bool // makes the state file where there is none
}

// change calls do, under the lock that r names, or one that is taken for r alone.
func (b *Backend) change(ctx context.Context, r request, do func(change) error) error {
	if r.cond.LockID != "" {
		if _, err := b.own(ctx, r.workspace, r.files, r.cond.LockID); err != nil {
			return err
		}
	}
	if there, err := exists(r.state); err != nil {
		return err
	} else if !there && !r.create {
		return do(change{files: r.files})
	}
	guard, err := b.guard(ctx, r.workspace, r.files)
	if err != nil {
		return err
	}
	defer dropGuard(guard)
	h := b.holding(r.workspace)
	switch {
	case r.cond.LockID == "":
		if h, err = takeLock(ctx, r.workspace, r.files, lock.NewInfo(r.op)); err != nil {
			return err
		}
		defer func() { _ = h.release() }() // the write is done, or not, as it may be
	case h == nil || h.info.ID != r.cond.LockID:
		return lock.ErrNotHeld // it was released while we waited
	}
	return h.use(func(file *os.File) error {
		c := change{r.files, guard, file}
		if err := c.prepare(ctx, r.cond.LockID); err != nil {
			return err
		}
		return do(c)
	})
}

// prepare makes sure that the files still are in their places, since somebody may
// have replaced them while we waited, and that the state is whole.
func (c change) prepare(ctx context.Context, lockID string) error {
	there, err := isAt(c.file, c.state)
	if err == nil && !there && lockID != "" {
		return lock.ErrNotHeld
	}
	guarded, errGuard := isAt(c.guard, c.journal)
	if err := errors.Join(err, errGuard); err != nil {
		return err
	}
	if !there || !guarded {
		return &backend.Error{Kind: backend.ErrTransient, Err: errors.New("the files have just been replaced")}
	}
	return c.recover(ctx)
}

// guard takes the exclusive guard.
func (b *Backend) guard(ctx context.Context, workspace string, paths files) (*os.File, error) {
	guard, err := takeGuard(ctx, paths)
	if err != nil || workspace == backend.DefaultWorkspace {
		return guard, err
	}
	// Another may have made a directory of the same name but for the case.
	if err := b.checkCase(workspace); err != nil {
		dropGuard(guard)
		return nil, err
	}
	return guard, nil
}

// An image is what a write has to know of the state that it replaces.
type image struct {
	size  int64
	sum   digest
	first byte
	marks []byte // of its blocks, cut where the next state ends
}

// image reads the state, which one of size next is to replace; 0 if none is.
func (c change) image(ctx context.Context, next int64) (image, error) {
	if c.file == nil {
		return image{}, nil
	}
	info, err := c.file.Stat()
	if err != nil {
		return image{}, err
	}
	m := &marker{cut: min(next, info.Size()), size: info.Size()}
	sum := sha256.New()
	into := io.Writer(sum)
	if next > 0 {
		m.marks = make([]byte, 0, markSize*blocks(m.cut, m.size)+footerSize)
		into = io.MultiWriter(sum, m)
	}
	err = content{file: c.file, size: m.size}.copyTo(ctx, into)
	return image{m.size, digest(sum.Sum(nil)), m.first, m.marks}, err
}

// holds reports whether a state of this revision is to be replaced under cond.
func (i image) holds(cond backend.Condition) bool {
	switch cond.Revision {
	case backend.AnyRevision:
		return true
	case "":
		return i.size == 0
	}
	return i.size > 0 && cond.Revision == i.sum.revision()
}

func (d digest) revision() backend.Revision { return backend.Revision(fmt.Sprintf("%x", d[:])) }

// put replaces the state old by data.
func (c change) put(ctx context.Context, old image, data []byte, sum digest) error {
	err := reserve(c.file, int64(len(data)))
	if err == nil {
		err = c.writeJournal(ctx, old, data, sum)
	}
	if err != nil {
		// Nothing has changed; what has been taken of the disk is given back.
		if int64(len(data)) > old.size {
			err = errors.Join(err, c.file.Truncate(old.size))
		}
		return errors.Join(err, c.guard.Truncate(0))
	}
	// From here on the write has happened, whatever comes.
	if err := c.overwrite(data); err != nil {
		return &backend.Error{Kind: backend.ErrUnknown, Err: fmt.Errorf(
			"the new state is in %s; where the state file is half written, the next lock or write completes it from there: %w", c.journal, err)}
	}
	at("state written")
	there, err := isAt(c.file, c.state)
	_ = c.guard.Truncate(0) // else the next change finds that it is complete
	at("journal emptied")
	if err == nil && !there {
		err = errors.New("the state file was removed while it was written: Terraform does that to an empty one, just after it gave up its lock")
	}
	if err != nil {
		return &backend.Error{Kind: backend.ErrUnknown, Err: err}
	}
	return nil
}

func (c change) writeJournal(ctx context.Context, old image, data []byte, sum digest) error {
	at("journal empty")
	for n := 0; n < len(data); n += chunk {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := c.guard.WriteAt(data[n:min(n+chunk, len(data))], int64(n)); err != nil {
			return err
		}
		at("journal half written")
	}
	f := footer{OldSize: old.size, NewSize: int64(len(data)), Old: old.sum, New: sum, OldFirst: old.first, Boot: boot()}
	tail, err := f.tail(old.marks)
	if err != nil {
		return err
	}
	if _, err := c.guard.WriteAt(tail, f.NewSize); err != nil {
		return err
	}
	at("journal written")
	err = c.guard.Sync()
	if err == nil && old.size == 0 { // whoever made the file may have died before this
		err = syncDir(filepath.Dir(c.state))
	}
	at("journal safe")
	return err
}

func (c change) overwrite(data []byte) error {
	if err := c.mark(); err != nil {
		return err
	}
	for n := 1; n < len(data); {
		next := min(n-n%chunk+chunk, len(data))
		if _, err := c.file.WriteAt(data[n:next], int64(n)); err != nil {
			return err
		}
		n = next
		at("state half written")
	}
	return c.end(int64(len(data)), data[:1])
}

// mark says in the state file that it is being overwritten.
func (c change) mark() error {
	_, err := c.file.WriteAt([]byte{underWay}, 0)
	at("state marked")
	return err
}

// end cuts the state file to size, gives it its first byte, and sees it safely on
// disk.
func (c change) end(size int64, first []byte) error {
	info, err := c.file.Stat()
	if err == nil && info.Size() > size {
		at("state too long")
		err = c.file.Truncate(size)
	}
	if err != nil {
		return err
	}
	at("state still marked")
	_, err = c.file.WriteAt(first, 0)
	at("state not safe")
	return errors.Join(err, c.file.Sync())
}

// clear deletes the state.
func (c change) clear() error {
	at("state whole")
	if err := c.file.Truncate(0); err != nil {
		return err
	}
	at("state empty")
	if err := c.file.Sync(); err != nil {
		return &backend.Error{Kind: backend.ErrUnknown, Err: err}
	}
	return nil
}

// recover finishes a write that was cut short, or undoes it if it had not begun.
func (c change) recover(ctx context.Context) error {
	journal, err := c.guard.Stat()
	if err != nil || journal.Size() == 0 {
		return err
	}
	j, err := readJournal(c.guard, journal.Size())
	if err != nil {
		return err
	}
	if j == nil {
		return c.guard.Truncate(0) // the write had not begun
	}
	info, err := c.file.Stat()
	if err != nil {
		return err
	}
	found, err := j.judge(c.file, info.Size())
	switch {
	case err != nil:
		return err
	case found == torn:
		err = c.finish(ctx, j)
	case found == foreign:
		err = c.setAside(ctx, j, journal)
	}
	at("recovered")
	if err := errors.Join(err, c.file.Sync()); err != nil {
		return err
	}
	return c.guard.Truncate(0)
}

// finish puts the new state of a journal into the state file.
func (c change) finish(ctx context.Context, j *journal) error {
	if err := reserve(c.file, j.NewSize); err != nil {
		return err
	}
	at("finishing")
	if err := c.mark(); err != nil {
		return err
	}
	next := content{file: c.guard, size: j.NewSize}
	if err := next.copyTo(ctx, &tailWriter{to: c.file}); err != nil {
		return err
	}
	first := make([]byte, 1)
	if _, err := c.guard.ReadAt(first, 0); err != nil {
		return err
	}
	return c.end(j.NewSize, first)
}

// A tailWriter writes to a file all but the first byte of what it is given.
type tailWriter struct {
	to *os.File
	at int64
}

func (w *tailWriter) Write(p []byte) (int, error) {
	skip := 0
	if w.at == 0 && len(p) > 0 {
		skip = 1
	}
	n, err := w.to.WriteAt(p[skip:], w.at+int64(skip))
	w.at += int64(skip + n)
	return skip + n, err
}

// setAside keeps the new state of a journal where people see it. Should it be cut
// short, it is done again under the same name.
func (c change) setAside(ctx context.Context, j *journal, written os.FileInfo) error {
	at("setting aside")
	name := fmt.Sprintf("%s.interrupted-%s-%x", c.state, written.ModTime().UTC().Format("20060102T150405Z"), j.New[:4])
	owner, err := c.file.Stat()
	if err != nil {
		return err
	}
	return content{file: c.guard, size: j.NewSize}.save(ctx, name, owner, newFile)
}

// backUp copies the state to the backup file, replacing it as a whole, but for its
// owner and mode: Terraform, which overwrites it, must be able to go on.
func (c change) backUp(ctx context.Context, size int64) error {
	owner, err := c.file.Stat()
	mode := newFile
	if there, missing := os.Stat(c.backup); missing == nil {
		owner, mode = there, there.Mode().Perm()
	} else if !errors.Is(missing, fs.ErrNotExist) {
		err = missing
	}
	if err != nil {
		return err
	}
	unfinished := c.backup + ".new"
	if err := (content{file: c.file, size: size}).save(ctx, unfinished, owner, mode); err != nil {
		return err
	}
	at("backup written")
	if err := os.Rename(unfinished, c.backup); err != nil {
		return err
	}
	return syncDir(filepath.Dir(c.backup))
}

// save copies the state to a file of this name, safely on disk, that resembles another.
func (c content) save(ctx context.Context, name string, another fs.FileInfo, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, newFile)
	if err != nil {
		return err
	}
	err = errors.Join(resemble(f, another, mode), c.copyTo(ctx, f))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return syncDir(filepath.Dir(name))
}
