package all_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/statelatch/statelatch/all"
	"github.com/statelatch/statelatch/backend"
)

// TestEverySetting: what is in the tables is what the configurations have, and all.Mux
// opens each of the blocks.
func TestEverySetting(t *testing.T) {
	for _, b := range blocks {
		names := slices.Clone(b.ours)
		for _, a := range b.attributes {
			names = append(names, a.name)
		}
		slices.Sort(names)
		if diff := cmp.Diff(slices.Compact(slices.Clone(names)), names); diff != "" {
			t.Errorf("%s has attributes twice:\n%s", b.typ, diff)
		}
		if diff := cmp.Diff(names, slices.Sorted(settingsOf(reflect.TypeOf(b.config), ""))); diff != "" {
			t.Errorf("%s (-in the table +in %T):\n%s", b.typ, b.config, diff)
		}
		var got reflect.Type
		_, err := all.Mux().Open(t.Context(), b.typ, func(config any) error { got = reflect.TypeOf(config).Elem(); return errSeen })
		if got != reflect.TypeOf(b.config) {
			t.Errorf("%s is decoded into a %v: %v", b.typ, got, err)
		}
	}
}

// settingsOf yields the names of the settings in a struct.
func settingsOf(config reflect.Type, prefix string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, f := range backend.Fields(config) {
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				settingsOf(inner, prefix+f.Setting+".")(yield)
			} else if !yield(prefix + f.Setting) {
				return
			}
		}
	}
}

// TestShownElsewhere: each test that the tables refer to exists, and speaks of what it
// is to show, by its name or by that of its field.
func TestShownElsewhere(t *testing.T) {
	tests := map[string]string{} // the file that each is in
	for _, pkg := range []string{"s3", "gcs", "azblob", "consul", "httpbackend"} {
		files, err := filepath.Glob("../" + pkg + "/*_test.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, src, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, decl := range file.Decls {
				if f, ok := decl.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Test") {
					tests[pkg+"."+f.Name.Name] = string(src)
				}
			}
		}
	}
	for _, b := range blocks {
		for _, a := range b.attributes {
			for _, test := range []string{a.late, a.wire} {
				if test == "" || test[0] == '-' {
					continue
				}
				src, ok := tests[test]
				field := regexp.MustCompile(`\b` + a.field[strings.LastIndex(a.field, ".")+1:] + `\b`)
				if !ok {
					t.Errorf("%s %s: there is no test %s", b.typ, a.name, test)
				} else if !strings.Contains(src, a.name) && !field.MatchString(src) {
					t.Errorf("%s %s: the file of %s does not mention it", b.typ, a.name, test)
				}
			}
			if a.wire == "" {
				t.Errorf("%s %s: no test shows its request", b.typ, a.name)
			}
		}
	}
}
