//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/respawn"
	"github.com/statelatch/statelatch/local"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/memory"
	"github.com/statelatch/statelatch/middleware/faulty"
)

// running is a command that runs in this process.
type running struct {
	cancel func(error)
	code   chan int
	out    *syncBuffer
	err    *syncBuffer
}

func (w *world) start(args ...string) *running {
	ctx, cancel := context.WithCancelCause(context.Background())
	r := &running{cancel: cancel, code: make(chan int, 1), out: newBuffer(), err: newBuffer()}
	go func() { r.code <- w.run(ctx, args, strings.NewReader(""), r.out, r.err) }()
	w.ends = append(w.ends, func() { cancel(errors.New("the test is over")) })
	return r
}

func (r *running) wait(t *testing.T) int {
	t.Helper()
	select {
	case code := <-r.code:
		return code
	case <-time.After(patience):
		t.Fatalf("it does not end; it printed %q and %q", r.out.String(), r.err.String())
		return 0
	}
}

// alive reports whether a process runs, and is no zombie.
func alive(t *testing.T, pid string) bool {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ps", "-o", "stat=", "-p", pid).Output()
	return err == nil && !strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
}

// mustEnd waits for the end of a process that has got its signal.
func mustEnd(t *testing.T, pid string) {
	t.Helper()
	for end := time.Now().Add(patience); alive(t, pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %s outlives the lock", pid)
		}
	}
}

func (w *world) mustBeFree(t *testing.T, url, workspace string) {
	t.Helper()
	b := w.backend(url)
	defer b.Close()
	l, _ := backend.As[lock.Locker](b)
	if info, err := l.Holder(context.Background(), workspace); !errors.Is(err, lock.ErrNotHeld) {
		t.Errorf("the lock is left behind: %v, %v", info, err)
	}
}

// TestLostLockEndsCommand: somebody breaks the lock, and the command, which does not
// listen to SIGTERM, and its child, which runs in the background, are ended.
func TestLostLockEndsCommand(t *testing.T) {
	for _, test := range []struct{ name, script string }{
		{"heeds SIGTERM", `sleep 100 & echo $! $$; wait`},
		{"does not", `trap '' TERM; sleep 100 & echo $! $$; while :; do sleep 1; done`},
		{"its child does not", `sh -c "trap '' TERM; sleep 100" & sleep 0.2; echo $! $$; wait`},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			r := w.start("lock", "--url", "test:a", "--check", "20ms", "--kill-after", "300ms", "--", "sh", "-c", test.script)
			pids := strings.Fields(r.out.line(t))
			b := w.stores.get("a").memory
			holder, err := b.Holder(t.Context(), "default")
			if err == nil {
				err = b.Unlock(t.Context(), "default", holder.ID)
			}
			if err != nil {
				t.Fatal(err)
			}
			if code := r.wait(t); code != exitLost {
				t.Errorf("exit code %d: %s", code, r.err)
			}
			if !strings.Contains(strings.Join(strings.Fields(r.err.String()), " "), "was lost") {
				t.Errorf("it does not say why: %q", r.err)
			}
			for _, pid := range pids {
				mustEnd(t, pid)
			}
		})
	}
}

// TestLostLockShowsAtTheEnd: the command is over before anybody looks; that the lock
// was not there any more is told all the same.
func TestLostLockShowsAtTheEnd(t *testing.T) {
	w := newWorld(t)
	r := w.start("lock", "--url", "test:a", "--check", "-1s", "--", "sh", "-c", `echo started; while ! test -e go; do sleep 0.05; done`)
	r.out.line(t)
	// Past what Acquire listens to: the record of another holder appears in place of ours.
	w.stores.get("a").memory.SetLockRecord("default", []byte(`{"ID":"other","Who":"mallory"}`))
	if err := os.WriteFile("go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code := r.wait(t); code != exitLost {
		t.Errorf("exit code %d: %s", code, r.err)
	}
}

// TestInterruptedCommand: when the command line is told to stop, the command is; the
// lock stays until it has ended by itself, and is then released.
func TestInterruptedCommand(t *testing.T) {
	w := newWorld(t)
	r := w.start("lock", "--url", "test:a", "--", "sh", "-c", `trap 'echo stopping; while ! test -e go; do sleep 0.05; done; exit 9' INT; echo started; while :; do sleep 0.05; done`)
	if line := r.out.line(t); line != "started" {
		t.Fatal(line)
	}
	r.cancel(errors.New("enough"))
	if line := r.out.line(t); line != "stopping" {
		t.Fatal(line)
	}
	if _, err := w.stores.get("a").memory.Holder(t.Context(), "default"); err != nil {
		t.Errorf("the command still works, without a lock: %v", err)
	}
	if err := os.WriteFile("go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code := r.wait(t); code != 9 {
		t.Errorf("exit code %d: %s", code, r.err)
	}
	w.mustBeFree(t, "test:a", "default")
}

