//go:build unix

package local

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"

	"golang.org/x/sys/unix"
)

// TestFileSizeLimit: a write that the system stops half-way changes nothing.
func TestFileSizeLimit(t *testing.T) {
	t.Parallel()
	for _, old := range []int{0, 1000, 2 * chunk} {
		config := place(t)
		b := open(t, config)
		if old > 0 {
			write(t, b, document(old))
		}
		_, said := steps(t, part{Role: "write", Config: config, Data: 3 * chunk, Limit: chunk + chunk/2})
		if !strings.Contains(said, "file too large") || !strings.Contains(said, backend.ErrTooLarge.Error()) {
			t.Errorf("over %d bytes: %s", old, said)
		}
		if got := read(t, b).Data; !bytes.Equal(got, document(old)) {
			t.Errorf("over %d bytes: now there are %s", old, what(got))
		}
		if got := raw(t, config.Path); !bytes.Equal(got, document(old)) {
			t.Errorf("over %d bytes: Terraform sees %s", old, what(got))
		}
		write(t, b, document(3*chunk)) // without the limit
	}
}

// TestFailsHalfWay: a write that fails when the journal is safe, in the middle of
// the state file, has happened, and is finished next time.
func TestFailsHalfWay(t *testing.T) {
	t.Parallel()
	const before, after = 1000, 3 * chunk
	config := place(t)
	b := open(t, config)
	write(t, b, document(before))
	_, said := steps(t, part{Role: "write", Config: config, Data: after, Limit: chunk + chunk/2, From: "journal safe"})
	if !strings.Contains(said, backend.ErrUnknown.Error()) || !strings.Contains(said, "file too large") || !strings.Contains(said, ".journal") {
		t.Error(said)
	}
	if got := read(t, b).Data; !bytes.Equal(got, document(after)) {
		t.Errorf("Read returned %s", what(got))
	}
	take(t, b)
	if got := raw(t, config.Path); !bytes.Equal(got, document(after)) {
		t.Errorf("after our lock, Terraform sees %s", what(got))
	}
}

// TestLaterVersion: a journal that only a later version can read is kept for it.
func TestLaterVersion(t *testing.T) {
	t.Parallel()
	config := place(t)
	b := open(t, config)
	write(t, b, document(700))
	journal := journalFor(document(700), document(1300))
	journal[len(journal)-1]++
	put(t, journalOf(config), journal)
	_, err := b.Read(t.Context(), ws)
	is(t, "Read", err, errLaterVersion)
	_, err = b.Write(t.Context(), ws, []byte("x"), backend.Condition{Revision: backend.AnyRevision})
	is(t, "Write", err, errLaterVersion)
	_, err = b.Lock(t.Context(), ws, lock.NewInfo("test"))
	is(t, "Lock", err, errLaterVersion)
	if !bytes.Equal(raw(t, journalOf(config)), journal) || !bytes.Equal(raw(t, config.Path), document(700)) {
		t.Error("something has changed")
	}
}

