package tfconfig

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
)

// fuzzed has a field of each kind.
type fuzzed struct {
	Text    string            `setting:"text,required" default:"d"`
	Flag    bool              `setting:"flag"`
	Number  int               `setting:"number"`
	Wait    time.Duration     `setting:"wait"`
	Secret  backend.Secret    `setting:"secret"`
	List    []string          `setting:"list,file"`
	Map     map[string]string `setting:"map"`
	Object  nested            `setting:"object"`
	Pointer *nested           `setting:"pointer"`
}

type nested struct {
	Text string `setting:"text,contents"`
	Deep *struct {
		Text string `setting:"text"`
	} `setting:"deep"`
}

func noEnvironment(string) (string, bool) { return "", false }

// checkLoad loads a directory and whatever it is configured for. What can go wrong is
// an error with text.
func checkLoad(t *testing.T, dir string, opts Options) *Config {
	t.Helper()
	opts.Getenv = noEnvironment
	c, err := Load(dir, opts)
	if err != nil {
		var changed *ChangedError
		if !errors.Is(err, backend.ErrInvalid) || err.Error() == "" || c != nil && !errors.As(err, &changed) {
			t.Errorf("%v, %v", c, err)
		}
		return nil
	}
	mux := backend.NewMux(backend.NewDriver[fuzzed](nil, "a", "local"))
	if _, err := c.Settings(mux); err != nil && c.Type == "a" && !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("%v", err)
	}
	return c
}

// FuzzBlock loads a directory with a file in native or JSON syntax, and variables.
func FuzzBlock(f *testing.F) {
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte, tofu bool) {
		for name, opts := range map[string]Options{"main.tf": {}, "main.tf.json": {}} {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			if !tofu {
				opts.Program = Terraform
			}
			checkLoad(t, dir, opts)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzRecorded loads what init recorded, alone and beside a block. Alone it gives back
// what it records.
func FuzzRecorded(f *testing.F) {
	dir := f.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".terraform"), 0o700); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		at := Origin{Kind: FromRecord, File: ".terraform/terraform.tfstate"}
		r, err := parseRecord(text, at)
		if err != nil {
			var e *Error
			if r != nil || !errors.As(err, &e) || e.Origin.Line > 1+strings.Count(string(text), "\n") {
				t.Errorf("%v, %v", r, err)
			}
			return
		}
		if err := os.WriteFile(filepath.Join(dir, ".terraform", "terraform.tfstate"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(`terraform {
			backend "a" {
				text   = "t"
				list   = ["a"]
				object = { text = "t" }
			}
		}`), 0o600); err != nil {
			t.Fatal(err)
		}
		c := checkLoad(t, dir, Options{})
		if c != nil && c.Source == Recorded && r.typ != "a" {
			t.Errorf("a record of %q was taken for the block's", r.typ)
		}
		if err := os.Remove(filepath.Join(dir, "main.tf")); err != nil {
			t.Fatal(err)
		}
		c = checkLoad(t, dir, Options{})
		if (r != nil) != (c != nil && c.Source == Recorded) || r != nil && (c.Type != r.typ || !reflect.DeepEqual(c.settings, r.settings())) {
			t.Errorf("%+v gave %v", r, c)
		}
	})
}

// FuzzBackendConfig gives pairs to -backend-config, also in quotes in the environment,
// from where they come as they are.
func FuzzBackendConfig(f *testing.F) {
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(`terraform { 
		backend "a" {}
	}`), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		pair := name + "=" + value
		if c := checkLoad(t, dir, Options{BackendConfig: []string{pair}}); c == nil {
			t.Fatalf("%q was refused", pair)
		}
		quoted := "'" + strings.ReplaceAll(pair, "'", `'\''`) + "'"
		env := func(name string) (string, bool) {
			if name != "TF_CLI_ARGS_init" {
				return "", false
			}
			return fmt.Sprintf("-x -backend-config=%s -backend-config text=%[1]s", quoted), true
		}
		c, err := Load(dir, Options{Getenv: env})
		if err != nil {
			t.Fatal(err)
		}
		var got fuzzed
		if err := c.Decode(&got); err == nil && got.Text != pair {
			t.Errorf("%q, want %q", got.Text, pair)
		}
	})
}
