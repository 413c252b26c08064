//go:build unix

package local

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func killSelf() {
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// confine puts a child under the limits that its part names.
func confine(p part) error {
	signal.Ignore(syscall.SIGXFSZ)
	if p.Limit > 0 && p.From == "" {
		if err := setLimit(p.Limit); err != nil {
			return err
		}
	}
	if p.UID > 0 {
		if err := syscall.Setgroups(nil); err != nil {
			return err
		}
		if err := syscall.Setgid(p.UID); err != nil {
			return err
		}
		return syscall.Setuid(p.UID)
	}
	return nil
}

// childPOSIX locks the state file as Terraform does, and empties it. Told to go on,
// it writes Data bytes to it, and then holds the lock until it is killed.
func childPOSIX(p part) error {
	f, err := os.OpenFile(p.Config.Path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		fmt.Println(err)
		return nil
	}
	if p.Data > 0 {
		err = f.Truncate(0)
	}
	fmt.Println("locked")
	if _, err := fmt.Scanln(); err != nil {
		return err
	}
	if _, err := f.WriteAt(document(p.Data), 0); err != nil {
		return err
	}
	fmt.Println("written")
	time.Sleep(minute)
	return err
}
