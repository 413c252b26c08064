package tfconfig_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/statelatch/statelatch/internal/services"
	"github.com/statelatch/statelatch/internal/tftest"
	"github.com/statelatch/statelatch/local"
	"github.com/statelatch/statelatch/tfconfig"
)

// eachProgram runs a test beside each program, in a directory with these files that
// was not initialised with them.
func eachProgram(t *testing.T, files map[string]string, env map[string]string, test func(*testing.T, *tftest.Dir, tfconfig.Options)) {
	var vars []string
	for name, value := range env {
		vars = append(vars, name+"="+value)
	}
	for name, p := range map[string]struct {
		program *tftest.Program
		rules   tfconfig.Program
	}{
		"terraform": {tftest.Terraform(t), tfconfig.Terraform},
		"tofu":      {tftest.Find(t, "tofu", services.Path), tfconfig.OpenTofu},
	} {
		t.Run(name, func(t *testing.T) {
			d := p.program.Dir(t, tftest.Config{}, vars...)
			write(t, d, files)
			test(t, d, tfconfig.Options{Program: p.rules, Getenv: environment(env)})
		})
	}
}

func write(t *testing.T, d *tftest.Dir, files map[string]string) {
	t.Helper()
	if err := os.Remove(filepath.Join(d.Path, "main.tf")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.CopyFS(d.Path, os.DirFS(directory(t, files))); err != nil {
		t.Fatal(err)
	}
}

func path(s string) string { return block("local", "path = "+s) }

// What the programs make of a block and all that is said beside it, they record; we
// make the same of it without the record, or cannot, as they cannot.
func TestProgramsAgreeOnValues(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string]string
		env   map[string]string
		args  []string
	}{
		{name: "expression", files: map[string]string{"a.tf": path(`"${1 + 1}-${true ? "a" : "b"}-%{for x in [1, 2]}${x}%{endfor}"`)}},
		{name: "numbers", files: map[string]string{"a.tf": path("1.50"), "override.tf": ""}},
		{name: "JSON", files: map[string]string{"a.tf.json": `{"terraform": {"backend": {"local": {"path": "$${1 + 1}", "workspace_dir": 7}}}}`}},
		{name: "JSON template", files: map[string]string{"a.tf.json": `{"terraform": [{"backend": [{"local": {"path": "${1 + 1}"}}]}]}`}},
		{name: "overrides", files: map[string]string{"a.tf": path(`"a"`), "z_override.tf": path(`"z"`), "b_override.tf.json": `{"terraform": {"backend": {"local": {"workspace_dir": "b"}}}}`}},
		{name: "tofu", files: map[string]string{"a.tf": path(`"tf"`), "a.tofu": path(`"tofu"`)}},
		{name: "tofu beside JSON", files: map[string]string{"a.tf.json": `{"terraform": {"backend": {"local": {"path": "json"}}}}`, "a.tofu": path(`"tofu"`)}},
		{name: "tofu override", files: map[string]string{"a.tf": path(`"tf"`), "override.tf": path(`"over tf"`), "override.tofu": path(`"over tofu"`)}},
		{name: "duplicate", files: map[string]string{"a.tf": path(`"a"`), "b.tf": path(`"b"`)}},
		{name: "partial", files: map[string]string{"a.tf": path(`"a"`), "x.tfbackend": "path = \"x\"\nworkspace_dir = \"w\"\n", "y.json": `{"path": null}`},
			args: []string{"path=1=2", "x.tfbackend", "workspace_dir=\"quoted\"", "y.json"}},
		{name: "environment", files: map[string]string{"a.tf": path(`"a"`)},
			env: map[string]string{"TF_CLI_ARGS_init": `-backend-config=path=init -backend-config "workspace_dir=in 'it'"`, "TF_CLI_ARGS": `-no-color -backend-config=path='a r\gs'`}},
		{name: "environment with a shell's signs", files: map[string]string{"a.tf": path(`"a"`)},
			env: map[string]string{"TF_CLI_ARGS_init": `-backend-config=workspace_dir='w;w' -backend-config=path=x&y -backend-config=workspace_dir=z`}},
		{name: "variables", files: map[string]string{"a.tf": path("local.p") + "variable \"v\" {\n  type = map(string)\n  default = {}\n}\nlocals {\n  p = \"${var.v.a}-${path.module}-${terraform.workspace}\"\n}\n",
			"terraform.tfvars": `v = { a = "tfvars" }`, "z.auto.tfvars.json": `{"v": {"a": "auto ${x}"}}`}, env: map[string]string{"TF_VAR_v": `{a = "env"}`}},
		{name: "variable in -backend-config", files: map[string]string{"a.tf": path(`"a"`) + "variable \"v\" {\n  default = \"d\"\n}\n", "x.tfbackend": "path = \"x-${var.v}\"\n"}, args: []string{"x.tfbackend"}},
		{name: "sensitive", files: map[string]string{"a.tf": path("var.v") + "variable \"v\" {\n  default = \"d\"\n  sensitive = true\n}\n"}},
		{name: "no value", files: map[string]string{"a.tf": path("var.v") + "variable \"v\" {}\n"}},
		{name: "backend as a setting", files: map[string]string{"a.tf": "terraform {\n  backend = \"local\"\n}"}},
		{name: "backend misspelt", files: map[string]string{"a.tf": "terraform {\n  backends \"local\" {}\n}"}},
		{name: "backend misspelt in JSON", files: map[string]string{"a.tf.json": `{"terraform": {"backends": {"local": {}}}}`}},
		{name: "backend at the top", files: map[string]string{"a.tf": "backend \"local\" {}"}},
		{name: "terraform misspelt", files: map[string]string{"a.tf": "teraform {}"}},
		{name: "unknown", files: map[string]string{"a.tf": block("local", "pth = 1")}},
		{name: "nested block", files: map[string]string{"a.tf": block("local", "path {\n}")}},
		{name: "wrong type", files: map[string]string{"a.tf": path(`["a"]`)}},
		{name: "unknown pair", files: map[string]string{"a.tf": path(`"a"`)}, args: []string{"pth=1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			eachProgram(t, test.files, test.env, func(t *testing.T, d *tftest.Dir, opts tfconfig.Options) {
				args := []string{"init"}
				for _, item := range test.args {
					args = append(args, "-backend-config="+item)
				}
				out, failed := d.Run(args...)
				opts.BackendConfig = test.args
				ours := opts
				ours.DataDir = "elsewhere"
				var got, want local.Config
				err := decode(d.Path, ours, &got)
				if failed != nil || err != nil {
					if failed == nil || err == nil {
						t.Errorf("we: %v, they: %v\n%s", err, failed, out)
					}
					return
				}
				opts.BackendConfig = nil
				if err := decode(d.Path, opts, &want); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-they +we)\n%s", diff)
				}
			})
		})
	}
}

