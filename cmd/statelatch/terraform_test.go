//go:build unix

package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/statelatch/statelatch/all"
	"github.com/statelatch/statelatch/internal/services"
	"github.com/statelatch/statelatch/internal/tftest"
)

// TestTerraform works in a directory beside the real programs, which have their state
// in S3: it finds the backend by what init has recorded, sees their locks, stops them
// by its own, and pushes what they then read.
func TestTerraform(t *testing.T) {
	for _, program := range []struct {
		name string
		find func(string) (string, error)
	}{{"terraform", exec.LookPath}, {"tofu", services.Path}} {
		t.Run(program.name, func(t *testing.T) {
			b := newBucket(t)
			server := minio.Start(t)
			tf := tftest.Find(t, program.name, program.find)
			w := newWorld(t)
			w.mux = all.Mux()
			block := fmt.Sprintf(`backend "s3" {
  bucket = %q
  key = "terraform.tfstate"
  region = "us-east-1"
  use_path_style = true
  use_lockfile = true
  skip_credentials_validation = true
  skip_requesting_account_id = true
  skip_metadata_api_check = true
  endpoints = { s3 = %q }
}`, b.name, server.Endpoint)
			gate := filepath.Join(w.dir, "gate")
			dir := tf.Dir(t, tftest.Config{Backend: block, Count: 1, Word: "one", Gate: gate},
				"AWS_ACCESS_KEY_ID="+server.AccessKey, "AWS_SECRET_ACCESS_KEY="+server.SecretKey)
			besideTerraform(t, w, dir, gate)
		})
	}
}

func besideTerraform(t *testing.T, w *world, dir *tftest.Dir, gate string) {
	apply := dir.Start("apply", "-auto-approve")
	apply.Until("Provisioning")
	holder := w.ok("holder", "-chdir="+dir.Path)
	if !strings.Contains(holder, "OperationTypeApply") || !strings.Contains(holder, "ago)") && !strings.Contains(holder, "just now") {
		t.Errorf("holder: %s", holder)
	}
	put(t, "s.tfstate", state(90, lineage, true))
	if code, _, stderr := w.statelatch("", "push", "s.tfstate", "--force", "--chdir", dir.Path); code != exitHeld {
		t.Errorf("push beside apply: exit code %d: %s", code, stderr)
	}
	tftest.Open(t, gate)
	apply.Must()

	// A lock of ours stops them, and they release it by its ID.
	id := strings.TrimSpace(w.ok("lock", "--chdir", dir.Path, "--operation", "maintenance"))
	if out, err := dir.Run("plan"); err == nil || !strings.Contains(out, id) || !strings.Contains(out, "maintenance") {
		t.Errorf("plan under our lock: %v: %s", err, out)
	}
	dir.Must("force-unlock", "-force", id)
	w.mustBeFreeAt(t, dir.Path)

	// What is pushed, they read.
	pulled := w.ok("pull", "--chdir", dir.Path)
	next, err := tftest.Reword([]byte(pulled), "one", "two")
	if err != nil {
		t.Fatal(err)
	}
	put(t, "next.tfstate", string(next))
	w.ok("push", "next.tfstate", "--chdir", dir.Path)
	if out := dir.Must("show"); !strings.Contains(out, "two") {
		t.Errorf("show: %s", out)
	}
	dir.Must("workspace", "new", "prod")
	if diff := cmp.Diff("default\nprod\n", w.ok("workspaces", "--chdir", dir.Path)); diff != "" {
		t.Errorf("workspaces (-want +got):\n%s", diff)
	}
	if out := w.ok("holder", "--chdir", dir.Path); out != "Workspace \"prod\" is not locked.\n" {
		t.Errorf("the selected workspace: %s", out)
	}
	if out := w.ok("probe", "--write", "--chdir", dir.Path); !strings.Contains(out, "create once: yes") {
		t.Errorf("probe: %s", out)
	}
}

func (w *world) mustBeFreeAt(t *testing.T, dir string) {
	t.Helper()
	if out := w.ok("holder", "--chdir", dir); !strings.Contains(out, "is not locked") {
		t.Errorf("the lock is left: %s", out)
	}
}
