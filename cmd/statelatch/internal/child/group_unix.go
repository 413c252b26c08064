//go:build unix

package child

import (
	"os"
	"os/signal"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Forwarded are the signals that a command is to get instead of this process: not one
// that both ignore, as under nohup: to ask for that one would end the ignoring.
func Forwarded() []os.Signal {
	return slices.DeleteFunc([]os.Signal{
		syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
	}, signal.Ignored)
}

// A terminal is the one whose foreground the command gets; the zero terminal is none.
type terminal struct {
	fd    int
	valid bool
}

// foreground returns the terminal that stdin is, if this process may hand it on.
func foreground(stdin any) terminal {
	file, ok := stdin.(*os.File)
	if !ok {
		return terminal{}
	}
	fd := int(file.Fd())
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return terminal{fd, err == nil && group == unix.Getpgrp()}
}

func attributes(t terminal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if t.valid {
		attr.Foreground, attr.Ctty = true, t.fd
	}
	dieWithParent(attr)
	return attr
}

func signalGroup(pid int, s os.Signal) {
	if number, ok := s.(syscall.Signal); ok {
		_ = syscall.Kill(-pid, number) // it may have ended
	}
}

// give makes a process group that of the foreground.
func (t terminal) give(group int) {
	if !t.valid {
		return
	}
	signal.Ignore(syscall.SIGTTOU) // which stops those in the background who ask for it
	_ = unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, group)
	signal.Reset(syscall.SIGTTOU)
}

func (t terminal) restore() { t.give(unix.Getpgrp()) }
