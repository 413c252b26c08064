//go:build unix && !linux

package local

import (
	"errors"

	"golang.org/x/sys/unix"
)

func setLimit(size int64) error {
	limit := unix.Rlimit{}
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	set(&limit.Cur, size)
	return unix.Setrlimit(unix.RLIMIT_FSIZE, &limit)
}

// set is for a field that is signed on some systems.
func set[T int64 | uint64](field *T, value int64) { *field = T(value) }

func mount(string, int) error { return errors.ErrUnsupported }

func remountReadOnly(string) error { return errors.ErrUnsupported }
