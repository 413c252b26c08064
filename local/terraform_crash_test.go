package local_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/respawn"
	"github.com/statelatch/statelatch/internal/tftest"
	"github.com/statelatch/statelatch/local"
	"github.com/statelatch/statelatch/lock"

	"github.com/google/go-cmp/cmp"
)

// dieAt, in the environment, makes TestTerraformAfterCrash die: the state's path, the
// step at which, and the word that it was changing to another, one a line.
const dieAt = "STATELATCH_TEST_DIE_AT"

// TestTerraformAfterCrash has a process of ours die while it changes one word to
// another, and then lets Terraform work: what it has made of the state it has
// found stays, whatever we left beside it.
func TestTerraformAfterCrash(t *testing.T) {
	if args := os.Getenv(dieAt); args != "" {
		die(t, strings.Split(args, "\n"))
		return
	}
	const short, long = "one", "a longer word"
	for _, test := range []struct {
		name     string
		step     string
		from, to string
		blocks   int    // of the new state that were written before we died, beside those of that step
		found    string // the word that Terraform finds; "" = a state that it cannot read
		aside    bool   // our state is set aside
	}{
		{"before the state was touched", "journal safe", short, long, 0, short, true},
		{"when it was marked", "state marked", short, long, 0, "", false},
		{"when half was written", "state marked", short, long, 2, "", false},
		{"when half was written, shorter", "state marked", long, short, 2, "", false},
		{"before the end was cut off", "state too long", long, short, 0, "", false},
		{"before its mark was taken off", "state still marked", short, long, 0, "", false},
		{"before the state was safe on disk", "state not safe", short, long, 0, long, true},
		{"before the journal was emptied", "state written", short, long, 0, long, true},
		{"when all was done", "journal emptied", short, long, 0, long, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			dir := p.applied(t, 2, test.from)
			p.crash(t, test.step, test.from, test.to)
			p.tear(t, test.blocks)
			word := test.found
			if word == "" {
				if out, err := dir.Run("apply", "-auto-approve"); err == nil {
					t.Fatalf("Terraform went on from half a state:\n%s", out)
				}
				p.lockAndUnlock(t)
				word = test.to
			}
			dir.Configure(tftest.Config{Backend: p.block, Count: 3, Word: word})
			if out, want := dir.Must("apply", "-auto-approve"), "1 added, 0 changed"; !strings.Contains(out, want) {
				t.Errorf("Terraform did not find %q: %q is not in\n%s", word, want, out)
			}
			theirs := p.file(t)

			b := p.client(t)
			p.same(t, b, theirs)
			p.lockAndUnlock(t)
			p.same(t, b, theirs)
			if got := p.aside(t); len(got) > 0 != test.aside {
				t.Errorf("states set aside: %q", got)
			} else if test.aside {
				if got, err := tftest.Words([]byte(got[0])); err != nil || !slices.Equal(got, []string{test.to, test.to}) {
					t.Errorf("set aside: %q, %v", got, err)
				}
			}
			update(t, b, word, "after all")
			words(t, b, "after all", "after all", "after all")
			dir.Configure(tftest.Config{Backend: p.block, Count: 3, Word: "after all"})
			dir.Must("plan", "-detailed-exitcode")
		})
	}
}

// die is what the process does that dies.
func die(t *testing.T, args []string) {
	b, err := local.New(t.Context(), local.Config{Path: args[0], NoBackup: true})
	if err != nil {
		t.Fatal(err)
	}
	local.DieAt(args[1])
	update(t, b, args[2], args[3])
}

// crash has another process die at a step of a change.
func (p place) crash(t *testing.T, step, from, to string) {
	t.Helper()
	cmd := respawn.Command(t.Context(), []string{"-test.run=^TestTerraformAfterCrash$"},
		dieAt+"="+strings.Join([]string{p.path, step, from, to}, "\n"))
	if out, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("it did not die at %q: %v\n%s", step, err, out)
	}
}

// tear goes on with a write before which a process has died, by so many blocks of
// the disk.
func (p place) tear(t *testing.T, blocks int) {
	t.Helper()
	journal, err := os.ReadFile(filepath.Join(filepath.Dir(p.path), ".terraform.tfstate.journal"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(p.path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(journal[1:max(1, 512*blocks)], 1); err != nil { // the mark stays
		t.Fatal(err)
	}
}

func (p place) file(t *testing.T) string   { t.Helper(); return contents(t, p.path) }
func (p place) backup(t *testing.T) string { t.Helper(); return contents(t, p.path+".backup") }

func contents(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// same compares what we read, and what is in the file, with a state.
func (p place) same(t *testing.T, b *local.Backend, want string) {
	t.Helper()
	st, err := b.Read(t.Context(), backend.DefaultWorkspace)
	if diff := cmp.Diff(want, string(st.Data)); diff != "" || err != nil {
		t.Errorf("Read: %v (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff(want, p.file(t)); diff != "" {
		t.Errorf("the state file (-want +got):\n%s", diff)
	}
}

// aside returns the states that were set aside.
func (p place) aside(t *testing.T) (states []string) {
	t.Helper()
	names, err := filepath.Glob(p.path + ".interrupted-*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		states = append(states, contents(t, name))
	}
	return states
}

// lockAndUnlock does what any later call of ours would do: it deals with what a
// crash has left.
func (p place) lockAndUnlock(t *testing.T) {
	t.Helper()
	b := p.client(t)
	info, err := b.Lock(t.Context(), backend.DefaultWorkspace, lock.NewInfo("test"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Unlock(t.Context(), backend.DefaultWorkspace, info.ID); err != nil {
		t.Fatal(err)
	}
}

// update changes one word of the state to another.
func update(t *testing.T, b *local.Backend, from, to string) {
	t.Helper()
	_, err := backend.Update(t.Context(), b, backend.DefaultWorkspace, lock.NewInfo("test"), lock.Options{},
		func(_ context.Context, current backend.State) ([]byte, error) {
			return tftest.Reword(current.Data, from, to)
		})
	if err != nil {
		t.Fatal(err)
	}
}
