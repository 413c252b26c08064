package local

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/statelatch/statelatch/backend"
)

// chunk is how much is read or written between two looks at the context.
const chunk = 256 << 10

// bufferSize is how much is copied at a time, a multiple of blockSize.
const bufferSize = 64 << 10

// content is a whole state, the beginning of a file.
type content struct {
	file     *os.File
	size     int64
	modified time.Time
}

// view calls use with the state as it is at one moment, and as it will be when a
// write that a crash cut short is finished; use is called again if another program
// has written meanwhile. It changes nothing.
func (b *Backend) view(ctx context.Context, workspace string, paths files, use func(content) error) error {
	_, err := waitFor(ctx, paths.state, func() (none struct{}, err error) { return none, b.glimpse(ctx, workspace, paths, use) })
	return err
}

// glimpse is view, except that it returns errUnsettled where view tries again.
func (b *Backend) glimpse(ctx context.Context, workspace string, paths files, use func(content) error) error {
	guard, err := shareGuard(ctx, paths.journal)
	if err != nil {
		return err
	}
	defer dropGuard(guard)
	file, done, err := b.open(workspace, paths)
	if err != nil {
		return err
	}
	defer done()
	before, err := settled(file)
	if err != nil {
		return err
	}
	state, err := resolve(guard, before)
	switch {
	case err != nil:
	case state.size > 0:
		err = use(state)
	case beingWritten(before):
		return errUnsettled
	default:
		err = backend.ErrNotExist
	}
	// Terraform knows nothing of the guard, nor did we if there was none.
	after, again := settled(file)
	if again != nil {
		return again
	}
	if after.size != before.size || !after.modified.Equal(before.modified) {
		return errUnsettled
	}
	return errors.Join(err, paths.stillUnguarded(guard))
}

// stillUnguarded returns errUnsettled if there was no guard to be shared, for want
// of a journal, and now there is a journal: somebody may be writing.
func (p files) stillUnguarded(guard *os.File) error {
	if guard != nil {
		return nil
	}
	there, err := exists(p.journal)
	if there {
		return errUnsettled
	}
	return err
}

// open opens the state file for reading. No file is no state.
func (b *Backend) open(workspace string, paths files) (f *os.File, done func(), err error) {
	if h := b.holding(workspace); throughLock && h != nil {
		h.mu.Lock()
		if there, _ := isFileAt(h.id, paths.state); there && !h.released.Load() {
			return h.file, h.mu.Unlock, nil
		}
		h.mu.Unlock()
	}
	f, err = os.Open(paths.state)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, backend.ErrNotExist
	}
	return f, func() { f.Close() }, err
}

// settled returns the content of file when no write to it is under way.
func settled(file *os.File) (content, error) {
	awaitWriter(file)
	info, err := file.Stat()
	if err != nil {
		return content{}, err
	}
	return content{file, info.Size(), info.ModTime()}, nil
}

// resolve returns the state: what is in the state file, or in the journal if a
// write to the file was cut short.
func resolve(guard *os.File, state content) (content, error) {
	if guard == nil {
		return state, nil
	}
	info, err := guard.Stat()
	if err != nil || info.Size() == 0 {
		return state, err
	}
	j, err := readJournal(guard, info.Size())
	if err != nil || j == nil {
		return state, err
	}
	found, err := j.judge(state.file, state.size)
	if err != nil || found != torn {
		return state, err
	}
	return content{guard, j.NewSize, info.ModTime()}, nil
}

// beingWritten reports whether an empty state file is likely to be empty because
// Terraform is about to write it: it truncates a state before it even formats the
// next. (It also makes an empty file to lock it.)
func beingWritten(state content) bool {
	const formatting = 5 * time.Second
	pid, locked, err := lockedBy(state.file)
	return err == nil && locked && pid != noPID && !neverWritten(state.file) && time.Since(state.modified) < formatting
}

// read fills data, as long as the state is.
func (c content) read(ctx context.Context, data []byte) error {
	for n := 0; n < len(data); {
		if err := ctx.Err(); err != nil {
			return err
		}
		m, err := c.file.ReadAt(data[n:min(n+chunk, len(data))], int64(n))
		if n += m; err != nil && n < len(data) {
			return err
		}
	}
	return nil
}

// copyTo writes the state to w.
func (c content) copyTo(ctx context.Context, w io.Writer) error {
	buf := make([]byte, min(bufferSize, c.size))
	for at := int64(0); at < c.size; at += int64(len(buf)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		buf = buf[:min(int64(len(buf)), c.size-at)]
		if n, err := c.file.ReadAt(buf, at); n < len(buf) {
			return err
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}
