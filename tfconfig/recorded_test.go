package tfconfig_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/tfconfig"
)

const (
	httpSettings = "address = http://127.0.0.1:1/x\nretry_max = 3\nskip_cert_verification = true\n"
	s3Settings   = "bucket = b\nkey = k\nregion = us-east-1\naccess_key = a\nsecret_key = (redacted)\nskip_credentials_validation = true\nskip_requesting_account_id = true\n"
	s3Rest       = "shared_config_files = [a z]\nendpoints.s3 = http://127.0.0.1:18431/s3\nmax_retries = 1\n"
)

// Directories as the programs left them; terraform-1.5 is made of the later one, in
// the layout of that version. The key, secret and password of some were given to init
// alone.
var recordings = map[string]string{
	"terraform-1.5-http":      httpSettings,
	"terraform-1.11.4-http":   httpSettings,
	"opentofu-1.12.6-http":    httpSettings,
	"terraform-1.11.4-s3":     s3Settings + "use_path_style = true\n" + s3Rest,
	"opentofu-1.12.6-s3":      s3Settings + s3Rest,
	"opentofu-1.12.6-headers": "address = http://127.0.0.1:1/x\npassword = (redacted)\nretry_max = 0\nheaders = map[team:a x-b:b]\n",
}

func TestRecorded(t *testing.T) {
	for name, want := range recordings {
		t.Run(name, func(t *testing.T) {
			c, err := tfconfig.Load(filepath.Join("testdata", name), tfconfig.Options{Getenv: environment(map[string]string{"TF_DATA_DIR": "data"})})
			if err != nil {
				t.Fatal(err)
			}
			from := tfconfig.Origin{Kind: tfconfig.FromRecord, File: "data/terraform.tfstate"}
			if c.Source != tfconfig.Recorded || c.Origin != from {
				t.Errorf("source %s, origin %v", c.Source, c.Origin)
			}
			got := strings.ReplaceAll(explained(t, c), " (data/terraform.tfstate)", "")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// edited returns a copy of a recorded directory, with a text replaced in main.tf.
func edited(t *testing.T, name, old, new string) string {
	t.Helper()
	from := filepath.Join("testdata", name)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "main.tf")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("%s does not have %q", path, old)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), old, new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Each edit of a block, and the settings in which it then differs from the record;
// none if it says the same in another way.
var edits = []struct {
	name, dir, old, new string
	differ              []string
}{
	{"spelling", "opentofu-1.12.6-http", "retry_max              = \"3\"", "retry_max = 1 + 2", nil},
	{"order of a set", "terraform-1.11.4-s3", `["z", "a"]`, `["a", "z"]`, nil},
	{"a null", "terraform-1.11.4-s3", "use_path_style", "token = null\nuse_path_style", nil},
	{"a value", "terraform-1.11.4-http", "127.0.0.1:1/x", "127.0.0.1:1/y", []string{"address"}},
	{"a nested value", "terraform-1.11.4-s3", "18431/s3", "18431/t3", []string{"endpoints"}},
	{"a value of a map", "opentofu-1.12.6-headers", `"b"`, `"c"`, []string{"headers"}},
	{"a variable", "opentofu-1.12.6-headers", `default = "a"`, `default = "b"`, []string{"headers"}},
	{"one more", "terraform-1.11.4-s3", "use_path_style", "encrypt = true\nuse_path_style", []string{"encrypt"}},
	{"one that the record does not know", "terraform-1.11.4-s3", "use_path_style", "new = true\nuse_path_style", []string{"new"}},
	{"one less", "opentofu-1.12.6-http", "retry_max              = \"3\"", "", []string{"retry_max"}},
	// What was given to init cannot be told from what was taken out.
	{"one less, and others from init", "terraform-1.11.4-s3", "use_path_style              = true", "", []string{"key", "secret_key", "use_path_style"}},
	{"a value that is not known", "opentofu-1.12.6-headers", `default = "a"`, "", nil},
	{"a value that is not known, and one that differs", "opentofu-1.12.6-headers", "1/x\"\n    headers = { team = var.team", "1/y\"\n    headers = { team = var.none", []string{"address"}},
}

func TestChangedBlock(t *testing.T) {
	for _, test := range edits {
		t.Run(test.name, func(t *testing.T) {
			dir := edited(t, test.dir, test.old, test.new)
			opts := tfconfig.Options{DataDir: "data"}
			c, err := tfconfig.Load(dir, opts)
			if test.differ == nil {
				if err != nil || c.Source != tfconfig.Recorded {
					t.Fatalf("%+v, %v", c, err)
				}
				return
			}
			var changed *tfconfig.ChangedError
			if !errors.As(err, &changed) || !errors.Is(err, backend.ErrInvalid) {
				t.Fatalf("%v; want a *ChangedError", err)
			}
			if diff := cmp.Diff(test.differ, changed.Settings); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if strings.Contains(test.new, "var.none") {
				return // the block cannot be opened either
			}
			opts.BackendConfig = []string{""}
			if c, err = tfconfig.Load(dir, opts); err != nil || c.Source != tfconfig.Block {
				t.Errorf("with \"\" as -backend-config: %+v, %v", c, err)
			}
		})
	}
}

const recordedStore = `{"version": 3, "backend": {"type": "store", "config": {"bucket": "recorded", "key": "k"}, "hash": 1}}`

// What a block and a record give together.
func TestSource(t *testing.T) {
	for _, test := range []struct {
		name, block, record string
		config              []string
		want                string // source and type, or a part of the error
	}{
		{"neither", "terraform {}", "", nil, "nothing local"},
		{"an empty record", "terraform {}", " ", nil, "nothing local"},
		{"a record of nothing", "terraform {}", `{"version": 3}`, nil, "nothing local"},
		{"a record without type", "terraform {}", `{"version": 3, "backend": {"type": "", "config": null}}`, nil, "nothing local"},
		{"a block", block("store", ""), "", nil, "block store"},
		{"a record without files", "", recordedStore, nil, "recorded store"},
		{"a record without block", "terraform {}", recordedStore, nil, "no file has a backend block any more"},
		{"a block of another type", block("local", ""), recordedStore, nil, `the backend is "local" here and "store" in .terraform/terraform.tfstate`},
		{"overridden", block("store", "bucket = \"b\""), recordedStore, []string{"key=k"}, "block store"},
		{"overridden by nothing", block("local", ""), recordedStore, []string{""}, "block local"},
		{"overridden by nothing, and no block", "terraform {}", recordedStore, []string{""}, "nothing local"},
		{"overridden, and the record is broken", block("local", ""), "{", []string{""}, "block local"},
		{"overridden, but no block", "terraform {}", recordedStore, []string{"key=k"}, "no file has one"},
		{"cloud", "terraform {\n  cloud {}\n}", `{"version": 3, "backend": {"type": "cloud", "config": {"organization": "o"}, "hash": 7}}`, nil, "recorded cloud"},
		{"state_store", "terraform {\n  state_store \"x_y\" {\n    provider \"x\" {}\n  }\n}", `{"version": 3, "state_store": {"type": "x_y", "provider": {}, "config": {"a": 1}, "hash": 7}}`, nil, "recorded state_store"},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := map[string]string{".terraform/": ""}
			if test.block != "" {
				files["main.tf"] = test.block
			}
			if test.record != "" {
				files[".terraform/terraform.tfstate"] = test.record
			}
			c, err := tfconfig.Load(directory(t, files), tfconfig.Options{BackendConfig: test.config, Getenv: environment(nil)})
			got := ""
			if err != nil {
				got = err.Error()
			} else {
				got = string(c.Source) + " " + c.Type
			}
			if !strings.Contains(got, test.want) {
				t.Errorf("%s; want %s", got, test.want)
			}
		})
	}
}

// The record is what init made of everything; nothing that init alone reads counts.
func TestRecordIsComplete(t *testing.T) {
	dir := directory(t, map[string]string{".terraform/terraform.tfstate": recordedStore})
	env := map[string]string{"TF_CLI_ARGS_init": "-backend-config=bucket=init"}
	c, err := tfconfig.Load(dir, tfconfig.Options{Getenv: environment(env)})
	if err != nil {
		t.Fatal(err)
	}
	const at = " (.terraform/terraform.tfstate)\n"
	if diff := cmp.Diff("bucket = recorded"+at+"key = k"+at+rest, explained(t, c)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
