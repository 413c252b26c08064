//go:build unix

package local

import (
	"os"
	"syscall"
	"testing"

	"github.com/statelatch/statelatch/backend"

	"github.com/google/go-cmp/cmp"
)

// TestExistingOwner has a root that changes another's state: the files beside it stay, or
// become, that other one's, who could not go on without them.
func TestExistingOwner(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("declared: only root can give a file away")
	}
	const theirs, backups = nobody, nobody - 1
	owned := func(uid int, mode os.FileMode) [3]int { return [3]int{uid, uid, int(mode)} }
	for name, test := range map[string]struct {
		had  bool // a backup
		want map[string][3]int
	}{
		"state":            {false, map[string][3]int{"": owned(theirs, 0o640), ".backup": owned(theirs, 0o600), "journal": owned(theirs, 0o640), "record": owned(theirs, 0o600)}},
		"state and backup": {true, map[string][3]int{"": owned(theirs, 0o640), ".backup": owned(backups, 0o664), "journal": owned(theirs, 0o640), "record": owned(theirs, 0o600)}},
	} {
		config := place(t)
		set := func(path string, uid int, mode os.FileMode) {
			put(t, path, []byte("state"))
			if err := os.Chown(path, uid, uid); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
		set(config.Path, theirs, 0o640)
		if test.had {
			set(config.Path+".backup", backups, 0o664)
		}
		b := open(t, config)
		put(t, infoOf(config), []byte("a dead run of ours left this"))
		write(t, b, []byte("ours"))
		take(t, b)
		got := map[string][3]int{}
		for file, path := range map[string]string{"": config.Path, ".backup": config.Path + ".backup", "journal": journalOf(config), "record": infoOf(config)} {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			owner := info.Sys().(*syscall.Stat_t)
			got[file] = [3]int{int(owner.Uid), int(owner.Gid), int(info.Mode().Perm())}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: owner, group and mode (-want +got):\n%s", name, diff)
		}
		if got := string(raw(t, config.Path+".backup")); got != "state" {
			t.Errorf("%s: the backup is %q", name, got)
		}
	}
}

// TestJournalFollows: who may read or write a state needs its journal too.
func TestJournalFollows(t *testing.T) {
	t.Parallel()
	config := place(t)
	b := open(t, config)
	write(t, b, []byte("one"))
	for _, mode := range [][2]os.FileMode{{0o644, 0o644}, {0o600, 0o600}, {0o440, 0o640}} { // read-only now, but not for ever
		if err := os.Chmod(config.Path, mode[0]); err != nil {
			t.Fatal(err)
		}
		_, _ = b.Write(t.Context(), ws, []byte("two"), backend.Condition{Revision: backend.AnyRevision}) // refused, but to root
		if got := modeOf(t, journalOf(config)); got != mode[1] {
			t.Errorf("the state has mode %o, the journal %o", mode[0], got)
		}
	}
}
