//go:build unix

package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

var bg = context.Background()

func journalOf(c Config) string {
	return filepath.Join(filepath.Dir(c.Path), "."+filepath.Base(c.Path)+".journal")
}

// TestKilledAtEachStep lets a child die at each step of each kind of change.
func TestKilledAtEachStep(t *testing.T) {
	const large, small = 2*chunk + 100, chunk + 7
	for _, c := range []struct {
		name     string
		old, new int
		part     part
	}{
		{"create", 0, large, part{Role: "write"}},
		{"create under a lock", 0, 5000, part{Role: "write", Locked: true}},
		{"grow", small, large, part{Role: "write"}},
		{"grow within a block", 100, 200, part{Role: "write"}},
		{"shrink", large, small, part{Role: "write", Locked: true}},
		{"shrink to less than a block", 5000, 10, part{Role: "write"}},
		{"replace", large, large - 1, part{Role: "write"}},
		{"delete", large, 0, part{Role: "delete"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.part.Data = c.new
			all := 0 // steps of the change
			for died := 0; died <= all; died++ {
				config := place(t)
				if c.old > 0 {
					write(t, open(t, config), document(c.old))
				}
				c.part.Config, c.part.Die = config, died
				passed, said := steps(t, c.part)
				if died == 0 {
					if all = len(passed); said != "" || all == 0 {
						t.Fatalf("%d steps, %s", all, said)
					}
				}
				if died != 0 && len(passed) != died {
					t.Fatalf("died after %d steps, not %d: %s", len(passed), died, said)
				}
				survived(t, config, passed, c.old, c.new)
			}
		})
	}
}

// survived checks what a child that died after these steps has left.
func survived(t *testing.T, config Config, passed []string, before, after int) {
	t.Helper()
	step := passed[len(passed)-1]
	want := document(before)
	if slices.Contains(passed, "state marked") || slices.Contains(passed, "state empty") {
		want = document(after)
	}
	b := open(t, config)
	if _, err := b.Holder(t.Context(), ws); !errors.Is(err, lock.ErrNotHeld) {
		t.Errorf("%s: the holder is dead, and Holder says %v", step, err)
	}
	for range 2 { // a read changes nothing
		if got := read(t, b).Data; !bytes.Equal(got, want) {
			t.Fatalf("%s: Read returned %s, want %s", step, what(got), what(want))
		}
	}
	if backup := raw(t, config.Path+".backup"); len(backup) > 0 && !bytes.Equal(backup, document(before)) {
		t.Errorf("%s: the backup is %s", step, what(backup))
	}
	same := place(t)
	if err := os.CopyFS(filepath.Dir(same.Path), os.DirFS(filepath.Dir(config.Path))); err != nil {
		t.Fatal(err)
	}
	next := backend.Condition{Revision: read(t, b).Revision}
	cleanedUp(t, step, config, b, next) // by a write
	b = open(t, same)
	next.LockID = take(t, b).ID
	if got := raw(t, same.Path); !bytes.Equal(got, want) {
		t.Errorf("%s: after our lock, Terraform sees %s, want %s", step, what(got), what(want))
	}
	cleanedUp(t, step, same, b, next) // by a lock
}

// cleanedUp checks that nothing but the next write is left, which it makes.
func cleanedUp(t *testing.T, step string, config Config, b *Backend, next backend.Condition) {
	t.Helper()
	if _, err := b.Write(t.Context(), ws, []byte("next"), next); err != nil {
		t.Errorf("%s: the next write: %v", step, err)
	}
	if got := raw(t, config.Path); string(got) != "next" {
		t.Errorf("%s: after the next write, Terraform sees %s", step, what(got))
	}
	if journal := raw(t, journalOf(config)); len(journal) > 0 {
		t.Errorf("%s: a journal of %d bytes is left", step, len(journal))
	}
	if aside, _ := filepath.Glob(config.Path + ".interrupted-*"); len(aside) > 0 {
		t.Errorf("%s: %q: but nobody else has written", step, aside)
	}
}

// cutShort leaves a state as a child does that dies in mid-write.
func cutShort(t testing.TB, config Config, before, after int) {
	t.Helper()
	config.NoBackup = true // the same steps each time
	passed, said := steps(t, part{Role: "write", Config: config, Data: after})
	die := slices.Index(passed, "state half written") + 1
	if said != "" || die == 0 {
		t.Fatalf("steps %q, %s", passed, said)
	}
	if err := os.WriteFile(config.Path, document(before), 0o600); err != nil {
		t.Fatal(err)
	}
	steps(t, part{Role: "write", Config: config, Data: after, Die: die})
	if got := raw(t, config.Path); bytes.Equal(got, document(before)) || bytes.Equal(got, document(after)) {
		t.Fatal("the write was not cut short")
	}
}

