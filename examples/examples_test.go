// Package examples_test runs the examples as a reader does, and keeps them short.
package examples_test

import (
	"bytes"
	"cmp"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	diff "github.com/google/go-cmp/cmp"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/local"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/statefile"
)

// What the quickstart prints; the path of the state is in the first group.
var quickstart = regexp.MustCompile(`^1\. .*
   (.*terraform\.tfstate)
2\. .*
   first run: has the lock, raises serial 1
   second run: waits for the first run of .*@.*
   second run: has the lock, raises serial 2
3\. .*
   refused as ErrConflict: true
4\. .*
   -rw-------    0 bytes  \.terraform\.tfstate\.journal
   -rw-------  [0-9]+ bytes  terraform\.tfstate
   -rw-------  [0-9]+ bytes  terraform\.tfstate\.backup
5\. .*
   unlocked what the dead run held, ID [0-9a-f-]{36}
$`)

func TestQuickstart(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	cmd := exec.CommandContext(t.Context(), "go", "run", "./quickstart")
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	found := quickstart.FindSubmatch(output)
	if found == nil {
		t.Fatalf("unexpected output:\n%s", output)
	}
	state, err := os.ReadFile(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	if header, err := statefile.ReadHeader(state); err != nil || header.Serial != 3 {
		t.Errorf("the state has the header %+v, %v", header, err)
	}
	for line := range strings.Lines(string(output)) {
		if len(line) > 80+len("\n") && !strings.Contains(line, "@") && !strings.Contains(line, "/") {
			t.Errorf("wider than 80 columns: %s", line)
		}
	}
}

// TestInspect looks at a directory whose backend block is filled in on the command
// line, with a workspace selected, while somebody holds the lock.
func TestInspect(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"main.tf":                "terraform {\n  backend \"local\" {\n    path = \"x.tfstate\"\n  }\n}\n",
		".terraform/environment": "prod",
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	inspect := func() string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", "run", "./inspect", dir, "workspace_dir=spaces")
		cmd.Stderr = os.Stderr
		output, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(output)
	}
	if d := diff.Diff("workspace prod\nno state yet\nnot locked\n", inspect()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	b, err := local.New(t.Context(), local.Config{WorkspaceDir: filepath.Join(dir, "spaces")})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	const state = `{"version":4,"serial":7,"lineage":"L","outputs":{"url":{"value":"https://x"},"key":{"value":"CANARY","sensitive":true}}}`
	if _, err := b.Write(t.Context(), "prod", []byte(state), backend.Condition{}); err != nil {
		t.Fatal(err)
	}
	held, err := b.Lock(t.Context(), "prod", lock.NewInfo("testing"))
	if err != nil {
		t.Fatal(err)
	}
	want := "workspace prod\nlineage L\nserial 7\noutput key = (sensitive)\noutput url = \"https://x\"\nlocked by " + held.String() + "\n"
	if d := diff.Diff(want, inspect()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// An example that grows is a sign that the library makes something hard.
func TestExamplesAreShort(t *testing.T) {
	files, err := filepath.Glob("*/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	lines := map[string]int{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines[filepath.Dir(file)] += bytes.Count(data, []byte("\n"))
	}
	limits := map[string]int{"custom": 200} // with its test, without the store
	for dir, lines := range lines {
		if limit := cmp.Or(limits[dir], 80); lines >= limit {
			t.Errorf("%s has %d lines, and should have less than %d", dir, lines, limit)
		}
	}
}
