package local_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/services"
	"github.com/statelatch/statelatch/internal/tftest"
	"github.com/statelatch/statelatch/local"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/statefile"

	"github.com/google/go-cmp/cmp"
)

// A place is a directory for states that we and a program use at the same time.
type place struct {
	path  string // of the default workspace's state
	block string
}

func newPlace(t *testing.T) place {
	dir := t.TempDir()
	path := filepath.Join(dir, "terraform.tfstate")
	return place{path, fmt.Sprintf("backend \"local\" {\n    path          = %q\n    workspace_dir = %q\n  }", path, filepath.Join(dir, "terraform.tfstate.d"))}
}

// client returns a client of ours.
func (p place) client(t *testing.T) *local.Backend {
	t.Helper()
	b, err := local.New(t.Context(), local.Config{Path: p.path, WorkspaceDir: filepath.Join(filepath.Dir(p.path), "terraform.tfstate.d")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// applied lets Terraform apply so many resources, each with this word.
func (p place) applied(t *testing.T, count int, word string) *tftest.Dir {
	t.Helper()
	dir := tftest.Terraform(t).Dir(t, tftest.Config{Backend: p.block, Count: count, Word: word})
	dir.Must("apply", "-auto-approve")
	return dir
}

func TestTerraform(t *testing.T) { interop(t, tftest.Terraform(t)) }

func TestOpenTofu(t *testing.T) { interop(t, tftest.Find(t, "tofu", services.Path)) }

func interop(t *testing.T, p *tftest.Program) {
	t.Parallel()
	tftest.Interop(t, p, func(t *testing.T) tftest.Fixture {
		place := newPlace(t)
		return tftest.Fixture{
			Backend:      place.block,
			Ours:         place.client(t),
			ProcessBound: true,
			Waiting:      func(p *tftest.Process) { awaitOpen(t, p.PID(), place.path) },
		}
	})
}

// awaitOpen returns when a process has a file open: what it writes when it has got
// the lock goes there, whatever has the name by then.
func awaitOpen(t *testing.T, pid int, path string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return // only Linux shows this; that it waits says as much
	}
	state, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(files, func(file string) bool {
			open, err := os.Stat(file)
			return err == nil && os.SameFile(open, state)
		}) {
			return
		}
	}
	t.Fatalf("process %d did not open %s", pid, path)
}

// reader reads a state over and over until stop is called, which returns how
// many versions it has seen. Each has to be whole, and none older than the last.
func (p place) reader(t *testing.T) (stop func() int) {
	b := p.client(t)
	done := make(chan struct{})
	serials := map[uint64]bool{}
	var reading sync.WaitGroup
	reading.Go(func() {
		var last statefile.Header
		for {
			select {
			case <-done:
				return
			default:
			}
			st, err := b.Read(t.Context(), backend.DefaultWorkspace)
			if err != nil {
				t.Errorf("after serial %d: %v", last.Serial, err)
				return
			}
			h, err := statefile.ReadHeader(st.Data)
			if err != nil || last.Lineage != "" && h.Lineage != last.Lineage || h.Serial < last.Serial {
				t.Errorf("after %+v came %+v, %v:\n%s", last, h, err, st.Data)
				return
			}
			last = h
			serials[h.Serial] = true
		}
	})
	stop = sync.OnceValue(func() int {
		close(done)
		reading.Wait()
		return len(serials)
	})
	t.Cleanup(func() { stop() })
	return stop
}

func TestTerraformReader(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	dir := p.applied(t, 1, "one")
	stop := p.reader(t)
	dir.Configure(tftest.Config{Backend: p.block, Count: 300, Word: "one"})
	dir.Must("apply", "-auto-approve")
	// Terraform writes the state after each resource.
	if seen := stop(); seen < 30 {
		t.Errorf("only %d versions seen: this was hardly beside the apply", seen)
	}
	words(t, p.client(t), slices.Repeat([]string{"one"}, 300)...)
}

func TestTerraformReaderOfOurs(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	dir := p.applied(t, 3, "one")
	b := p.client(t)
	stop := p.reader(t)
	from, to := "one", "a word that is longer than one, by enough to move all that follows"
	for range 500 {
		update(t, b, from, to)
		from, to = to, from
	}
	if seen := stop(); seen < 30 {
		t.Errorf("only %d versions seen: this was hardly beside the writes", seen)
	}
	dir.Must("plan", "-detailed-exitcode")
}

// TestTerraformBackup: what each of us replaces is in the one backup file.
func TestTerraformBackup(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	b := p.client(t)
	dir := p.applied(t, 1, "one")
	for range 2 {
		theirs := p.file(t)
		update(t, b, "one", "two")
		if diff := cmp.Diff(theirs, p.backup(t)); diff != "" {
			t.Errorf("the backup of their state (-want +got):\n%s", diff)
		}
		ours := p.file(t)
		dir.Must("apply", "-auto-approve") // back to "one"
		if diff := cmp.Diff(ours, p.backup(t)); diff != "" {
			t.Errorf("the backup of our state (-want +got):\n%s", diff)
		}
	}
}

// TestTerraformFirstApply: Terraform's first apply keeps an empty file locked from its
// beginning to its end, or nearly so.
func TestTerraformFirstApply(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	b := p.client(t)
	gate := filepath.Join(t.TempDir(), "gate")
	dir := tftest.Terraform(t).Dir(t, tftest.Config{Backend: p.block, Count: 1, Word: "one", Gate: gate})
	apply := dir.Start("apply", "-auto-approve")
	apply.Until("Provisioning with 'local-exec'")

	if st, err := b.Read(t.Context(), backend.DefaultWorkspace); !errors.Is(err, backend.ErrNotExist) {
		t.Errorf("Read: %+v, %v; want backend.ErrNotExist", st, err)
	}
	for name, err := range b.List(t.Context()) {
		t.Errorf("List: %q, %v; want nothing", name, err)
	}
	_, err := b.Write(t.Context(), backend.DefaultWorkspace, statefile.New("1.11.4", "ours"), backend.Condition{})
	if held, ok := errors.AsType[*lock.HeldError](err); !ok || held.Holder.Operation != "OperationTypeApply" {
		t.Errorf("Write: %v; want a *lock.HeldError", err)
	}

	tftest.Open(t, gate)
	apply.Must()
	words(t, b, "one")
}

func words(t *testing.T, b *local.Backend, want ...string) {
	t.Helper()
	st, err := b.Read(t.Context(), backend.DefaultWorkspace)
	if err != nil {
		t.Fatal(err)
	}
	got, err := tftest.Words(st.Data)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("words in the state: %v (-want +got):\n%s", err, diff)
	}
}
