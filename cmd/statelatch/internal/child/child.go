// Package child runs a command as long as something holds, such as a lock: the
// command, and all that it starts, is a process group of its own, so that signals
// reach all of it and nothing of it is left when it has to end.
package child

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Options say what happens to a command while it runs.
type Options struct {
	// Signals are passed on to the command.
	Signals <-chan os.Signal
	// Lost, when it is closed, ends the command: by SIGTERM, and after Grace by SIGKILL.
	Lost  <-chan struct{}
	Grace time.Duration
}

// Run runs cmd to its end, and returns the code that a shell would give it: its own,
// or 128 and the number of the signal that killed it. If stdin is a terminal and this
// process in its foreground, the command is, meanwhile.
//
// Processes that the command leaves behind when it ends by itself are not waited for.
// If Lost ended it, they are killed.
func Run(cmd *exec.Cmd, o Options) (code int, err error) {
	runtime.LockOSThread() // the kernel ends the command with the thread that started it
	defer runtime.UnlockOSThread()
	terminal := foreground(cmd.Stdin)
	cmd.SysProcAttr = attributes(terminal)
	cmd.WaitDelay = time.Second // where output is copied, and somebody keeps it open
	stops, forget := stopped()  // before there is a child that could be
	defer forget()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer terminal.restore()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	err = attend(cmd.Process.Pid, ended, stops, terminal, o)
	return exitCode(cmd.ProcessState), err
}

// attend waits for the command, and does meanwhile what o says.
func attend(pid int, ended <-chan error, stops <-chan os.Signal, t terminal, o Options) error {
	lost, kill := o.Lost, (<-chan time.Time)(nil)
	for {
		select {
		case err := <-ended:
			if lost == nil && o.Lost != nil {
				signalGroup(pid, syscall.SIGKILL)
			}
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) || errors.Is(err, exec.ErrWaitDelay) {
				return nil
			}
			return err
		case s := <-o.Signals:
			signalGroup(pid, s)
		case <-stops:
			t.suspend(pid)
		case <-lost:
			lost, kill = nil, time.After(o.Grace)
			signalGroup(pid, syscall.SIGTERM)
		case <-kill:
			signalGroup(pid, syscall.SIGKILL)
		}
	}
}

func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(interface {
		Signaled() bool
		Signal() syscall.Signal
	}); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
