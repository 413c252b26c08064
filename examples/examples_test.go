// Package examples_test runs the examples as a reader does, and keeps them short.
package examples_test

import (
	"bytes"
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

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
