package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/statelatch/statelatch/backend"
	"golang.org/x/sys/windows"
)

// errLockedRange is the error of reading what another has locked.
var errLockedRange error = windows.ERROR_LOCK_VIOLATION

// throughLock says that a locked file can be read through the locking handle alone.
var throughLock = true

// tryLock locks a span of f, or returns errBusy.
func tryLock(f *os.File, what span, exclusive bool) error {
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if exclusive {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	low, high, at := what.lockFile()
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, low, high, at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return errBusy
	}
	return os.NewSyscallError("LockFileEx "+f.Name(), err)
}

// release drops the lock of a span of f.
func release(f *os.File, what span) error {
	low, high, at := what.lockFile()
	err := windows.UnlockFileEx(windows.Handle(f.Fd()), 0, low, high, at)
	return os.NewSyscallError("UnlockFileEx "+f.Name(), err)
}

// lockFile returns s as LockFileEx takes it. The whole is what Terraform locks.
func (s span) lockFile() (low, high uint32, at *windows.Overlapped) {
	if s == wholeFile {
		return 0, ^uint32(0), new(windows.Overlapped)
	}
	return uint32(s.length), 0, &windows.Overlapped{Offset: uint32(s.start), OffsetHigh: uint32(s.start >> 32)}
}

// unlock drops the locks of f and closes it. Closing alone would drop them too, but
// not at once. Of the spans, those that are not locked are no matter.
func unlock(f *os.File) error {
	for _, what := range []span{wholeFile, guardByte, gateByte} {
		_ = release(f, what)
	}
	return f.Close()
}

// lockedBy reports whether anybody has locked f exclusively. Windows does not say
// who, and has to be asked by locking it, shared, for a moment.
func lockedBy(f *os.File) (pid int, locked bool, err error) {
	switch err := tryLock(f, wholeFile, false); {
	case errors.Is(err, errBusy):
		return noPID, true, nil
	case err != nil:
		return 0, false, err
	}
	return noPID, false, release(f, wholeFile)
}

// checkName refuses what names a device, a drive or a stream here, and what
// Windows would shorten to another name.
func checkName(workspace string) error {
	if !filepath.IsLocal(workspace) || strings.HasSuffix(workspace, ".") {
		return fmt.Errorf("%w: Windows has another meaning for %q", backend.ErrInvalidName, workspace)
	}
	return nil
}

// giveTo does nothing: a new file has the access rights of its directory.
func giveTo(*os.File, fs.FileInfo) bool { return true }

// syncDir does nothing: Windows keeps directories by itself.
func syncDir(string) error { return nil }

// reserve does nothing: Windows takes space by growing the file.
func reserve(*os.File, int64) error { return nil }

// awaitWriter does nothing: the lock of whoever writes keeps readers out.
func awaitWriter(*os.File) {}

// neverWritten does not matter: Terraform's lock keeps readers out.
func neverWritten(*os.File) bool { return false }
