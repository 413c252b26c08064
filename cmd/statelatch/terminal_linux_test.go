package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal returns the two ends of a terminal: the one of the keyboard and screen,
// and the one of the programs.
func openTerminal(t *testing.T) (screen, tty *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(screen.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 60})
	}
	if err == nil {
		tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close(); tty.Close() })
	return screen, tty
}

// onTerminal starts a command at a terminal of its own; what it prints goes to out.
func (w *world) onTerminal(t *testing.T, args ...string) (cmd *exec.Cmd, keyboard io.Writer, out *syncBuffer) {
	t.Helper()
	screen, tty := openTerminal(t)
	cmd = w.process(args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out = newBuffer()
	go func() { _, _ = io.Copy(out, screen) }()
	timeout := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() { timeout.Stop(); _ = cmd.Process.Kill() })
	return cmd, screen, out
}

func typed(t *testing.T, keyboard io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(keyboard, text); err != nil {
		t.Fatal(err)
	}
}

// until waits for a line that contains text.
func (b *syncBuffer) until(t *testing.T, text string) {
	t.Helper()
	for !strings.Contains(b.line(t), text) {
	}
}

// TestTerminal: a command under a lock has the terminal, for input, Ctrl-C and Ctrl-Z.
func TestTerminal(t *testing.T) {
	const script = `echo ready; read a; echo "got $a"; read b; echo "got $b"`
	args := []string{"lock", "--url", "local:terraform.tfstate", "--", "sh", "-c", script}
	t.Run("input", func(t *testing.T) {
		cmd, keyboard, out := newWorld(t).onTerminal(t, args...)
		out.until(t, "ready")
		typed(t, keyboard, "one\ntwo\n")
		out.until(t, "got two")
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	t.Run("Ctrl-C", func(t *testing.T) {
		w := newWorld(t)
		cmd, keyboard, out := w.onTerminal(t, args...)
		out.until(t, "ready")
		typed(t, keyboard, "\x03")
		if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 128+2 {
			t.Errorf("exit code %d: %s", cmd.ProcessState.ExitCode(), out)
		}
		w.mustBeFree(t, "local:terraform.tfstate", "default")
	})
	t.Run("Ctrl-Z", func(t *testing.T) {
		cmd, keyboard, out := newWorld(t).onTerminal(t, args...)
		out.until(t, "ready")
		typed(t, keyboard, "\x1a")
		// As a shell sees it: the job has stopped. Then it says fg.
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
			t.Fatalf("it has not stopped: %v, %v", status, err)
		}
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		typed(t, keyboard, "one\ntwo\n")
		out.until(t, "got two")
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// TestProgress: only a terminal is told how far a copy is, and that a lock is waited for.
func TestProgress(t *testing.T) {
	w := newWorld(t)
	for i := range 30 {
		put(t, fmt.Sprintf("src/ws-%d/terraform.tfstate", i), state(3, lineage, true))
	}
	args := []string{"copy", "local:a.tfstate?workspace_dir=src", "local:b.tfstate?workspace_dir=dst"}
	cmd, _, out := w.onTerminal(t, args...)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	out.until(t, "30 copied")
	if !strings.Contains(out.String(), "copying") || !strings.Contains(out.String(), "%") {
		t.Errorf("no progress on %q", out)
	}
	if code, _, stderr := w.statelatch("", args...); code != 0 || stderr != "" {
		t.Errorf("exit code %d, and on standard error %q", code, stderr)
	}

	w.hold("local:a.tfstate", "default")
	put(t, "s.tfstate", state(3, lineage, true))
	cmd, _, out = w.onTerminal(t, "push", "s.tfstate", "--url", "local:a.tfstate", "--lock-timeout", "200ms")
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != exitHeld {
		t.Errorf("exit code %d: %s", cmd.ProcessState.ExitCode(), out)
	}
	out.until(t, "Waiting for the lock")
	out.until(t, "gave up")
}
