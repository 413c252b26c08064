package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/statelatch/statelatch/internal/services"
)

// build builds s in a folder of its own and then gives that its name, so that a
// run that is killed leaves nothing that looks built. Of two runs that want the
// same service, one builds and the other waits.
func build(ctx context.Context, w io.Writer, s services.Service) error {
	cache := filepath.Dir(s.Target)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	unlock, err := lock(ctx, w, filepath.Join(cache, s.Name+".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if s.Built() {
		return nil
	}
	if err := sweep(cache, s.Name); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s: building\n", s.Name)
	start := time.Now()
	if err := buildAside(ctx, s, cache); err != nil {
		return fmt.Errorf("build %s: %w", s.Name, err)
	}
	fmt.Fprintf(w, "%s: built in %s: %s\n", s.Name, time.Since(start).Round(100*time.Millisecond), s.Program)
	return nil
}

// partial ends the names of folders that are being filled.
const partial = ".partial"

// sweep removes what runs that were killed have left. The lock must be held.
func sweep(cache, name string) error {
	left, err := filepath.Glob(filepath.Join(cache, name+"-*"+partial))
	if err != nil {
		return err
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

func buildAside(ctx context.Context, s services.Service, cache string) error {
	// The name is a new one each time: a child of a run that was killed may still
	// be writing to the old one.
	dir, err := os.MkdirTemp(cache, s.Name+"-*"+partial)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fill := goBuild
	if s.NPM {
		fill = npmInstall
	}
	if err := fill(ctx, s, dir); err != nil {
		return err
	}
	program, err := filepath.Rel(s.Target, s.Program)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, program)); err != nil {
		return fmt.Errorf("the build gave no program: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // MkdirTemp gives 0700
		return err
	}
	return os.Rename(dir, s.Target)
}

// goBuild builds the one tool of the nested module. Settings that would change
// the outcome do not reach it.
func goBuild(ctx context.Context, s services.Service, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-C", s.Source,
		"-trimpath", "-buildvcs=false", "-ldflags=-s -w",
		"-o", filepath.Join(dir, filepath.Base(s.Program)), "tool")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off")
	return runQuietly(cmd)
}

// npmInstall installs what the lock file pins. No install script is run: the
// servers work without.
func npmInstall(ctx context.Context, s services.Service, dir string) error {
	for _, name := range []string{"package.json", "package-lock.json"} {
		data, err := os.ReadFile(filepath.Join(s.Source, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts",
		"--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
	cmd.Dir = dir
	return runQuietly(cmd)
}

// runQuietly runs cmd and returns what it printed only if it fails. When the
// context ends, cmd is asked to stop first, so that it can end its children.
func runQuietly(cmd *exec.Cmd) error {
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, out)
	}
	return nil
}
