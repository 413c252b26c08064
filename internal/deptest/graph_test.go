package deptest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/statelatch/statelatch"

// A pkg is one package as go list describes it. Deps holds everything that it
// links, Imports what its own files name; tests are not counted in either.
type pkg struct {
	ImportPath    string
	Standard      bool
	Imports, Deps []string
}

// A graph holds the packages of this module and all that they link, by import path.
type graph map[string]pkg

// load asks the go command for the graph as it is on one operating system.
func load(t *testing.T, goos string) graph {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Standard,Imports,Deps", module+"/...")
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	if err != nil {
		t.Fatalf("go list for %s: %v", goos, err)
	}
	g := graph{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return g
		} else if err != nil {
			t.Fatalf("go list for %s: %v", goos, err)
		}
		g[p.ImportPath] = p
	}
}

// ours yields the packages of this module by their paths within it.
func (g graph) ours() []string {
	var names []string
	for path := range g {
		if name, ok := strings.CutPrefix(path, module+"/"); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// links reports what the package of this name links outside the standard library,
// itself excepted, packages of this module by their paths within it.
func (g graph) links(name string) []string {
	var paths []string
	for _, path := range g[module+"/"+name].Deps {
		if !g[path].Standard {
			paths = append(paths, strings.TrimPrefix(path, module+"/"))
		}
	}
	return paths
}

// within reports whether path is root or below it.
func within(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/")
}

// withinAny reports whether path is one of roots or below one.
func withinAny(path string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return within(path, root) })
}
