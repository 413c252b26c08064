package child

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// dieWithParent lets the kernel end the command if this process is killed: a lock
// of files ends with it, and a lock that is not renewed any more soon.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGTERM }

// stopped tells of children that may have been stopped, by Ctrl-Z for one.
func stopped() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGCHLD)
	return c, func() { signal.Stop(c) }
}

// suspend, if the command has been stopped, stops this process as well, so that the
// shell notices; and when the shell lets it go on, the command too.
func (t terminal) suspend(pid int) {
	var info unix.Siginfo
	if unix.Waitid(unix.P_PID, pid, &info, unix.WSTOPPED|unix.WNOHANG, nil) != nil || info.Signo == 0 || !t.valid {
		return
	}
	t.restore()
	_ = unix.Kill(0, unix.SIGSTOP) // all of the job; returns when somebody lets it go on
	t.give(pid)
	signalGroup(pid, syscall.SIGCONT)
}
