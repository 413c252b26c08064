package local

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/clause"

	"github.com/google/go-cmp/cmp"
)

// namesIn returns the names in a directory.
func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func modeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, c := range []struct {
		name     string
		settings backend.Settings
		want     *Backend
		wrong    string
	}{
		{"defaults", nil, &Backend{path: dir + "/terraform.tfstate", workspaceDir: dir + "/terraform.tfstate.d", backup: true, maxSize: 1 << 30}, ""},
		{"all", backend.Settings{"path": "a/b", "workspace_dir": "/w", "no_backup": true, "max_size": 5},
			&Backend{path: dir + "/a/b", workspaceDir: "/w", maxSize: 5}, ""},
		{"empty path", backend.Settings{"path": ""}, nil, "path"},
		{"empty workspace_dir", backend.Settings{"workspace_dir": ""}, nil, "workspace_dir"},
		{"unknown", backend.Settings{"paht": "x"}, nil, "paht"},
	} {
		b, err := Driver.Open(t.Context(), c.settings.Decode)
		if c.wrong != "" {
			if is(t, c.name, err, backend.ErrInvalid); err != nil && !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		got := b.(*Backend)
		if got.path != c.want.path || got.workspaceDir != c.want.workspaceDir || got.backup != c.want.backup || got.maxSize != c.want.maxSize {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	for url, want := range map[string]string{
		"local:":             dir + "/terraform.tfstate",
		"local:x.tfstate":    dir + "/x.tfstate",
		"local:///x.tfstate": "/x.tfstate",
	} {
		b, err := backend.NewMux(Driver).OpenURL(t.Context(), url)
		if err != nil || b.(*Backend).path != want {
			t.Errorf("%s: %+v, %v", url, b, err)
		}
	}
	b, err := New(t.Context(), Config{})
	if err != nil || b.path != dir+"/terraform.tfstate" || b.workspaceDir != dir+"/terraform.tfstate.d" {
		t.Errorf("the zero Config: %+v, %v", b, err)
	}
	t.Chdir("/")
	write(t, b, []byte("here"))
	if !present(dir + "/terraform.tfstate") {
		t.Error("the state has moved with the working directory")
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	config := place(t)
	config.Path = filepath.Join(filepath.Dir(config.Path), "a/b/x.tfstate")
	dir := filepath.Dir(config.Path)
	b := open(t, config)
	write(t, b, []byte("one"))
	write(t, b, []byte("two"))
	if diff := cmp.Diff([]string{".x.tfstate.journal", "x.tfstate", "x.tfstate.backup"}, namesIn(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for _, name := range namesIn(t, dir) {
		if mode := modeOf(t, filepath.Join(dir, name)); mode != 0o600 {
			t.Errorf("%s has mode %o", name, mode)
		}
	}
	for _, dir := range []string{dir, filepath.Dir(dir)} {
		if mode := modeOf(t, dir); mode != 0o700 {
			t.Errorf("%s has mode %o", dir, mode)
		}
	}
	if err := os.Chmod(config.Path, 0o644); err != nil {
		t.Fatal(err)
	}
	write(t, b, []byte("three"))
	if mode := modeOf(t, config.Path); mode != 0o644 {
		t.Errorf("the existing file got mode %o", mode)
	}
}

func TestBackup(t *testing.T) {
	t.Parallel()
	config := place(t)
	b := open(t, config)
	write(t, b, []byte("one"))
	if present(config.Path + ".backup") {
		t.Error("a backup of nothing")
	}
	write(t, b, []byte("two"))
	write(t, b, []byte("two"))
	if got := string(raw(t, config.Path+".backup")); got != "one" {
		t.Errorf("the backup is %q", got)
	}
	if err := b.Delete(t.Context(), ws, backend.Condition{Revision: backend.AnyRevision}); err != nil {
		t.Fatal(err)
	}
	if got := string(raw(t, config.Path+".backup")); got != "two" {
		t.Errorf("the backup is %q", got)
	}
	config = place(t)
	config.NoBackup = true
	b = open(t, config)
	write(t, b, []byte("one"))
	write(t, b, []byte("two"))
	if present(config.Path + ".backup") {
		t.Error("a backup, though none was wanted")
	}
}

// TestSymlinks: a link stays, whatever is done to what it leads to, and all that
// lead there share one lock and one journal.
func TestSymlinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "real/deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		"absolute": dir + "/real/state", "relative": "real/state", "chain": "relative",
		"dir": "real/deep", "up": "dir/../state", // not ./state
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	direct := open(t, Config{Path: dir + "/real/state"})
	for i, link := range []string{"absolute", "relative", "chain", "up"} {
		b := open(t, Config{Path: filepath.Join(dir, link)})
		write(t, b, document(100+i))
		if got := read(t, direct).Data; !bytes.Equal(got, document(100+i)) {
			t.Errorf("%s: %s", link, what(got))
		}
		if info, err := os.Lstat(filepath.Join(dir, link)); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("%s is no link any more: %v, %v", link, info, err)
		}
		info := take(t, b)
		_, err := direct.Write(t.Context(), ws, []byte("x"), backend.Condition{Revision: backend.AnyRevision})
		heldBy(t, link, err)
		if !present(filepath.Join(dir, "."+link+".lock.info")) {
			t.Errorf("%s: Terraform does not find the record", link)
		}
		if err := b.Unlock(t.Context(), ws, info.ID); err != nil {
			t.Error(err)
		}
	}
	if got := namesIn(t, dir+"/real"); !slices.Contains(got, ".state.journal") || slices.Contains(namesIn(t, dir), ".chain.journal") {
		t.Errorf("the journal is not beside the file: %q", got)
	}
	if err := os.Symlink("loop", dir+"/loop"); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, Config{Path: dir + "/loop"}).Read(t.Context(), ws)
	is(t, "a link to itself", err, syscall.ELOOP)
}

func TestOddFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, Config{Path: dir, WorkspaceDir: dir})
	for _, call := range []func() error{
		func() error { _, err := b.Read(t.Context(), ws); return err },
		func() error { _, err := b.Write(t.Context(), ws, []byte("x"), backend.Condition{}); return err },
	} {
		if err := call(); err == nil || strings.Contains(err.Error(), "no state exists") {
			t.Errorf("a directory instead of a file: %v", err)
		}
	}
	// Two states side by side, as Terraform names their records.
	hidden := open(t, Config{Path: dir + "/.x"})
	take(t, hidden)
	if !present(dir + "/.x.lock.info") {
		t.Errorf("no record among %q", namesIn(t, dir))
	}
	plain := open(t, Config{Path: dir + "/x"})
	write(t, plain, []byte("x"))
	if got := namesIn(t, dir); !slices.Contains(got, ".x.journal") || !slices.Contains(got, "..x.journal") {
		t.Errorf("journals among %q", got)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	config := place(t)
	b := open(t, config)
	var want []string
	for _, name := range clause.ValidNames {
		if checkName(name) != nil {
			continue // on Windows
		}
		want = append(want, name)
		if _, err := b.Write(t.Context(), name, []byte(name), backend.Condition{}); err != nil {
			t.Errorf("Write %q: %v", name, err)
		}
	}
	for _, name := range want {
		if st, err := b.Read(t.Context(), name); err != nil || string(st.Data) != name {
			t.Errorf("Read %q: %q, %v", name, st.Data, err)
		}
	}
	// What is not a workspace of ours.
	for _, name := range []string{"a b", "default"} {
		if err := os.Mkdir(filepath.Join(config.WorkspaceDir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(config.WorkspaceDir, "file"), []byte("x"))
	if err := os.Symlink("a", filepath.Join(config.WorkspaceDir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(config.WorkspaceDir, "new"), 0o755); err != nil { // as Terraform's workspace new
		t.Fatal(err)
	}
	slices.Sort(want)
	listed := list(t, b)
	if diff := cmp.Diff(slices.Sorted(slices.Values(append(want, "new"))), listed); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	if got := namesIn(t, filepath.Dir(config.WorkspaceDir)); slices.Contains(got, "..") || len(got) != 3 {
		t.Errorf("files outside of the directory: %q", got)
	}
}

func list(t *testing.T, b *Backend) (names []string) {
	t.Helper()
	for name, err := range b.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func TestListEnds(t *testing.T) {
	t.Parallel()
	config := place(t)
	b := open(t, config)
	for name := range 600 {
		if err := os.MkdirAll(filepath.Join(config.WorkspaceDir, string(rune('a'+name%26))+strings.Repeat("x", name/26)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := 0
	for _, err := range b.List(ctx) {
		if cancel(); err != nil {
			is(t, "List", err, context.Canceled)
			break
		}
		seen++
	}
	if seen == 0 || seen == 600 {
		t.Errorf("%d names", seen)
	}
	config.WorkspaceDir = config.Path
	write(t, b, []byte("x"))
	var errs []error
	for name, err := range open(t, config).List(t.Context()) {
		if name != ws {
			errs = append(errs, err)
		}
	}
	if len(errs) != 1 || errs[0] == nil {
		t.Errorf("a file instead of a directory: %v", errs)
	}
}
