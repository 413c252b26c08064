//go:build unix

package main

import (
	"bytes"
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/middleware/faulty"
)

// TestInterruptedCode: the exit code tells the signal, and that not all was done.
func TestInterruptedCode(t *testing.T) {
	for _, test := range []struct {
		op   faulty.Op
		args string
	}{
		{faulty.Lock, "lock --url test:a"},
		{faulty.Unlock, "probe --write --url test:a"},
		{faulty.Write, "probe --write --url test:a"},
	} {
		t.Run(test.args+" "+string(test.op), func(t *testing.T) {
			w := newWorld(t)
			put(t, "s.tfstate", state(4, lineage, true))
			w.ok("push", "s.tfstate", "--url", "test:a")
			ctx, cancel := context.WithCancelCause(context.Background())
			w.stores.get("a").faulty.After(test.op, 1, func(context.Context) error { cancel(signalled{syscall.SIGTERM}); return nil })
			var out, errs bytes.Buffer
			if code := w.run(ctx, strings.Fields(test.args), strings.NewReader(""), &out, &errs); code != 128+15 {
				t.Errorf("exit code %d: %s%s", code, &out, &errs)
			}
		})
	}
}

// TestSignalBeforeCommand: a signal that comes when the lock is there and the command
// not yet, still reaches the command.
func TestSignalBeforeCommand(t *testing.T) {
	w := newWorld(t)
	w.stores.get("a").faulty.After(faulty.Lock, 1, func(context.Context) error {
		got := make(chan os.Signal, 1)
		signal.Notify(got, syscall.SIGUSR1)
		err := syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		<-got
		signal.Stop(got) // returns when all others have got it too
		return err
	})
	r := w.start("lock", "--url", "test:a", "--", "sleep", "60")
	if code := r.wait(t); code != 128+int(syscall.SIGUSR1) {
		t.Errorf("exit code %d: %s", code, r.err)
	}
}

// TestSignalWhileWaiting: a signal for the command ends the waiting, if there is none yet,
// and leaves no lock.
func TestSignalWhileWaiting(t *testing.T) {
	w := newWorld(t)
	w.hold("test:a", "default")
	s := w.stores.get("a")
	reached, release := s.faulty.Hang(faulty.Wait, 1)
	defer release()
	r := w.start("lock", "--url", "test:a", "--lock-timeout", "1m", "--", "sleep", "60")
	<-reached
	if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if code := r.wait(t); code != 128+int(syscall.SIGUSR1) {
		t.Errorf("exit code %d: %s", code, r.err)
	}
	if err := s.memory.Unlock(t.Context(), "default", foreignID); err != nil {
		t.Error(err)
	}
	w.mustBeFree(t, "test:a", "default")
}

// TestInterruptedRead: a signal ends the reading of what may never come to its end.
func TestInterruptedRead(t *testing.T) {
	for _, args := range []string{
		"push --url test:a", "push pipe --url test:a", "serve --url test:a --basic-auth-file pipe",
		"serve --url test:a --anonymous --tls-cert pipe --tls-key pipe",
	} {
		t.Run(args, func(t *testing.T) {
			w := newWorld(t)
			if err := syscall.Mkfifo("pipe", 0o600); err != nil {
				t.Fatal(err)
			}
			stdin, end, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { // lets the readers go
				end.Close()
				if pipe, err := os.OpenFile("pipe", os.O_RDWR, 0); err == nil {
					pipe.Close()
				}
			})
			r := &running{code: make(chan int, 1), out: newBuffer(), err: newBuffer()}
			ctx, cancel := context.WithCancelCause(context.Background())
			go func() { r.code <- w.run(ctx, strings.Fields(args), stdin, r.out, r.err) }()
			cancel(signalled{syscall.SIGTERM})
			if code := r.wait(t); code != 128+15 {
				t.Errorf("exit code %d: %s", code, r.err)
			}
		})
	}
}