// mounted returns a directory with a file system of its own, of size bytes.
func mounted(t *testing.T, size int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := mount(dir, size); err != nil {
		t.Skipf("declared: this needs a file system of its own, which the system does not let us mount: %v", err)
	}
	t.Cleanup(func() {
		var err error = unix.EBUSY
		for end := time.Now().Add(minute); errors.Is(err, unix.EBUSY) && time.Now().Before(end); { // a child has it open until it execs
			err = unix.Unmount(dir, unix.MNT_FORCE)
		}
		if err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestDiskFull: a write for which there is no space changes nothing, wherever the
// space runs out.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	const old = 300 << 10
	dir := mounted(t, 1<<20)
	config := Config{Path: filepath.Join(dir, "state")}
	b := open(t, config)
	failed, succeeded := 0, 0
	for size := old; size < 1<<20; size += 12_345 {
		before := document(old)
		write(t, b, before)
		_, err := b.Write(t.Context(), ws, document(size), backend.Condition{Revision: backend.AnyRevision})
		switch {
		case err == nil:
			succeeded++
			before = document(size)
		case errors.Is(err, unix.ENOSPC) && !errors.Is(err, backend.ErrUnknown):
			failed++
		default:
			t.Errorf("%d bytes: %v", size, err)
		}
		if got := raw(t, config.Path); !bytes.Equal(got, before) {
			t.Fatalf("after %v there are %s, want %s", err, what(got), what(before))
		}
		if journal := raw(t, filepath.Join(dir, ".state.journal")); len(journal) > 0 {
			t.Errorf("%d bytes: the journal has %d", size, len(journal))
		}
	}
	if failed == 0 || succeeded == 0 {
		t.Errorf("%d writes failed, %d did not", failed, succeeded)
	}
}

// TestReadOnly: on a file system that cannot be written, all that only looks works.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	dir := mounted(t, 4<<20)
	configs := map[string]Config{}
	for _, name := range []string{"no journal", "journal", "cut short"} {
		sub := filepath.Join(dir, name)
		if err := os.Mkdir(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		configs[name] = Config{Path: filepath.Join(sub, "terraform.tfstate"), WorkspaceDir: filepath.Join(sub, "d")}
	}
	put(t, configs["no journal"].Path, document(chunk+7))
	write(t, open(t, configs["journal"]), document(chunk+7))
	cutShort(t, configs["cut short"], 3000, chunk+7)
	if err := remountReadOnly(dir); err != nil {
		t.Fatal(err)
	}
	for name, config := range configs {
		for what, err := range looking(config, chunk+7) {
			if err != nil {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
		for what, err := range changing(config) {
			is(t, name+": "+what, err, backend.ErrPermission)
		}
	}
}

// looking does all that changes nothing, with a state of size bytes.
func looking(config Config, size int) map[string]error {
	b, err := New(bg, config)
	if err != nil {
		return map[string]error{"New": err}
	}
	st, err := b.Read(bg, ws)
	if err == nil && !bytes.Equal(st.Data, document(size)) {
		err = fmt.Errorf("it returned %s", what(st.Data))
	}
	rev, errStat := b.Stat(bg, ws)
	if errStat == nil && rev != st.Revision {
		errStat = errors.New("another revision")
	}
	_, errHolder := b.Holder(bg, ws)
	if errors.Is(errHolder, lock.ErrNotHeld) {
		errHolder = nil
	}
	errList := errors.New("nothing listed")
	for _, errList = range b.List(bg) {
	}
	return map[string]error{"Read": err, "Stat": errStat, "Holder": errHolder, "List": errList}
}

// changing does all that changes something.
func changing(config Config) map[string]error {
	b, err := New(bg, config)
	if err != nil {
		return map[string]error{"New": err}
	}
	cond := backend.Condition{Revision: backend.AnyRevision}
	_, errWrite := b.Write(bg, ws, []byte("x"), cond)
	_, errLock := b.Lock(bg, ws, lock.NewInfo("test"))
	_, errNew := b.Write(bg, "new", []byte("x"), cond)
	return map[string]error{"Write": errWrite, "Lock": errLock, "Write of another": errNew, "Delete": b.Delete(bg, ws, cond)}
}

const nobody = 65534

// childLook is somebody who may read the state, and change nothing.
func childLook(p part) error {
	for what, err := range looking(p.Config, p.Data) {
		fmt.Printf("%s: %t %v\n", what, err == nil, err)
	}
	for what, err := range changing(p.Config) {
		fmt.Printf("%s: %t %v\n", what, errors.Is(err, backend.ErrPermission), err)
	}
	return nil
}

// TestReadOnlyDirectory has a child that is not the owner look at a state.
func TestReadOnlyDirectory(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("declared: only root can let somebody else look; TestReadOnly needs root too")
	}
	dir, err := os.MkdirTemp("", "statelatch") //nolint:usetesting // others cannot get into TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	config := Config{Path: filepath.Join(dir, "terraform.tfstate"), WorkspaceDir: filepath.Join(dir, "d")}
	for path, mode := range map[string]os.FileMode{dir: 0o755, config.Path: 0o644} {
		if path == config.Path {
			put(t, path, document(5000))
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	look := func() map[string]string {
		cmd, lines := listening(t, part{Role: "look", Config: config, Data: 5000, UID: nobody})
		defer ended(cmd)
		results := map[string]string{}
		for lines.Scan() {
			what, result, _ := strings.Cut(lines.Text(), ": ")
			results[what] = result
		}
		return results
	}
	results := look()
	if len(results) != 8 {
		t.Errorf("%d results: %q", len(results), results)
	}
	for what, result := range results {
		if !strings.HasPrefix(result, "true") {
			t.Errorf("%s: %s", what, result)
		}
	}
	write(t, open(t, config), document(5000)) // now there is a journal, for those who may read the state
	if result := look()["Read"]; !strings.HasPrefix(result, "true") {
		t.Errorf("Read beside a journal: %s", result)
	}
	// A journal that cannot be read may be one that matters.
	if err := os.Chmod(journalOf(config), newFile); err != nil {
		t.Fatal(err)
	}
	if result := look()["Read"]; !strings.Contains(result, backend.ErrPermission.Error()) || !strings.Contains(result, ".journal") {
		t.Errorf("Read where the journal cannot be read: %s", result)
	}
}