// TestKilledWhileRecovering lets a child die at each step of finishing what an
// earlier one has left, and of setting it aside.
func TestKilledWhileRecovering(t *testing.T) {
	const before, after = 2*chunk + 100, chunk + 7
	theirs := []byte("what another program has written since")
	for _, foreign := range []bool{false, true} {
		t.Run(fmt.Sprintf("foreign=%t", foreign), func(t *testing.T) {
			t.Parallel()
			all := 0
			for died := 0; died <= all; died++ {
				config := place(t)
				cutShort(t, config, before, after)
				want := document(after)
				if foreign {
					want = theirs
					put(t, config.Path, theirs)
				}
				passed, said := steps(t, part{Role: "lock", Config: config, Die: died})
				if died == 0 {
					if all = len(passed); said != "" || all == 0 {
						t.Fatalf("%d steps, %s", all, said)
					}
				}
				b := open(t, config)
				if got := read(t, b).Data; !bytes.Equal(got, want) {
					t.Fatalf("%q: Read returned %s, want %s", passed, what(got), what(want))
				}
				take(t, b)
				if got := raw(t, config.Path); !bytes.Equal(got, want) {
					t.Errorf("%q: Terraform sees %s, want %s", passed, what(got), what(want))
				}
				aside, _ := filepath.Glob(config.Path + ".interrupted-*")
				switch {
				case !foreign && len(aside) == 0:
				case foreign && len(aside) == 1 && bytes.Equal(raw(t, aside[0]), document(after)):
				default:
					t.Errorf("%q: set aside: %q", passed, aside)
				}
			}
		})
	}
}

// TestForeignWriteAfterCrash: a crash of ours followed by a write of another
// program never brings our bytes back, whatever that program writes.
func TestForeignWriteAfterCrash(t *testing.T) {
	const before, after = 3 * chunk, 2*chunk + 100
	torn := func(t *testing.T, config Config) []byte { return raw(t, config.Path) }
	for _, c := range []struct {
		name   string
		theirs func(t *testing.T, config Config) []byte
		aside  int
	}{
		{"another state", func(*testing.T, Config) []byte { return document(777) }, 1},
		{"an empty file", func(*testing.T, Config) []byte { return nil }, 1},
		{"one byte changed", func(t *testing.T, config Config) []byte {
			data := torn(t, config)
			data[len(data)/2] ^= 1
			return data
		}, 1},
		{"one byte added", func(t *testing.T, config Config) []byte { return append(torn(t, config), '\n') }, 1},
		{"cut", func(t *testing.T, config Config) []byte { return torn(t, config)[:chunk] }, 1},
		{"zeros", func(*testing.T, Config) []byte { return make([]byte, 3*chunk) }, 1},
		{"a mixture of both states", func(t *testing.T, config Config) []byte {
			data := torn(t, config)
			data[0] = document(after)[0]
			return data
		}, 1},
		{"the state before", func(*testing.T, Config) []byte { return document(before) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			config := place(t)
			cutShort(t, config, before, after)
			theirs := c.theirs(t, config)
			put(t, config.Path, theirs)
			b := open(t, config)
			if got := read(t, b).Data; !bytes.Equal(got, theirs) {
				t.Errorf("Read returned %s, want %s", what(got), what(theirs))
			}
			info := take(t, b)
			if got := raw(t, config.Path); !bytes.Equal(got, theirs) {
				t.Errorf("after our lock the file has %s, want %s", what(got), what(theirs))
			}
			if aside, _ := filepath.Glob(config.Path + ".interrupted-*"); len(aside) != c.aside {
				t.Errorf("set aside: %q", aside)
			}
			cond := backend.Condition{Revision: read(t, b).Revision, LockID: info.ID}
			if _, err := b.Write(t.Context(), ws, []byte("next"), cond); err != nil {
				t.Error(err)
			}
		})
	}
}