// TestInterrupted: wherever a command is interrupted, it leaves no lock behind.
func TestInterrupted(t *testing.T) {
	for _, test := range []struct {
		command string
		calls   []faulty.Op
	}{
		{"push s.tfstate --url test:a", []faulty.Op{faulty.Lock, faulty.Read, faulty.Write, faulty.Unlock}},
		{"lock --url test:a -- true", []faulty.Op{faulty.Lock, faulty.Unlock}},
		{"lock --url test:a", []faulty.Op{faulty.Lock}},
		{"delete default --url test:a --force", []faulty.Op{faulty.Lock, faulty.Read, faulty.Delete, faulty.Unlock}},
		{"copy test:src test:a", []faulty.Op{faulty.Lock, faulty.Read, faulty.Write, faulty.Unlock}},
		{"probe --write --url test:a", []faulty.Op{faulty.Lock, faulty.Read, faulty.Write, faulty.Unlock, faulty.Delete}},
	} {
		for _, op := range test.calls {
			for _, when := range []string{"before", "after"} {
				t.Run(fmt.Sprintf("%s %s %s", test.command, when, op), func(t *testing.T) {
					interruptAt(t, op, when == "after", strings.Fields(test.command))
				})
			}
		}
	}
}

func interruptAt(t *testing.T, op faulty.Op, after bool, args []string) {
	w := newWorld(t)
	ctx := context.Background()
	s := w.stores.get("a")
	for serial, b := range map[int]backend.Backend{4: s.memory, 5: w.stores.get("src").memory} {
		if _, err := b.Write(ctx, "default", []byte(state(serial, lineage, true)), backend.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("s.tfstate", []byte(state(90, lineage, true)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	interrupt := func(context.Context) error { cancel(signalled{syscall.SIGINT}); return nil }
	if after {
		s.faulty.After(op, 1, interrupt)
	} else {
		s.faulty.Before(op, 1, interrupt)
	}
	var out, errs bytes.Buffer
	code := w.run(ctx, args, strings.NewReader(""), &out, &errs)
	if ctx.Err() == nil {
		t.Fatalf("it was not interrupted: exit code %d: %s%s", code, &out, &errs)
	}
	for name := range s.memory.List(context.Background()) {
		w.mustBeFree(t, "test:a", name)
		if strings.HasPrefix(name, "statelatch-probe-") {
			t.Errorf("workspace %s is left behind", name)
		}
	}
	w.mustBeFree(t, "test:a", "default")
	w.mustBeFree(t, "test:src", "default")
}

// process starts this test binary as statelatch.
func (w *world) process(args ...string) *exec.Cmd {
	return respawn.Command(w.t.Context(), args, asProgram+"=1")
}

// TestSignals: a real statelatch passes signals on, and when it is killed the lock of
// a file ends with it, and the command too.
func TestSignals(t *testing.T) {
	const script = `trap 'echo got it; exit 4' TERM USR1; echo $$; while :; do sleep 0.05; done`
	for _, test := range []struct {
		signal syscall.Signal
		code   int
	}{{syscall.SIGTERM, 4}, {syscall.SIGUSR1, 4}, {syscall.SIGHUP, 128 + 1}, {syscall.SIGINT, 128 + 2}, {syscall.SIGKILL, -1}} {
		if signal.Ignored(test.signal) {
			continue // the tests run under nohup
		}
		t.Run(test.signal.String(), func(t *testing.T) {
			w := newWorld(t)
			cmd := w.process("lock", "--url", "local:terraform.tfstate", "--", "sh", "-c", script)
			out := newBuffer()
			cmd.Stdout, cmd.Stderr = out, out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			pid := out.line(t)
			if _, err := (w.backend("local:terraform.tfstate").(*local.Backend)).Holder(t.Context(), "default"); err != nil {
				t.Errorf("not locked: %v", err)
			}
			if err := cmd.Process.Signal(test.signal); err != nil {
				t.Fatal(err)
			}
			defer time.AfterFunc(patience, func() { _ = cmd.Process.Kill() }).Stop()
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != test.code {
				t.Errorf("exit code %d, want %d: %s", code, test.code, out)
			}
			w.mustBeFree(t, "local:terraform.tfstate", "default")
			mustEnd(t, pid)
		})
	}
}

// TestBorrowedLock: a command under a lock writes under it.
func TestBorrowedLock(t *testing.T) {
	w := newWorld(t)
	s := w.stores.get("a")
	if err := os.WriteFile("s.tfstate", []byte(state(4, lineage, true)), 0o600); err != nil {
		t.Fatal(err)
	}
	r := w.start("lock", "--url", "test:a", "--", "sh", "-c", `echo $STATELATCH_LOCK_ID; while ! test -e go; do sleep 0.05; done`)
	id := r.out.line(t)
	w.ok("push", "s.tfstate", "--url", "test:a", "--lock-id", id)
	if info, err := s.memory.Holder(t.Context(), "default"); err != nil || info.ID != id {
		t.Errorf("the lock is %v, %v", info, err)
	}
	if err := os.WriteFile("go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code := r.wait(t); code != 0 {
		t.Errorf("exit code %d: %s", code, r.err)
	}
}

// TestModes: a private file stays private, and no command makes one that is not.
func TestModes(t *testing.T) {
	w := newWorld(t)
	if err := os.WriteFile("s.tfstate", []byte(state(4, lineage, true)), 0o600); err != nil {
		t.Fatal(err)
	}
	w.ok("push", "s.tfstate", "--url", "test:a")
	w.ok("pull", "--url", "test:a", "--out", "pulled")
	w.ok("copy", "test:a", "local:files/terraform.tfstate")
	w.stores.get("a").faulty.Fail(faulty.Write, faulty.Every, nil)
	_, _, _ = w.statelatch(state(9, lineage, true), "push", "--url", "test:a")
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("errored.tfstate"); err != nil {
		t.Error(err)
	}
}

// TestUnheardLock: a lock whose ID nobody got to know is not left behind.
func TestUnheardLock(t *testing.T) {
	w := newWorld(t)
	for _, args := range [][]string{{"lock", "--url", "test:a"}, {"lock", "--url", "test:a", "--json"}} {
		var errs bytes.Buffer
		if code := w.run(t.Context(), args, strings.NewReader(""), closedPipe{}, &errs); code != exitBrokenPipe || errs.Len() > 0 {
			t.Errorf("exit code %d: %s", code, &errs)
		}
		w.mustBeFree(t, "test:a", "default")
	}
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// TestNohup: a signal that is ignored, by nohup or by the "&" of a script, stops
// nothing, and is not passed on.
func TestNohup(t *testing.T) {
	for name, s := range map[string]syscall.Signal{"HUP": syscall.SIGHUP, "INT": syscall.SIGINT} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			cmd := w.process("lock", "--url", "local:terraform.tfstate", "--", "sh", "-c", "echo started; while ! test -e go; do sleep 0.05; done")
			cmd.Args = append([]string{"sh", "-c", `trap "" ` + name + `; exec "$0" "$@"`}, append([]string{cmd.Path}, cmd.Args[1:]...)...)
			cmd.Path, _ = exec.LookPath("sh")
			out := newBuffer()
			cmd.Stdout, cmd.Stderr = out, out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			out.line(t)
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			put(t, "go", "")
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// TestDamaged: a damaged state is shown only to who asks for it, and never as a success.
func TestDamaged(t *testing.T) {
	w := newWorld(t)
	w.mux = backend.NewMux(backend.NewDriver(func(context.Context, struct{}) (backend.Backend, error) {
		return damaged{memory.New()}, nil
	}, "damaged"))
	for _, test := range []struct {
		args   []string
		stdout string
	}{{[]string{"pull"}, ""}, {[]string{"pull", "--damaged"}, "half a state"}} {
		code, stdout, stderr := w.statelatch("", append(test.args, "--url", "damaged:")...)
		if code != exitFailed || stdout != test.stdout || !strings.Contains(stderr, "damaged") {
			t.Errorf("%q: exit code %d: %s%s", test.args, code, stdout, stderr)
		}
	}
}

type damaged struct{ *memory.Backend }

func (damaged) Read(context.Context, string) (backend.State, error) {
	return backend.State{Data: []byte("half a state"), Revision: "1"}, &backend.Error{Op: "read", Kind: backend.ErrCorrupt}
}

// TestInterruptedWait: who is interrupted while waiting for a lock, is told so.
func TestInterruptedWait(t *testing.T) {
	w := newWorld(t)
	w.hold("test:a", "default")
	s := w.stores.get("a")
	reached, release := s.faulty.Hang(faulty.Wait, 1)
	defer release()
	r := w.start("lock", "--url", "test:a", "--lock-timeout", "1m", "--", "true")
	<-reached
	r.cancel(signalled{syscall.SIGTERM})
	if code := r.wait(t); code != 128+15 || !strings.Contains(r.err.String(), "alice") {
		t.Errorf("exit code %d: %s", code, r.err)
	}
}