func decode(dir string, opts tfconfig.Options, into *local.Config) error {
	c, err := tfconfig.Load(dir, opts)
	if err != nil {
		return err
	}
	return c.Decode(into)
}

// Where the programs want another init, we have a *ChangedError.
func TestProgramsAgreeOnChanges(t *testing.T) {
	for name, test := range map[string]struct {
		before, after string
		args          []string
	}{
		"nothing":                    {path(`"x"`), path(`"x"`), nil},
		"nothing, init had more":     {path(`"x"`), path(`"x"`), []string{"-backend-config=workspace_dir=w"}},
		"nothing, init had other":    {path(`"x"`), path(`"x"`), []string{"-backend-config=path=y"}},
		"spelling":                   {path(`"x"`), path(`"${"x"}"`) + "locals {}\n", nil},
		"a value":                    {path(`"x"`), path(`"y"`), nil},
		"to what init had":           {path(`"x"`), path(`"y"`), []string{"-backend-config=path=y"}},
		"one less":                   {path(`"x"`), block("local", ""), nil},
		"one less, init had more":    {path(`"x"`), block("local", ""), []string{"-backend-config=path=y"}},
		"one more":                   {block("local", ""), path(`"x"`), nil},
		"one more, as init had":      {block("local", ""), path(`"x"`), []string{"-backend-config=path=x"}},
		"one more, but init had two": {block("local", ""), path(`"x"`), []string{"-backend-config=path=x", "-backend-config=workspace_dir=w"}},
		"null":                       {block("local", ""), path("null"), nil},
		"type":                       {path(`"x"`), block("http", "address = \"http://127.0.0.1:1/\""), nil},
		"no block":                   {path(`"x"`), "terraform {}\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachProgram(t, map[string]string{"main.tf": test.before}, nil, func(t *testing.T, d *tftest.Dir, opts tfconfig.Options) {
				d.Must(append([]string{"init"}, test.args...)...)
				write(t, d, map[string]string{"main.tf": test.after})
				out, failed := d.Run("state", "pull")
				if failed != nil && !strings.Contains(out, "Backend initialization required") {
					t.Fatal(out)
				}
				_, err := tfconfig.Load(d.Path, opts)
				var changed *tfconfig.ChangedError
				if err != nil && !errors.As(err, &changed) || (failed == nil) != (err == nil) {
					t.Errorf("we: %v, they: %v\n%s", err, failed, out)
				}
			})
		})
	}
}
