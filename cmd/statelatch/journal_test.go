//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/cmd/statelatch/internal/copying"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/middleware/faulty"
)

// TestJournalScope: a dead run is forgotten only when all of its workspaces have been
// gone through.
func TestJournalScope(t *testing.T) {
	dir := t.TempDir()
	open := func(names ...string) *copying.Journal {
		t.Helper()
		j, err := copying.OpenJournal(t.Context(), dir, "from", "to", names)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	end := func(j *copying.Journal, whole bool, results ...copying.Result) {
		t.Helper()
		if err := j.Close(t.Context(), results, whole); err != nil {
			t.Fatal(err)
		}
	}
	fine, failed := copying.Result{Status: copying.Copied}, copying.Result{Status: copying.Failed, Err: errors.New("held")}
	left := copying.Result{Status: copying.Failed, Err: &lock.ReleaseError{Err: lock.ErrTransient}}
	lostAndLeft := copying.Result{Status: copying.Failed, Err: errors.Join(&lock.ReleaseError{Err: lock.ErrNotHeld}, left.Err)}
	open("a", "b").Abandon()
	for _, step := range []struct {
		names  []string
		whole  bool
		result copying.Result
		dead   int // runs that this one finds
	}{
		{[]string{"a"}, true, fine, 1},             // not all of them
		{[]string{"a", "b", "c"}, true, failed, 1}, // not through
		{[]string{"b", "a"}, true, left, 1},        // leaves another
		{nil, false, fine, 2},                      // interrupted before it was through
		{nil, true, fine, 2},
		{nil, true, failed, 0},
		{nil, true, fine, 0},
		{nil, true, lostAndLeft, 0},
		{nil, true, fine, 1},
		{nil, true, fine, 0},
	} {
		j := open(step.names...)
		if len(j.Dead) != step.dead {
			t.Errorf("%v finds %d dead runs, want %d", step.names, len(j.Dead), step.dead)
		}
		end(j, step.whole, step.result)
	}
}

// TestJournalNames: the locks of a run are found by the names that it had, also of a
// workspace that the source has no longer; and only then is the run forgotten.
func TestJournalNames(t *testing.T) {
	t.Run("one of two left", func(t *testing.T) { journalNames(t, "b") })
	t.Run("all left", func(t *testing.T) { journalNames(t, "a", "b") })
}

// journalNames has workspaces leave the source after a run that kept its locks.
func journalNames(t *testing.T, left ...string) {
	w := newWorld(t)
	ctx := t.Context()
	src, dst := w.stores.get("src").memory, w.stores.get("dst")
	for _, name := range []string{"a", "b"} {
		if _, err := src.Write(ctx, name, []byte(state(4, lineage, true)), backend.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	dst.faulty.Fail(faulty.Unlock, faulty.Every, backend.ErrPermission)
	if code, stdout, stderr := w.statelatch("", "copy", "test:src", "test:dst"); code != exitPermission {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	for _, name := range left {
		if err := src.Delete(ctx, name, backend.Condition{Revision: backend.AnyRevision}); err != nil {
			t.Fatal(err)
		}
	}
	if _, stdout, _ := w.statelatch("", "copy", "test:src", "test:dst"); !strings.Contains(stdout, "b: failed, destination: ") {
		t.Errorf("the lock of b could not be broken, and it says %s", stdout)
	}
	dst.faulty.Heal()
	if out := w.ok("copy", "test:src", "test:dst"); !strings.Contains(out, "Resumed") || !strings.Contains(out, fmt.Sprintf(": 0 copied, %d equal", 2-len(left))) {
		t.Errorf("%s", out)
	}
	w.mustBeFree(t, "test:dst", "a")
	w.mustBeFree(t, "test:dst", "b")
	if out := w.ok("copy", "test:src", "test:dst"); strings.Contains(out, "Resumed") {
		t.Errorf("the dead run is not forgotten: %s", out)
	}
}

// TestJournalPlace: what is the same copy from one directory is another from the next,
// where the places are relative.
func TestJournalPlace(t *testing.T) {
	w := newWorld(t)
	for _, dir := range []string{"one", "two"} {
		put(t, dir+"/a.tfstate", state(4, lineage, true))
	}
	t.Chdir("one")
	from, _ := placeOf("local:a.tfstate", nil)
	to, _ := placeOf("local:b.tfstate", nil)
	journal, err := openJournal(t.Context(), "", from, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Abandon()
	if code, _, stderr := w.statelatch("", "copy", "local:a.tfstate", "local:b.tfstate"); code != exitHeld {
		t.Errorf("the same copy: exit code %d: %s", code, stderr)
	}
	t.Chdir("../two")
	w.ok("copy", "local:a.tfstate", "local:b.tfstate")
}

// TestJournalInterrupted: a run that a signal ends before its names are entered leaves
// nothing behind.
func TestJournalInterrupted(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	w.stores.get("src").faulty.After(faulty.List, 1, func(context.Context) error { cancel(signalled{os.Interrupt}); return nil })
	var out, errs bytes.Buffer
	code := w.run(ctx, []string{"copy", "test:src", "test:dst"}, strings.NewReader(""), &out, &errs)
	if code != exitInterrupted || strings.Contains(errs.String(), "changed") {
		t.Errorf("exit code %d: %s%s", code, &out, &errs)
	}
	if out := w.ok("copy", "test:src", "test:dst"); strings.Contains(out, "Resumed") {
		t.Errorf("it is not forgotten: %s", out)
	}
}

// TestJournalFails: that the journal could not be written to its end is told.
func TestJournalFails(t *testing.T) {
	w := newWorld(t)
	if _, err := w.stores.get("src").memory.Write(t.Context(), "a", []byte(state(4, lineage, true)), backend.Condition{}); err != nil {
		t.Fatal(err)
	}
	put(t, "file", "")
	if code, _, stderr := w.statelatch("", "copy", "test:src", "test:dst", "--journal", "file"); code == 0 || !strings.Contains(stderr, "--journal names another") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	w.stores.get("dst").faulty.After(faulty.Write, 1, func(context.Context) error {
		return os.RemoveAll(".cache") // while the run is entered in it
	})
	code, stdout, stderr := w.statelatch("", "copy", "test:src", "test:dst")
	if code == 0 || !strings.Contains(stdout, "1 copied") || stderr == "" {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}
