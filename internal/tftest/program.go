// Package tftest lets tests work beside the real command lines: Terraform, and
// OpenTofu, which has the same commands.
//
//	p := tftest.Terraform(t)
//	dir := p.Dir(t, tftest.Config{Backend: block, Count: 1, Word: "one", Gate: gate}, "AWS_REGION=…")
//	apply := dir.Start("apply", "-auto-approve")
//	apply.Until("Provisioning") // it holds the lock now
//	… // what is to happen meanwhile
//	tftest.Open(t, gate)
//	out, err := apply.Wait()
//
// [Interop] is the matrix of what such a program and one of our backends owe each
// other; each backend's own test runs it with each program.
package tftest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A Program is a command line with Terraform's commands.
type Program struct{ path string }

// Terraform returns the terraform on PATH. If there is none, the test is skipped,
// and with CI=true it fails.
func Terraform(t testing.TB) *Program {
	t.Helper()
	return Find(t, "terraform", exec.LookPath)
}

// Find returns the program that lookup finds by name, such as exec.LookPath or
// services.Path. If there is none, the test is skipped, and with CI=true it fails.
func Find(t testing.TB, name string, lookup func(name string) (string, error)) *Program {
	t.Helper()
	path, err := lookup(name)
	if err == nil {
		_, err = exec.LookPath("sh") // for Config.Gate
	}
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("%s, which this test works beside, is missing: %v", name, err)
	default:
		t.Skipf("%s, which this test works beside, is missing: %v", name, err)
	}
	return &Program{path}
}

// A Dir is a working directory of a program, for the length of a test.
type Dir struct {
	t       testing.TB
	program *Program
	Path    string // the directory; Terraform keeps its own files in .terraform
	env     []string
}

// Dir makes a working directory with configuration c, and initialises it. The
// program sees the variables in env ("AWS_REGION=…") and nothing of this process's
// environment but PATH: no credentials, no settings, no plug-ins, no questions.
func (p *Program) Dir(t testing.TB, c Config, env ...string) *Dir {
	t.Helper()
	dir := t.TempDir()
	d := &Dir{t: t, program: p, Path: dir, env: append([]string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + dir,
		"TF_CLI_CONFIG_FILE=" + os.DevNull,
		"TF_CLI_ARGS=-no-color",
		"TF_IN_AUTOMATION=1",
		"TF_INPUT=0",
		"CHECKPOINT_DISABLE=1",
	}, env...)}
	d.Configure(c)
	d.Must("init")
	return d
}

// Configure replaces the configuration. One with another backend block needs
// another "init".
func (d *Dir) Configure(c Config) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.Path, "main.tf"), []byte(c.String()), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// Run runs a command to its end, and returns all that it printed.
func (d *Dir) Run(args ...string) (string, error) {
	d.t.Helper()
	return d.Start(args...).Wait()
}

// Must is Run of a command that has to succeed.
func (d *Dir) Must(args ...string) string {
	d.t.Helper()
	return d.Start(args...).Must()
}
