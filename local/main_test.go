//go:build unix

package local

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/respawn"
	"github.com/statelatch/statelatch/lock"

	"go.uber.org/goleak"
)

// The tests start this test binary again, as another process that uses the same
// state: a child, which plays the role that its environment names.
const childEnv = "STATELATCH_TEST_CHILD"

// A part is what a child has to do.
type part struct {
	Role   string
	Config Config
	Data   int    // size of the states to be written
	Die    int    // the step, counted from 1, at which it kills itself; 0 = none
	Locked bool   // writes under a lock
	Limit  int64  // of the size of files
	From   string // the step from which that holds; "" = the beginning
	UID    int
}

var roles = map[string]func(part) error{
	"write":  childWrite,
	"delete": childDelete,
	"lock":   childLock,
	"loop":   childLoop,
	"hold":   childHold,
	"count":  childCount,
	"posix":  childPOSIX,
	"look":   childLook,
}

func TestMain(m *testing.M) {
	var p part
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &p); err == nil {
		if err := play(p); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func play(p part) error {
	if err := confine(p); err != nil {
		return err
	}
	steps := 0
	testHook = func(step string) {
		fmt.Println("step", step)
		if steps++; steps == p.Die {
			killSelf()
		}
		if step == p.From {
			setLimit(p.Limit)
		}
	}
	return roles[p.Role](p)
}

// child returns a child, not yet started.
func child(t testing.TB, p part) *exec.Cmd {
	t.Helper()
	env, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return respawn.Command(t.Context(), nil, childEnv+"="+string(env))
}

// steps runs a child to its end, and returns the steps that it went through, and
// what it had to say in the end.
func steps(t testing.TB, p part) (steps []string, said string) {
	t.Helper()
	cmd := child(t, p)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && p.Die == 0 && stderr.Len() == 0 {
		t.Fatalf("child %+v: %v", p, err)
	}
	for line := range strings.Lines(string(out)) {
		if step, ok := strings.CutPrefix(strings.TrimSpace(line), "step "); ok {
			steps = append(steps, step)
		}
	}
	return steps, stderr.String()
}

// listening starts a child and returns the lines that it prints.
func listening(t testing.TB, p part) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := child(t, p)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// ended kills a child that still runs.
func ended(cmd *exec.Cmd) {
	cmd.Process.Kill()
	cmd.Wait()
}

func childWrite(p part) error {
	b, _ := New(context.Background(), p.Config)
	cond := backend.Condition{Revision: backend.AnyRevision}
	if p.Locked {
		info, err := b.Lock(context.Background(), ws, lock.NewInfo("write"))
		if err != nil {
			return err
		}
		cond.LockID = info.ID
	}
	_, err := b.Write(context.Background(), ws, document(p.Data), cond)
	return err
}

func childDelete(p part) error {
	b, _ := New(context.Background(), p.Config)
	return b.Delete(context.Background(), ws, backend.Condition{Revision: backend.AnyRevision})
}

func childLock(p part) error {
	b, _ := New(context.Background(), p.Config)
	_, err := b.Lock(context.Background(), ws, lock.NewInfo("lock"))
	return err
}

// childHold holds the lock until it is killed.
func childHold(p part) error {
	b, _ := New(context.Background(), p.Config)
	info, err := b.Lock(context.Background(), ws, lock.NewInfo("hold"))
	fmt.Println(info.ID)
	time.Sleep(minute)
	return err
}

// childCount adds one to the number in the state, Data times: by Update if Locked,
// else by compare-and-swap alone.
func childCount(p part) error {
	ctx := context.Background()
	b, _ := New(ctx, p.Config)
	defer b.Close()
	for range p.Data {
		if err := increment(ctx, b, p.Locked); err != nil {
			return err
		}
	}
	return nil
}

func increment(ctx context.Context, b *Backend, locked bool) error {
	edit := func(_ context.Context, st backend.State) ([]byte, error) {
		n := 0
		if len(st.Data) > 0 {
			if _, err := fmt.Sscan(string(st.Data), &n); err != nil {
				return nil, err
			}
		}
		return fmt.Appendln(nil, n+1), nil
	}
	if locked {
		_, err := backend.Update(ctx, b, ws, lock.NewInfo("count"), lock.Options{Timeout: 10 * minute}, edit) // it is not about who waits how long
		return err
	}
	_, err := backend.Update(ctx, unlockable{b}, ws, lock.Info{}, lock.Options{}, edit)
	return err
}

// unlockable hides that a Backend has locks.
type unlockable struct{ backend.Backend }

var errDied = errors.New("the child ended before its time")
