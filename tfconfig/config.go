package tfconfig

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/statelatch/statelatch/backend"
)

// A Program is the one whose rules hold where the two differ.
type Program int

const (
	// OpenTofu reads *.tofu in place of a *.tf of the same name, and knows variables
	// and locals in backend blocks.
	OpenTofu Program = iota
	// Terraform reads *.tf alone, and only literal values.
	Terraform
)

// Options are what would be said on the command line of Terraform or OpenTofu. The
// zero Options say nothing. Relative paths are taken from the directory, as after
// -chdir.
type Options struct {
	// BackendConfig has what -backend-config would be given, in that order: NAME=VALUE
	// or a file. If there are any, what init recorded is not used. One that is ""
	// alone stands for none, but has that effect too.
	BackendConfig []string

	Vars     map[string]string // -var, for OpenTofu's variables; goes before VarFiles
	VarFiles []string          // -var-file

	Workspace string // "" = TF_WORKSPACE, or the one that was selected, or "default"
	DataDir   string // "" = TF_DATA_DIR, or .terraform

	// Getenv looks up variables whose names begin with TF_; nil is os.LookupEnv. The
	// variables of the services are always those of the process.
	Getenv func(name string) (string, bool)

	Program Program
}

// A Source is what a Config is made of.
type Source string

// The sources.
const (
	Nothing  Source = "nothing"  // no backend is configured: local files, with defaults
	Recorded Source = "recorded" // what init recorded in the data directory
	Block    Source = "block"    // the backend block and -backend-config
)

// A Config is the backend that a directory is configured for.
type Config struct {
	Dir       string // absolute
	Type      string // the label of the backend block: "s3"; "local" if there is none
	Workspace string // the selected one
	Source    Source
	Origin    Origin // of the block, or the record

	settings map[string]setting
}

// Format implements [fmt.Formatter]: no verb prints the settings, which may be secret.
func (c Config) Format(f fmt.State, _ rune) {
	at := c.Origin.String()
	if at == "" {
		at = c.Dir
	}
	f.Write(fmt.Appendf(nil, "%s backend %q of %s, workspace %q", c.Source, c.Type, at, c.Workspace))
}

// Load finds out what backend the directory is configured for. It reads files, and
// nothing else. Its error joins an [*Error] for each mistake, or is a
// [*ChangedError].
func Load(dir string, opts Options) (*Config, error) {
	l, err := newLoader(dir, opts)
	if err != nil {
		return nil, err
	}
	return l.load()
}

// Open opens the backend that the directory is configured for, and returns it with
// the selected workspace.
func Open(ctx context.Context, mux *backend.Mux, dir string, opts Options) (backend.Backend, string, error) {
	c, err := Load(dir, opts)
	if err != nil {
		return nil, "", err
	}
	b, err := c.Open(ctx, mux)
	if err != nil {
		return nil, "", err
	}
	return b, c.Workspace, nil
}

// newLoader resolves what all else depends on.
func newLoader(dir string, opts Options) (*loader, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, &Error{Origin{File: dir}, err}
	}
	info, err := os.Stat(abs)
	if err != nil {
		return nil, unreadable(Origin{File: abs}, err)
	}
	if !info.IsDir() {
		return nil, invalid(Origin{File: abs}, "it is no directory; name the one that has the configuration")
	}
	l := &loader{dir: abs, opts: opts, getenv: opts.Getenv}
	if l.getenv == nil {
		l.getenv = os.LookupEnv
	}
	l.dataDir = opts.DataDir
	if l.dataDir == "" {
		l.dataDir = l.env("TF_DATA_DIR")
	}
	if l.dataDir == "" {
		l.dataDir = ".terraform"
	}
	l.dataDir = l.abs(l.dataDir)
	return l, nil
}

// A loader makes one Config.
type loader struct {
	dir, dataDir string
	opts         Options
	getenv       func(string) (string, bool)
	workspace    string
	shadowed     string // a *.tf file in whose place a *.tofu file is read
}

func (l *loader) env(name string) string {
	value, _ := l.getenv(name)
	return value
}

// abs returns the path of a file that is named relative to the directory.
func (l *loader) abs(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(l.dir, path)
}

// in returns the Origin of a whole file.
func (l *loader) in(path string, kind Kind) Origin {
	return Origin{Kind: kind, File: relative(l.dir, path)}
}