// TestUnheardPush: what was stored is not saved again because nobody reads the result.
func TestUnheardPush(t *testing.T) {
	w := newWorld(t)
	var errs bytes.Buffer
	code := w.run(t.Context(), []string{"push", "--url", "test:a"}, strings.NewReader(state(4, lineage, true)), closedPipe{}, &errs)
	if _, err := os.Stat("errored.tfstate"); code != exitBrokenPipe || err == nil {
		t.Errorf("exit code %d: %s; errored.tfstate: %v", code, &errs, err)
	}
}

// TestOutIsNoFile: --out replaces files, and no devices.
func TestOutIsNoFile(t *testing.T) {
	w := newWorld(t)
	put(t, "s.tfstate", state(4, lineage, true))
	w.ok("push", "s.tfstate", "--url", "test:a")
	if err := os.Symlink(os.DevNull, "sink"); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := w.statelatch("", "pull", "--url", "test:a", "--out", "sink")
	if info, err := os.Lstat("sink"); code != exitUsage || err != nil || info.Mode().IsRegular() {
		t.Errorf("exit code %d: %s; %v, %v", code, stderr, info, err)
	}
}

// TestOutIsLink: --out writes to what a link leads to, and leaves the link.
func TestOutIsLink(t *testing.T) {
	w := newWorld(t)
	put(t, "s.tfstate", state(4, lineage, true))
	w.ok("push", "s.tfstate", "--url", "test:a")
	put(t, "sub/old", "old")
	if err := syscall.Mkfifo("pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"link": "sub/first", "sub/first": "old", "to-pipe": "pipe", "to-nothing": "nothing"} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	for link, want := range map[string]int{"link": 0, "to-pipe": exitUsage, "to-nothing": exitNotFound} {
		code, _, stderr := w.statelatch("", "pull", "--url", "test:a", "--out", link)
		if info, err := os.Lstat(link); code != want || err != nil || info.Mode().Type() != os.ModeSymlink {
			t.Errorf("%s: exit code %d, want %d: %s; %v, %v", link, code, want, stderr, info, err)
		}
	}
	if got, err := os.ReadFile("sub/old"); err != nil || string(got) != state(4, lineage, true) {
		t.Errorf("behind the link is %q, %v", got, err)
	}
	if entries, err := filepath.Glob("*/.statelatch-*"); err != nil || entries != nil {
		t.Errorf("%q is left, %v", entries, err)
	}
}

// TestFilesDenied: what the system does not allow with a file of the user's has the exit
// codes that the same has with a service.
func TestFilesDenied(t *testing.T) {
	w := newWorld(t)
	dir, err := os.MkdirTemp("", "statelatch") //nolint:usetesting // others cannot get into TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Chdir(dir)
	put(t, "terraform.tfstate", state(4, lineage, true))
	put(t, "secret", state(5, lineage, true))
	put(t, "sealed/old", "")
	for name, mode := range map[string]os.FileMode{".": 0o755, "terraform.tfstate": 0o644, "secret": 0, "sealed": 0o555} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	for args, want := range map[string]int{
		"push secret": exitPermission, "push none": exitNotFound, "serve --basic-auth-file secret": exitPermission,
		"pull --out sealed/new": exitPermission, "pull --out sealed/old": exitPermission, "pull --out none/new": exitNotFound,
	} {
		cmd := w.process(append(strings.Fields(args), "--url", "local:terraform.tfstate")...)
		cmd.Env = append(cmd.Env, asNobody+"=1")
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != want || bytes.Contains(out, []byte("probe")) {
			t.Errorf("%s: exit code %d, want %d: %s", args, code, want, out)
		}
	}
}

// TestDeleteUnseen: of a state in a format that is not read, nobody sees that it has no
// resources.
func TestDeleteUnseen(t *testing.T) {
	w := newWorld(t)
	old := `{"version":3,"serial":1,"modules":[{"path":["root"],"resources":{"a.b":{"type":"a"}}}]}`
	if _, err := w.stores.get("a").memory.Write(t.Context(), "default", []byte(old), backend.Condition{}); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := w.statelatch("", "delete", "default", "--url", "test:a"); code != exitFailed || !strings.Contains(stderr, "cannot be seen") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
