package local

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/limit"
)

const (
	defaultPath         = "terraform.tfstate"
	defaultWorkspaceDir = "terraform.tfstate.d"
	workspaceFile       = "terraform.tfstate" // in the directory of a workspace, whatever Path says
)

// Config is the configuration of a local backend. In Go, a field left zero has its
// default; as settings, path and workspace_dir must not be empty.
type Config struct {
	// Path is the state file of the default workspace. Relative paths are taken from
	// the working directory, as Terraform takes them, at the time of New.
	Path string `setting:"path,file" default:"terraform.tfstate" url:"file"`
	// WorkspaceDir has a directory for each other workspace.
	WorkspaceDir string `setting:"workspace_dir,file" default:"terraform.tfstate.d"`
	// NoBackup turns off the copy that each change leaves of what it replaces, in
	// a file named like the state file with ".backup" added.
	NoBackup bool `setting:"no_backup"`
	// MaxSize is the largest state that is read or written, in bytes; 0 is 1 GiB.
	MaxSize int64 `setting:"max_size"`
}

// Driver opens local backends: type "local".
var Driver = backend.NewDriver(func(ctx context.Context, c Config) (backend.Backend, error) {
	// The defaults have been filled in, so what is empty was said to be.
	if c.Path == "" {
		return nil, invalid(&backend.SettingError{Name: "path", Err: errEmpty})
	}
	if c.WorkspaceDir == "" {
		return nil, invalid(&backend.SettingError{Name: "workspace_dir", Err: errEmpty})
	}
	return New(ctx, c)
}, "local")

var errEmpty = errors.New("it must not be empty")

func invalid(err error) error {
	return &backend.Error{Op: "open", Backend: "local", Kind: backend.ErrInvalid, Err: err}
}

// New returns a backend for the files that c names. It touches none of them.
func New(_ context.Context, c Config) (*Backend, error) {
	b := &Backend{backup: !c.NoBackup, maxSize: limit.Of(c.MaxSize), held: map[string]*held{}}
	for _, p := range []struct {
		to                   *string
		configured, default_ string
	}{
		{&b.path, c.Path, defaultPath},
		{&b.workspaceDir, c.WorkspaceDir, defaultWorkspaceDir},
	} {
		if p.configured == "" {
			p.configured = p.default_
		}
		// A later change of the working directory must not move the state.
		abs, err := filepath.Abs(p.configured)
		if err != nil {
			return nil, invalid(err)
		}
		*p.to = abs
	}
	return b, nil
}
