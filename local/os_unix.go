//go:build unix

package local

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// errLockedRange is the error of reading what another has locked: none here, where
// locks are advisory.
var errLockedRange error

// throughLock says that a locked file can be read through the locking descriptor
// alone. It is a variable for tests.
var throughLock = false

func checkName(string) error { return nil }

// giveTo makes f belong to the owner and to the group of another file, each as far as
// this process may, and reports whether the group is now that one.
func giveTo(f *os.File, another fs.FileInfo) bool {
	owner, ok := another.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	_ = f.Chown(int(owner.Uid), -1)
	return f.Chown(-1, int(owner.Gid)) == nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
