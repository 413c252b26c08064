package tfconfig_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/local"
	"github.com/statelatch/statelatch/memory"
	"github.com/statelatch/statelatch/tfconfig"
)

// config has a field of every kind that a driver can have.
type config struct {
	Bucket      string            `setting:"bucket,required"`
	Key         string            `setting:"key,required" env:"TFCONFIG_KEY"`
	Prefix      string            `setting:"prefix" default:"env:"`
	Lockfile    bool              `setting:"use_lockfile"`
	Retries     int               `setting:"max_retries"`
	Wait        time.Duration     `setting:"wait"`
	Token       backend.Secret    `setting:"token"`
	Accounts    []string          `setting:"accounts"`
	Tags        map[string]string `setting:"tags"`
	Endpoints   endpoints         `setting:"endpoints"`
	Role        *role             `setting:"assume_role"`
	CAFile      string            `setting:"ca_file,file"`
	Profiles    []string          `setting:"profiles,file,home"`
	Credentials backend.Secret    `setting:"credentials,contents"`
	Odd         string            `setting:"odd"`
}

type endpoints struct {
	S3  string `setting:"s3"`
	STS string `setting:"sts" env:"TFCONFIG_STS"`
	DDB string `setting:"dynamodb"`
	IAM string `setting:"iam"`
}

type role struct {
	ARN   string         `setting:"role_arn,required"`
	Token backend.Secret `setting:"token"`
}

// mux has the type "store", whose driver opens nothing, and "local".
func mux() *backend.Mux {
	store := backend.NewDriver(func(_ context.Context, c config) (backend.Backend, error) {
		if c.Odd != "" { // as a driver's own check
			err := &backend.SettingError{Name: "odd", Err: fmt.Errorf("it is odd; leave it out")}
			return nil, &backend.Error{Op: "open", Backend: "store", Kind: backend.ErrInvalid, Err: err}
		}
		return memory.New(), nil
	}, "store")
	return backend.NewMux(store, local.Driver, reader[httpConfig]("http"), reader[s3Config]("s3"))
}

// reader returns a driver that is only asked for its settings.
func reader[C any](typ string) backend.Driver {
	return backend.NewDriver(func(context.Context, C) (backend.Backend, error) { return memory.New(), nil }, typ)
}

// httpConfig and s3Config have the settings that the recorded directories set.
type httpConfig struct {
	Address  string            `setting:"address,required"`
	Password backend.Secret    `setting:"password"`
	RetryMax int               `setting:"retry_max"`
	Skip     bool              `setting:"skip_cert_verification"`
	Headers  map[string]string `setting:"headers"`
}

type s3Config struct {
	Bucket    string         `setting:"bucket,required"`
	Key       string         `setting:"key,required"`
	Region    string         `setting:"region"`
	AccessKey string         `setting:"access_key"`
	SecretKey backend.Secret `setting:"secret_key"`
	Skip      bool           `setting:"skip_credentials_validation"`
	SkipID    bool           `setting:"skip_requesting_account_id"`
	PathStyle bool           `setting:"use_path_style"`
	Files     []string       `setting:"shared_config_files"`
	Endpoints endpoints      `setting:"endpoints"`
	Retries   int            `setting:"max_retries"`
}

// directory makes a directory with these files; one whose name ends in a slash is a
// directory, one whose text begins with "-> " a symbolic link.
func directory(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		var err error
		target, link := strings.CutPrefix(text, "-> ")
		switch {
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o700)
		case link:
			err = os.Symlink(target, path)
		default:
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// environment is a Getenv.
func environment(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	}
}

// explained returns a line for each setting: name = value (origin).
func explained(t testing.TB, c *tfconfig.Config) string {
	t.Helper()
	settings, err := c.Settings(mux())
	if err != nil {
		t.Fatal(err)
	}
	var s strings.Builder
	for _, v := range settings {
		fmt.Fprintf(&s, "%s = %v (%s)\n", v.Name, v.Value, v.Origin)
	}
	return strings.ReplaceAll(s.String(), c.Dir, "DIR")
}

// block returns the text of a file with a backend block.
func block(typ, settings string) string {
	return "terraform {\n  backend \"" + typ + "\" {\n" + settings + "\n  }\n}\n"
}
