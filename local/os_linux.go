package local

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// tryLock locks a span of f, or returns errBusy. The lock belongs to the open file:
// it excludes other descriptors of this process too, and the POSIX locks that
// Terraform takes; and closing another descriptor does not drop it.
func tryLock(f *os.File, what span, exclusive bool) error {
	kind := int16(unix.F_RDLCK)
	if exclusive {
		kind = unix.F_WRLCK
	}
	err := fcntl(f, unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: what.start, Len: what.length})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return errBusy
	}
	return err
}

// release drops the lock of a span of f.
func release(f *os.File, what span) error {
	return fcntl(f, unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK, Start: what.start, Len: what.length})
}

// unlock drops the locks of f, at once even where a process that is just being
// forked still shares them, and closes f.
func unlock(f *os.File) error { return errors.Join(release(f, wholeFile), f.Close()) }

// lockedBy reports whether anybody has locked f: which process, if by a POSIX lock,
// as Terraform does; else noPID.
func lockedBy(f *os.File) (pid int, locked bool, err error) {
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if err := fcntl(f, unix.F_OFD_GETLK, &l); err != nil {
		return 0, false, err
	}
	return int(l.Pid), l.Type != unix.F_UNLCK, nil
}

func fcntl(f *os.File, cmd int, l *unix.Flock_t) error {
	for {
		if err := unix.FcntlFlock(f.Fd(), cmd, l); !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fcntl "+f.Name(), err)
		}
	}
}

// reserve takes the space for the first size bytes of f, so that writing them does
// not fail for want of it.
func reserve(f *os.File, size int64) error {
	err := error(unix.EINTR)
	for errors.Is(err, unix.EINTR) {
		err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return os.NewSyscallError("fallocate "+f.Name(), err)
}

const seekData = 3 // SEEK_DATA

// awaitWriter returns when no write to f is under way. A reader sees a write grow
// page by page, unless it waits for the lock of the inode, which a write holds and
// SEEK_DATA takes (on ext4, btrfs and tmpfs; XFS locks out readers anyway).
func awaitWriter(f *os.File) { _, _ = f.Seek(0, seekData) }

// neverWritten reports whether f is as it was made: there never was a state in it.
func neverWritten(f *os.File) bool {
	var s unix.Statx_t
	const want = unix.STATX_BTIME | unix.STATX_MTIME
	err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, want, &s)
	return err == nil && s.Mask&want == want && s.Btime == s.Mtime
}
