//go:build unix

package local

import (
	"os"
	"syscall"
	"testing"

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
