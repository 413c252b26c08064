package deptest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// Each row is a rule for the text of one file.
var texts = []struct {
	name   string
	tests  bool // holds for _test.go files too
	broken func(src []byte, file *ast.File) bool
	why    string
}{
	{"400 lines or more", false, func(src []byte, _ *ast.File) bool { return lines(src) >= 400 },
		"a file has one subject, and is read in one go"},
	{"800 lines or more", true, func(src []byte, _ *ast.File) bool { return lines(src) >= 800 },
		"a table of cases may be long, but not endless"},
	{"an init function", false, func(_ []byte, file *ast.File) bool { return hasInit(file) },
		"importing a package does nothing; nothing is registered"},
	{"a blank import", false, func(_ []byte, file *ast.File) bool { return blankImport(file) },
		"a package is imported for its names, never for its effects"},
}

func lines(src []byte) int { return bytes.Count(src, []byte("\n")) }

func hasInit(file *ast.File) bool {
	return slices.ContainsFunc(file.Decls, func(decl ast.Decl) bool {
		f, ok := decl.(*ast.FuncDecl)
		return ok && f.Recv == nil && f.Name.Name == "init"
	})
}

// blankImport reports whether file imports a package for its effects. Package embed
// has none: the language wants it imported where a file is embedded.
func blankImport(file *ast.File) bool {
	return slices.ContainsFunc(file.Imports, func(spec *ast.ImportSpec) bool {
		return spec.Name != nil && spec.Name.Name == "_" && spec.Path.Value != `"embed"`
	})
}

// broken returns one line for each rule that the file of this name breaks.
func broken(name string, src []byte) ([]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), name, src, 0)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, rule := range texts {
		if (rule.tests || !strings.HasSuffix(name, "_test.go")) && rule.broken(src, file) {
			found = append(found, fmt.Sprintf("%s has %s: %s", name, rule.name, rule.why))
		}
	}
	return found, nil
}

// TestSources reads every Go file of the module; nested modules are not part of it.
func TestSources(t *testing.T) {
	read := 0
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipped(name):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		src, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		read++
		found, err := broken(name, src)
		for _, line := range found {
			t.Error(line)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if read < 10 {
		t.Errorf("only %d Go files under %s", read, root)
	}
}

// skipped reports whether the go command passes over this folder too.
func skipped(dir string) bool {
	if dir == "." {
		return false
	}
	_, err := os.Stat(filepath.Join(root, dir, "go.mod"))
	base := filepath.Base(dir)
	return err == nil || base == "testdata" || base[0] == '.' || base[0] == '_'
}

// TestSourcesNotice shows that each rule for a file can fail.
func TestSourcesNotice(t *testing.T) {
	long := strings.Repeat("\n", 800)
	for _, test := range []struct {
		name, src string
		want      int
	}{
		{"a.go", "package a\nimport _ \"embed\"\n", 0},
		{"a.go", "package a\nfunc init() {}\n", 1},
		{"a.go", "package a\nimport _ \"net/http/pprof\"\n", 1},
		{"a_test.go", "package a\nimport _ \"net/http/pprof\"\nfunc init() {}\n", 0},
		{"a.go", "package a" + long[:398] + "\n", 0},
		{"a.go", "package a" + long[:399] + "\n", 1},
		{"a_test.go", "package a" + long[:799], 0},
		{"a_test.go", "package a" + long, 1},
	} {
		got, err := broken(test.name, []byte(test.src))
		if err != nil || len(got) != test.want {
			t.Errorf("%s, %.40q: %q, %v; want %d lines", test.name, test.src, got, err, test.want)
		}
	}
}

// TestGoMod holds what users get by requiring this module to what its tests run with.
func TestGoMod(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Go, Toolchain                  string
		Replace, Exclude, Tool, Ignore []any
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	if mod.Go != "1.26.0" || mod.Toolchain != "" {
		t.Errorf("go %q, toolchain %q: users choose their Go release, from 1.26.0 up", mod.Go, mod.Toolchain)
	}
	if mod.Replace != nil || mod.Exclude != nil {
		t.Errorf("replace %v, exclude %v: they hold for nobody who requires this module", mod.Replace, mod.Exclude)
	}
	if mod.Tool != nil {
		t.Errorf("tool %v: tools live in nested modules, so that no user inherits what they need", mod.Tool)
	}
}
