package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"time"
)

// The guard of a state is a lock on its journal file. Whatever is done to a state
// is done under it, and it is held no longer than that takes: exclusively by Lock,
// Write and Delete, shared by Read, Stat and Holder. So whoever is found to have
// locked the state file, under the guard, is a holder, and not somebody who writes.
//
// Readers that come and go all the time would leave a writer no moment without any.
// So before the guard everybody takes the gate, another lock on the same file: a
// reader for no longer than it takes to take the guard, a writer from when it
// begins to wait for the guard. (On macOS and the BSDs there is no gate.)

// takeGuard takes the exclusive guard, and makes the journal if there is none.
func takeGuard(ctx context.Context, paths files) (*os.File, error) {
	return waitFor(ctx, paths.journal, func() (*os.File, error) {
		f, err := openLocked(paths.journal, paths.openOrCreate, gateByte, true)
		if err != nil {
			return nil, err
		}
		_, err = waitFor(ctx, paths.journal, func() (none struct{}, err error) { return none, tryLock(f, guardByte, true) })
		if err != nil {
			dropGuard(f)
			return nil, err
		}
		paths.follows(f)
		return f, nil
	})
}

// shareGuard takes a shared guard. Where there is no journal it returns nil: nobody
// writes, unless a journal is there afterwards.
func shareGuard(ctx context.Context, journal string) (*os.File, error) {
	f, err := waitFor(ctx, journal, func() (*os.File, error) {
		f, err := openLocked(journal, os.Open, gateByte, false)
		if err != nil {
			return nil, err
		}
		if err = tryLock(f, guardByte, false); err == nil {
			err = release(f, gateByte)
		}
		if err != nil {
			dropGuard(f)
			return nil, err
		}
		return f, nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f, err
}

// dropGuard drops a guard, if there is one.
func dropGuard(f *os.File) {
	if f != nil {
		_ = unlock(f) // it cannot fail in a way that would leave it locked
	}
}

// A span is a range of bytes of a file that is locked; to the end if length is 0.
// Locked bytes need not be there.
type span struct{ start, length int64 }

var (
	wholeFile = span{0, 0} // the lock of a state file, as Terraform takes it
	guardByte = span{1 << 62, 1}
	gateByte  = span{1<<62 + 1, 1}
)

// openLocked opens a file and locks it, or returns errBusy.
func openLocked(path string, open func(string) (*os.File, error), what span, exclusive bool) (*os.File, error) {
	for {
		f, err := open(path)
		if err != nil {
			return nil, err
		}
		if err := tryLock(f, what, exclusive); err != nil {
			f.Close()
			return nil, err
		}
		there, err := isAt(f, path)
		if there {
			return f, nil
		}
		_ = unlock(f) // nobody will miss that lock
		if err != nil {
			return nil, err
		}
		// It was replaced before it was locked.
	}
}

// waitFor calls try, for a file that it is about, until it returns another error than
// errBusy and errUnsettled.
func waitFor[T any](ctx context.Context, file string, try func() (T, error)) (T, error) {
	const shortest, longest = 200 * time.Microsecond, 10 * time.Millisecond
	for pause := shortest; ; pause = min(2*pause, longest) {
		v, err := try()
		if !errors.Is(err, errBusy) && !errors.Is(err, errUnsettled) {
			return v, err
		}
		timer := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return v, fmt.Errorf("%w, while waiting for %s: %v", ctx.Err(), file, err)
		}
	}
}
