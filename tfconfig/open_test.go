package tfconfig_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/local"
	"github.com/statelatch/statelatch/tfconfig"
)

func TestWorkspace(t *testing.T) {
	files := map[string]string{
		"main.tf": "", ".terraform/environment": "selected\n", "data/environment": "elsewhere", "empty/environment": " \n", "none/": "",
	}
	dir := directory(t, files)
	for name, test := range map[string]struct {
		opts tfconfig.Options
		env  map[string]string
		want string
	}{
		"selected":              {want: "selected"},
		"data directory":        {env: map[string]string{"TF_DATA_DIR": "data"}, want: "elsewhere"},
		"absolute":              {env: map[string]string{"TF_DATA_DIR": filepath.Join(dir, "data")}, want: "elsewhere"},
		"option before the env": {opts: tfconfig.Options{DataDir: "empty"}, env: map[string]string{"TF_DATA_DIR": "data"}, want: "default"},
		"nothing selected":      {opts: tfconfig.Options{DataDir: "none"}, want: "default"},
		"no data directory":     {opts: tfconfig.Options{DataDir: "missing"}, want: "default"},
		"environment":           {env: map[string]string{"TF_WORKSPACE": "env"}, want: "env"},
		"empty environment":     {env: map[string]string{"TF_WORKSPACE": "", "TF_DATA_DIR": ""}, want: "selected"},
		"option":                {opts: tfconfig.Options{Workspace: "opt"}, env: map[string]string{"TF_WORKSPACE": "env"}, want: "opt"},
	} {
		t.Run(name, func(t *testing.T) {
			test.opts.Getenv = environment(test.env)
			c, err := tfconfig.Load(dir, test.opts)
			if err != nil || c.Workspace != test.want {
				t.Errorf("%+v, %v; want %s", c, err, test.want)
			}
		})
	}
}