// childLoop writes states that begin with a growing number, and prints the number
// of each that was written.
func childLoop(p part) error {
	b, _ := New(bg, p.Config)
	testHook = nil
	st, err := b.Read(bg, ws)
	n := 0
	if err == nil {
		n, err = number(st.Data)
	}
	if err != nil && !errors.Is(err, backend.ErrNotExist) {
		return err
	}
	rev := st.Revision
	for {
		n++
		cond := backend.Condition{Revision: rev}
		if n%2 == 0 {
			info, err := b.Lock(bg, ws, lock.NewInfo("loop"))
			if err != nil {
				return err
			}
			cond.LockID = info.ID
		}
		if rev, err = b.Write(bg, ws, numbered(n), cond); err != nil {
			return err
		}
		fmt.Println("wrote", n)
		if cond.LockID != "" {
			if err := b.Unlock(bg, ws, cond.LockID); err != nil {
				return err
			}
		}
	}
}

// numbered returns a state that says which it is, and shows when it is not whole.
func numbered(n int) []byte {
	size := 1000 + n*7919%90_000
	return append(bytes.Repeat(fmt.Appendf(nil, "%010d\n", n), size/11), "end\n"...)
}

func number(data []byte) (n int, err error) {
	if n, err = strconv.Atoi(string(data[:min(len(data), 10)])); err != nil {
		return 0, err
	}
	if !bytes.Equal(data, numbered(n)) {
		return 0, fmt.Errorf("state %d is not whole: %s", n, what(data))
	}
	return n, nil
}

// TestKilledAtRandom kills writers under load, 300 in all, beside readers.
func TestKilledAtRandom(t *testing.T) {
	const workers, kills = 3, 100
	for i := range workers {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			config := place(t)
			config.NoBackup = i == 0
			b := open(t, config)
			var reading sync.WaitGroup
			done := make(chan struct{})
			defer reading.Wait()
			defer close(done)
			reading.Go(func() { neverTorn(t, b, done) })
			random, last := rand.New(rand.NewPCG(1, uint64(i))), 0
			for range kills {
				last = killedOnce(t, config, time.Duration(random.IntN(15_000))*time.Microsecond, last)
			}
			t.Logf("%d states written", last)
		})
	}
}

// killedOnce starts a writer and kills it some time after its first write. The
// state has to be one that it had written, or begun to write.
func killedOnce(t *testing.T, config Config, after time.Duration, last int) int {
	t.Helper()
	cmd, lines := listening(t, part{Role: "loop", Config: config})
	defer ended(cmd)
	wrote := last
	for first := true; lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "wrote %d", &wrote); err != nil {
			t.Fatalf("the writer printed %q", lines.Text())
		}
		if first {
			first = false
			time.AfterFunc(after, func() { cmd.Process.Kill() })
		}
	}
	if wrote == last {
		t.Fatal(errDied)
	}
	b := open(t, config)
	got, err := number(read(t, b).Data)
	if err != nil || got != wrote && got != wrote+1 {
		t.Fatalf("state %d, %v, after %d was written", got, err, wrote)
	}
	b.Unlock(t.Context(), ws, take(t, b).ID)
	if data := raw(t, config.Path); !bytes.Equal(data, numbered(got)) {
		t.Fatalf("Terraform sees %s, want state %d", what(data), got)
	}
	return got
}

// neverTorn reads until done is closed.
func neverTorn(t *testing.T, b *Backend, done chan struct{}) {
	last := 0
	for {
		select {
		case <-done:
			return
		default:
		}
		data := read(t, b).Data
		if len(data) == 0 && last == 0 {
			continue
		}
		n, err := number(data)
		if err != nil || n < last {
			t.Errorf("state %d after %d, %v", n, last, err)
			return
		}
		last = n
	}
}

// TestManyProcesses: increments by several processes are all there in the end.
func TestManyProcesses(t *testing.T) {
	const processes, each = 8, 100
	for _, locked := range []bool{true, false} {
		t.Run(fmt.Sprintf("locked=%t", locked), func(t *testing.T) {
			t.Parallel()
			config := place(t)
			var group sync.WaitGroup
			for range processes {
				cmd := child(t, part{Role: "count", Config: config, Data: each, Locked: locked})
				group.Go(func() {
					if out, err := cmd.CombinedOutput(); err != nil {
						t.Errorf("%v: %s", err, lastLine(out))
					}
				})
			}
			group.Wait()
			if got := strings.TrimSpace(string(raw(t, config.Path))); got != fmt.Sprint(processes*each) {
				t.Errorf("%s, want %d", got, processes*each)
			}
		})
	}
}

func lastLine(out []byte) []byte {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	return lines[len(lines)-1]
}
