//go:build unix

package local

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
)

// TestReadBesideTruncation: Terraform empties a state before it formats the next,
// which takes its time.
func TestReadBesideTruncation(t *testing.T) {
	t.Parallel()
	config := place(t)
	b := open(t, config)
	write(t, b, document(500))
	cmd := child(t, part{Role: "posix", Config: config, Data: 2000})
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	lines := conversation(t, cmd)
	defer ended(cmd)
	if lines.Scan(); lines.Text() != "locked" {
		t.Fatal(lines.Text())
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if st, err := b.Read(short, ws); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Read: %d bytes, %v", len(st.Data), err)
	}
	time.AfterFunc(50*time.Millisecond, func() { io.WriteString(stdin, "\n") })
	if got := read(t, b).Data; !bytes.Equal(got, document(2000)) {
		t.Errorf("Read returned %s", what(got))
	}
}

// TestReadPlaceholder: an empty file that nobody is about to write is no state, and
// there is nothing to wait for.
func TestReadPlaceholder(t *testing.T) {
	t.Parallel()
	readAtOnce := func(c Config) error {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := open(t, c).Read(ctx, ws)
		return err
	}
	ours := place(t)
	take(t, open(t, ours))
	err := readAtOnce(ours)
	is(t, "Read under our lock", err, backend.ErrNotExist)

	for _, age := range []time.Duration{0, time.Hour} {
		theirs := place(t)
		if age > 0 {
			before := time.Now().Add(-age)
			put(t, theirs.Path, nil)
			if err := os.Chtimes(theirs.Path, before, before); err != nil {
				t.Fatal(err)
			}
		} else if runtime.GOOS != "linux" {
			continue // there we wait; see neverWritten
		}
		cmd := child(t, part{Role: "posix", Config: theirs})
		lines := conversation(t, cmd)
		defer ended(cmd)
		lines.Scan()
		err = readAtOnce(theirs)
		is(t, "Read under Terraform's lock", err, backend.ErrNotExist)
	}

	nobody := place(t)
	put(t, nobody.Path, nil)
	err = readAtOnce(nobody)
	is(t, "Read of an empty file", err, backend.ErrNotExist)
}

// TestReadBesideForeignWrites: somebody who takes no lock of any kind writes as
// Terraform does, while we read.
func TestReadBesideForeignWrites(t *testing.T) {
	t.Parallel()
	config := place(t)
	b := open(t, config)
	write(t, b, document(1<<20))
	f, err := os.OpenFile(config.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	states := [][]byte{document(1 << 20), document(1<<20 - 1), document(3 << 19)}
	done := make(chan struct{})
	var writing sync.WaitGroup
	defer writing.Wait()
	defer close(done)
	writing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
				data := states[i%len(states)]
				f.Truncate(0)
				f.WriteAt(data, 0)
			}
		}
	})
	for range 300 {
		st, err := b.Read(t.Context(), ws)
		if errors.Is(err, backend.ErrNotExist) {
			continue // without a lock, that is what it is
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(st.Data, states[0]) && !bytes.Equal(st.Data, states[1]) && !bytes.Equal(st.Data, states[2]) {
			t.Fatalf("torn: %s", what(st.Data))
		}
	}
}

// TestBesideManyReaders: readers that come and go all the time leave room for a
// writer.
func TestBesideManyReaders(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("declared: macOS and the BSDs have no gate; see guard.go")
	}
	config := place(t)
	b := open(t, config)
	write(t, b, document(1<<20))
	done := make(chan struct{})
	var reading sync.WaitGroup
	defer reading.Wait()
	defer close(done)
	for range 8 {
		reading.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					read(t, b)
				}
			}
		})
	}
	// Without the gate, one in ten of these takes a fifth of the time that all may, or more.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	for n := range 20 {
		if _, err := b.Write(ctx, ws, document(1<<20+n), backend.Condition{Revision: backend.AnyRevision}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReadMakesNothing: neither Read nor its like leave a trace.
func TestReadMakesNothing(t *testing.T) {
	t.Parallel()
	config := place(t)
	b := open(t, config)
	ctx := t.Context()
	for range 2 {
		b.Read(ctx, ws)
		b.Stat(ctx, "other")
		b.Holder(ctx, "other")
		b.Unlock(ctx, ws, "x")
		b.Delete(ctx, "other", backend.Condition{Revision: backend.AnyRevision})
		_, err := b.Write(ctx, "other", []byte("x"), backend.Condition{Revision: "not there"})
		is(t, "Write", err, backend.ErrConflict)
		for range b.List(ctx) {
		}
		if got := namesIn(t, filepath.Dir(config.Path)); len(got) > 1 {
			t.Errorf("files: %q", got)
		}
		put(t, config.Path, []byte("state")) // and with a state
	}
}

// TestReadThroughLock reads as Windows makes us do.
func TestReadThroughLock(t *testing.T) {
	defer func(before bool) { throughLock = before }(throughLock)
	throughLock = true
	config := place(t)
	b := open(t, config)
	info := take(t, b)
	if _, err := b.Write(t.Context(), ws, document(5000), backend.Condition{LockID: info.ID}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, b).Data; !bytes.Equal(got, document(5000)) {
		t.Errorf("Read returned %s", what(got))
	}
	if err := b.Unlock(t.Context(), ws, info.ID); err != nil {
		t.Fatal(err)
	}
	if got := read(t, b).Data; !bytes.Equal(got, document(5000)) {
		t.Errorf("Read returned %s", what(got))
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	config := place(t)
	config.MaxSize = 1000
	b := open(t, config)
	rev := write(t, b, document(1000))
	_, err := b.Write(t.Context(), ws, document(1001), backend.Condition{Revision: rev})
	is(t, "Write", err, backend.ErrTooLarge)
	// A hole takes no space, nor must the refusal.
	if err := os.Truncate(config.Path, 1<<40); err != nil {
		t.Fatal(err)
	}
	_, err = b.Read(t.Context(), ws)
	is(t, "Read", err, backend.ErrTooLarge)
	// What is too large can still be replaced.
	if err := os.Truncate(config.Path, 5000); err != nil {
		t.Fatal(err)
	}
	write(t, b, document(1000))
}

func TestStat(t *testing.T) {
	t.Parallel()
	config := place(t)
	b := open(t, config)
	_, err := b.Stat(t.Context(), ws)
	is(t, "Stat", err, backend.ErrNotExist)
	cutShort(t, config, 3000, chunk+7)
	rev, err := b.Stat(t.Context(), ws)
	if st := read(t, b); err != nil || rev != st.Revision || !bytes.Equal(st.Data, document(chunk+7)) {
		t.Errorf("Stat: %s, %v; Read: %s, %s", rev, err, st.Revision, what(st.Data))
	}
}

// conversation starts cmd, which can be talked to, and returns what it says.
func conversation(t *testing.T, cmd *exec.Cmd) *bufio.Scanner {
	t.Helper()
	if cmd.Stdin == nil {
		stdin, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { stdin.Close(); w.Close() })
		cmd.Stdin = stdin // open, and silent
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return bufio.NewScanner(out)
}
