//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package local

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// tryLock locks f, or returns errBusy. Unlike on Linux, flock and the POSIX locks
// that Terraform takes exclude each other here. There is one such lock on a file,
// so there is no gate.
func tryLock(f *os.File, what span, exclusive bool) error {
	if what == gateByte {
		return nil
	}
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	err := flock(f, how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errBusy
	}
	return err
}

// release drops the lock of a span of f.
func release(f *os.File, what span) error {
	if what == gateByte {
		return nil
	}
	return flock(f, unix.LOCK_UN)
}

// unlock drops the lock of f, at once even where a process that is just being
// forked still shares it, and closes f.
func unlock(f *os.File) error { return errors.Join(release(f, wholeFile), f.Close()) }

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("flock "+f.Name(), err)
		}
	}
}

// lockedBy reports whether anybody has locked f: which process, if by a POSIX lock,
// as Terraform does; else noPID.
func lockedBy(f *os.File) (pid int, locked bool, err error) {
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &l); err != nil {
		return 0, false, os.NewSyscallError("fcntl "+f.Name(), err)
	}
	return int(l.Pid), l.Type != unix.F_UNLCK, nil
}

// reserve does nothing: these systems have no call in common that takes space.
func reserve(*os.File, int64) error { return nil }

// awaitWriter does nothing: these systems have no call for it in common, so that
// the size and the time of the file have to tell.
func awaitWriter(*os.File) {}

// neverWritten does not know: these systems have no call for it in common.
func neverWritten(*os.File) bool { return false }
