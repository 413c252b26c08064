package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/tfconfig"
)

// A place says where a backend is: a directory, or a URL.
type place struct {
	dir       string
	url       string
	config    []string
	program   string // whose rules hold in the directory
	workspace string // "" = the one that is selected
}

// programs are the values of --program.
var programs = map[string]tfconfig.Program{"": tfconfig.OpenTofu, "opentofu": tfconfig.OpenTofu, "terraform": tfconfig.Terraform}

// open opens the backend, and says which workspace is meant.
func (p place) open(ctx context.Context, mux *backend.Mux) (backend.Backend, string, error) {
	if p.url == "" {
		opts := tfconfig.Options{BackendConfig: p.config, Workspace: p.workspace, Program: programs[p.program]}
		b, workspace, err := tfconfig.Open(ctx, mux, cmp.Or(p.dir, "."), opts)
		return b, workspace, opened(err)
	}
	if p.dir != "" || p.config != nil || p.program != "" {
		return nil, "", usagef("--url excludes --chdir, --backend-config and --program: it says all by itself")
	}
	if !strings.Contains(p.url, ":") { // not repeated: it may be a secret
		return nil, "", usagef("--url takes a URL such as s3://bucket/key?region=…; for a directory say --chdir")
	}
	b, err := mux.OpenURL(ctx, p.url)
	return b, cmp.Or(p.workspace, os.Getenv("TF_WORKSPACE"), backend.DefaultWorkspace), opened(err)
}

func opened(err error) error {
	if err != nil {
		return &openError{err}
	}
	return nil
}

// placeOf reads an argument that is a URL or a directory.
func placeOf(arg string, config []string) (place, error) {
	info, err := os.Stat(arg)
	switch {
	case err == nil && info.IsDir():
		dir, err := filepath.Abs(arg)
		return place{dir: dir, config: config}, err
	case err == nil:
		return place{}, usagef("%s is a file; for its state say local:%s", arg, arg)
	case !strings.Contains(arg, ":"): // not repeated where it may be a URL, with secrets in it
		return place{}, usagef("%s is neither a directory nor a URL such as s3://bucket/key?region=…", arg)
	case config != nil:
		return place{}, usagef("the configuration of a URL is in the URL")
	}
	return place{url: arg}, nil
}

// String names the place for good; it may hold secrets, and is never shown. What a URL
// names may be relative to the working directory.
func (p place) String() string {
	dir := p.dir
	if p.url != "" {
		dir, _ = os.Getwd() // without it, two copies may have to wait for each other
	}
	return fmt.Sprintf("%s %s %q %d", dir, p.url, p.config, programs[p.program])
}