// A state of a workspace, found from another working directory.
func TestOpen(t *testing.T) {
	dir := directory(t, map[string]string{
		"root/main.tf":                              block("local", "workspace_dir = \"../states\""),
		"root/.terraform/environment":               "w",
		"states/w/terraform.tfstate":                "{}",
		"terraform.tfstate.d/w/terraform.tfstate":   "wrong",
		"root/terraform.tfstate.d/w/terraform.tfst": "wrong",
	})
	t.Chdir(dir)
	b, workspace, err := tfconfig.Open(t.Context(), mux(), "root", tfconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if st, err := b.Read(t.Context(), workspace); workspace != "w" || err != nil || string(st.Data) != "{}" {
		t.Errorf("%s: %q, %v", workspace, st.Data, err)
	}
}

// Options of a tag come in any order, and hold within nested settings.
func TestNamesOfFiles(t *testing.T) {
	type in struct {
		Paths []string `setting:"paths,file"`
	}
	type files struct {
		Path   string         `setting:"path,required,file"`
		Home   string         `setting:"home,home,file"`
		Either backend.Secret `setting:"either,contents,required"`
		Within *in            `setting:"within"`
		Other  string         `setting:"other"`
		None   string         `setting:"none,file"`
	}
	dir := directory(t, with(main(block("store", `
		path   = "a"
		home   = "~/b"
		either = "main.tf"
		within = { paths = ["../c", "/d", ""] }
		other  = "e"`)), "x", ""))
	c, err := tfconfig.Load(dir, tfconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got files
	if err := c.Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := files{
		Path: filepath.Join(dir, "a"), Home: "~/b", Either: backend.Secret(filepath.Join(dir, "main.tf")),
		Within: &in{[]string{filepath.Join(filepath.Dir(dir), "c"), "/d", ""}}, Other: "e",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestUnsupported(t *testing.T) {
	dir := directory(t, map[string]string{"main.tf": "terraform {\n  cloud {}\n}"})
	_, _, err := tfconfig.Open(t.Context(), mux(), dir, tfconfig.Options{})
	want := &tfconfig.UnsupportedError{
		Type: "cloud", Supported: []string{"http", "local", "s3", "store"},
		Origin: tfconfig.Origin{Kind: tfconfig.FromBlock, File: "main.tf", Line: 2, Column: 3},
	}
	var got *tfconfig.UnsupportedError
	if !errors.As(err, &got) || !cmp.Equal(want, got) || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%#v; want %#v", err, want)
	}
	c, err := tfconfig.Load(dir, tfconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Settings(mux()); !errors.As(err, &got) {
		t.Errorf("Settings: %v", err)
	}
}

// Variables of the driver, and mistakes in them.
func TestEnvironment(t *testing.T) {
	dir := directory(t, map[string]string{"main.tf": block("store", "bucket = \"b\"\nendpoints = { s3 = \"x\" }")})
	c, err := tfconfig.Load(dir, tfconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TFCONFIG_KEY", "env")
	t.Setenv("TFCONFIG_STS", "sts")
	want := "bucket = b (main.tf:3:1)\nkey = env (environment variable TFCONFIG_KEY)\n" + rest +
		"endpoints.s3 = x (main.tf:4:15)\nendpoints.sts = sts (environment variable TFCONFIG_STS)\n"
	if diff := cmp.Diff(want, explained(t, c)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	type number struct {
		Bucket    string         `setting:"bucket"`
		Key       int            `setting:"key" env:"TFCONFIG_KEY"`
		Endpoints map[string]int `setting:"endpoints"`
	}
	err = c.Decode(new(number))
	for _, want := range []string{
		"environment variable TFCONFIG_KEY: setting \"key\": it takes a whole number",
		"main.tf:4:1: setting \"endpoints\": key \"s3\": it takes a whole number",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
}

// Where "" counts as not set, it is not where the value comes from, nor a mistake in it.
func TestEmptyIsUnset(t *testing.T) {
	type number struct {
		_   struct{} `setting:",unsetempty"`
		Key string   `setting:"key" env:"TFCONFIG_KEY"`
		Max int      `setting:"max" env:"TFCONFIG_MAX"`
	}
	m := backend.NewMux(backend.NewDriver(func(_ context.Context, c number) (backend.Backend, error) {
		return nil, &backend.Error{Op: "open", Kind: backend.ErrInvalid, Err: &backend.SettingError{Name: "key", Err: errors.New("not " + c.Key)}}
	}, "store"))
	t.Setenv("TFCONFIG_KEY", "env")
	for _, option := range []string{"", "key="} {
		c, err := tfconfig.Load(directory(t, map[string]string{"main.tf": block("store", `key = ""`)}), tfconfig.Options{BackendConfig: []string{option}})
		if err != nil {
			t.Fatal(err)
		}
		settings, err := c.Settings(m)
		if want := (tfconfig.Origin{Kind: tfconfig.FromEnvironment, Name: "TFCONFIG_KEY"}); err != nil || len(settings) != 1 || settings[0].Value != "env" || settings[0].Origin != want {
			t.Errorf("%q: %v, %v", option, settings, err)
		}
		if _, err := c.Open(t.Context(), m); err == nil || !strings.Contains(err.Error(), `environment variable TFCONFIG_KEY: setting "key": not env`) {
			t.Errorf("%q: %v", option, err)
		}
	}
}

// Each mistake is an error of its own, with its place.
func TestErrors(t *testing.T) {
	dir := directory(t, map[string]string{"main.tf": block("store", "key = \"k\"\nmax_retries = \"x\"")})
	_, _, err := tfconfig.Open(t.Context(), mux(), dir, tfconfig.Options{})
	if e, ok := errors.AsType[*backend.Error](err); !ok || e.Kind != backend.ErrInvalid || e.Backend != "store" {
		t.Errorf("%#v", e)
	}
	lines := map[string]int{}
	var walk func(error)
	walk = func(err error) {
		var mistake *tfconfig.Error
		var setting *backend.SettingError
		switch e := err.(type) {
		case *tfconfig.Error:
			if mistake = e; errors.As(err, &setting) {
				lines[setting.Name] = mistake.Origin.Line
			}
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				walk(err)
			}
		case interface{ Unwrap() error }:
			walk(e.Unwrap())
		}
	}
	walk(err)
	if diff := cmp.Diff(map[string]int{"bucket": 2, "max_retries": 4}, lines); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A driver that fails before it asks for its settings, and one that is asked.
func TestDriverThatDoesNotDecode(t *testing.T) {
	dir := directory(t, map[string]string{"main.tf": block("odd", "")})
	c, err := tfconfig.Load(dir, tfconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := backend.NewMux(odd{})
	if b, err := c.Open(t.Context(), m); b != nil || err == nil || err.Error() != `main.tf:2:3: setting "x": no` {
		t.Errorf("%v, %v", b, err)
	}
	if settings, err := c.Settings(m); settings != nil || err == nil {
		t.Errorf("%v, %v", settings, err)
	}
}

type odd struct{}

func (odd) Types() []string { return []string{"odd"} }

func (odd) Open(context.Context, func(any) error) (backend.Backend, error) {
	return (*local.Backend)(nil), &backend.SettingError{Name: "x", Err: errors.New("no")}
}

// Nothing that prints a Config or its parts prints a secret.
func TestNoSecretPrints(t *testing.T) {
	dir := directory(t, with(store(valid+"assume_role = {\n  role_arn = \"r\"\n  token = \""+secret+"\"\n}"), ".terraform/environment", "w"))
	c, err := tfconfig.Load(dir, tfconfig.Options{BackendConfig: []string{"token=" + secret}})
	if err != nil {
		t.Fatal(err)
	}
	settings, err := c.Settings(mux())
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []any{c, *c, settings} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
			if text := fmt.Sprintf(verb, value); strings.Contains(text, secret) {
				t.Errorf("%s of a %T shows the secret: %s", verb, value, text)
			}
		}
	}
	if !slices.ContainsFunc(settings, func(s tfconfig.Setting) bool { return s.Value == backend.Secret(secret) }) {
		t.Error("the secret is not there at all")
	}
}

func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	text := "terraform {\n  backend \"local\" {\n    path = \"states/prod.tfstate\"\n  }\n}\n"
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(text), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	ctx := context.Background()
	mux := backend.NewMux(local.Driver) // or all.Mux()
	b, workspace, err := tfconfig.Open(ctx, mux, dir, tfconfig.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	_, err = b.Read(ctx, workspace)
	fmt.Println(workspace, errors.Is(err, backend.ErrNotExist))
	// Output: default true
}

func ExampleConfig_Settings() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte("terraform {\n  backend \"local\" {}\n}\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	c, err := tfconfig.Load(dir, tfconfig.Options{BackendConfig: []string{"path=/srv/prod.tfstate", "no_backup=true"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	settings, err := c.Settings(backend.NewMux(local.Driver))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range settings {
		if s.Origin.Kind != tfconfig.FromDefault {
			fmt.Printf("%s = %v, from %s\n", s.Name, s.Value, s.Origin)
		}
	}
	// Output:
	// path = /srv/prod.tfstate, from -backend-config path=…
	// no_backup = true, from -backend-config no_backup=…
}
