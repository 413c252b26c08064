package statefile

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// terraform runs the real program in dir, and returns what it prints.
func terraform(t *testing.T, dir string, args ...string) ([]byte, error) {
	t.Helper()
	path, err := exec.LookPath("terraform")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("terraform is not in PATH, and must be in CI")
		}
		t.Skip("terraform is not in PATH: its own judgement is not compared with ours")
	}
	c := exec.CommandContext(t.Context(), path, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "TF_CLI_CONFIG_FILE="+os.DevNull, "TF_IN_AUTOMATION=1")
	return c.CombinedOutput()
}

func write(t *testing.T, dir, name, data string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What CheckPush decides is what "terraform state push" does.
func TestCheckPushAsTerraform(t *testing.T) {
	for _, tt := range pushes {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if tt.current != "" {
				write(t, dir, "terraform.tfstate", tt.current)
			}
			out, err := terraform(t, dir, "state", "push", "-no-color", write(t, dir, "next.json", tt.next))
			asTerraform := (err == nil) == (tt.want == nil)
			if asTerraform == (tt.terraform != "") {
				t.Errorf("we say %v, Terraform %v: %s\nthe reason on record is %q", tt.want, err, out, tt.terraform)
			}
		})
	}
}

// Terraform takes our empty state, and stores the very same bytes.
func TestNewAsTerraform(t *testing.T) {
	dir := t.TempDir()
	out, err := terraform(t, dir, "version", "-json")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var program struct {
		Version string `json:"terraform_version"`
	}
	if err := json.Unmarshal(out, &program); err != nil {
		t.Fatal(err)
	}
	want := New(program.Version, NewLineage())
	if out, err := terraform(t, dir, "state", "push", write(t, dir, "next.json", string(want))); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, err := os.ReadFile(filepath.Join(dir, "terraform.tfstate"))
	if diff := cmp.Diff(string(want), string(got)); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// Terraform shows the outputs that we read.
func TestOutputsAsTerraform(t *testing.T) {
	dir := t.TempDir()
	data := golden(t, "terraform-1.11.4.json")
	write(t, dir, "terraform.tfstate", string(data))
	out, err := terraform(t, dir, "output", "-json")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var theirs map[string]Output
	if err := json.Unmarshal(out, &theirs); err != nil {
		t.Fatal(err)
	}
	ours, err := Outputs(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(decoded(t, theirs), decoded(t, ours)); diff != "" {
		t.Error(diff)
	}
}

// decoded makes outputs comparable that are formatted differently.
func decoded(t *testing.T, outputs map[string]Output) map[string][3]any {
	t.Helper()
	all := map[string][3]any{}
	for name, o := range outputs {
		var value, typ any
		if err := json.Unmarshal(o.Value, &value); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(o.Type, &typ); err != nil {
			t.Fatal(err)
		}
		all[name] = [3]any{value, typ, o.Sensitive}
	}
	return all
}
