package tfconfig_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelatch/statelatch/all"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/respawn"
	"github.com/statelatch/statelatch/internal/services"
	"github.com/statelatch/statelatch/internal/testservice"
	"github.com/statelatch/statelatch/internal/tftest"
	"github.com/statelatch/statelatch/tfconfig"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("STATELATCH_OPEN"); dir != "" {
		open(dir)
		return
	}
	testservice.Main(m)
}

// A found is what another process of ours finds in a directory.
type found struct {
	Workspace string
	Source    tfconfig.Source
	Data      string
}

// open is what that process does. It knows the directory and its environment alone.
func open(dir string) {
	ctx := context.Background()
	config, err := tfconfig.Load(dir, tfconfig.Options{})
	if err != nil {
		fatal(err)
	}
	b, workspace, err := tfconfig.Open(ctx, all.Mux(), dir, tfconfig.Options{})
	if err != nil {
		fatal(err)
	}
	defer b.Close()
	st, err := b.Read(ctx, workspace)
	if err != nil {
		fatal(err)
	}
	json.NewEncoder(os.Stdout).Encode(found{workspace, config.Source, string(st.Data)})
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A scene is a directory of a program, and what both find in the environment.
type scene struct {
	*tftest.Dir
	env  []string
	site site
}

// find has another process of ours open the directory.
func (s scene) find(t *testing.T) (f found) {
	t.Helper()
	cmd := respawn.Command(t.Context(), nil)
	cmd.Env = append([]string{respawn.Quick, "STATELATCH_OPEN=" + s.Path, "HOME=" + s.Path}, s.env...)
	cmd.Dir = t.TempDir() // any other
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	if err := json.Unmarshal(out, &f); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return f
}

// same compares what we find with what the program shows.
func (s scene) same(t *testing.T, workspace string, source tfconfig.Source) {
	t.Helper()
	// The program prints the state as it would write it, which it has, and then a newline.
	// To a file OpenTofu writes it indented, though.
	want := found{workspace, source, strings.TrimSuffix(s.Must("state", "pull"), "\n")}
	if s.site.stored != nil {
		data, err := os.ReadFile(filepath.Join(s.Path, s.site.stored(workspace)))
		if err != nil || compact(t, string(data)) != compact(t, want.Data) {
			t.Errorf("%v; state pull shows\n%s\nof\n%s", err, want.Data, data)
		}
		want.Data = string(data)
	}
	if diff := cmp.Diff(want, s.find(t)); diff != "" {
		t.Errorf("(-theirs +ours):\n%s", diff)
	}
}

func compact(t *testing.T, state string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(state)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestPrograms has Terraform and OpenTofu initialise directories, and opens them with
// nothing else to go by.
func TestPrograms(t *testing.T) {
	programs(t, func(t *testing.T, name string, p *tftest.Program) {
		for _, service := range sites {
			t.Run(service.typ, func(t *testing.T) {
				t.Parallel()
				t.Run("whole", func(t *testing.T) { whole(t, p, service.typ, service.site(t, name)) })
				t.Run("partial", func(t *testing.T) {
					partial(t, p, service.typ, service.site(t, name), service.workspaces)
				})
			})
		}
	})
}

func programs(t *testing.T, test func(t *testing.T, name string, p *tftest.Program)) {
	t.Run("terraform", func(t *testing.T) { test(t, "terraform", tftest.Terraform(t)) })
	t.Run("tofu", func(t *testing.T) { test(t, "tofu", tftest.Find(t, "tofu", services.Path)) })
}

// whole has everything in the backend block. It is opened as it was initialised, and
// then as if it never had been.
func whole(t *testing.T, p *tftest.Program, typ string, site site) {
	for name, value := range site.file {
		site.block = put(site.block, name, value)
	}
	for _, option := range site.option {
		name, value, _ := strings.Cut(option, "=")
		site.block = put(site.block, name, fmt.Sprintf("%q", value))
	}
	s := scene{p.Dir(t, tftest.Config{Backend: backendBlock(typ, site.block), Count: 1, Word: "one"}, site.env...), site.env, site}
	s.Must("apply", "-auto-approve")
	s.same(t, backend.DefaultWorkspace, tfconfig.Recorded)

	s.unrecorded(t, filepath.Join(".terraform", "terraform.tfstate"))
}

// unrecorded finds the same without the record of init.
func (s scene) unrecorded(t *testing.T, record string) {
	t.Helper()
	want := s.find(t)
	if err := os.Remove(filepath.Join(s.Path, record)); err != nil {
		t.Fatal(err)
	}
	want.Source = tfconfig.Block
	if diff := cmp.Diff(want, s.find(t)); diff != "" {
		t.Errorf("without a record (-want +got):\n%s", diff)
	}
}

// partial leaves as much as it can to -backend-config, has the data directory
// elsewhere, and goes from one workspace to another.
func partial(t *testing.T, p *tftest.Program, typ string, site site, workspaces bool) {
	file := filepath.Join(t.TempDir(), "some.tfbackend")
	if err := os.WriteFile(file, []byte(body(site.file)), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(site.env, "TF_DATA_DIR="+filepath.Join("elsewhere", "data"))
	init := "TF_CLI_ARGS_init=-backend-config=" + file
	for _, option := range site.option {
		init += " -backend-config=" + option
	}
	config := tftest.Config{Backend: backendBlock(typ, site.block), Count: 1, Word: "one"}
	s := scene{p.Dir(t, config, append([]string{init}, env...)...), env, site}
	s.Must("apply", "-auto-approve")
	s.same(t, backend.DefaultWorkspace, tfconfig.Recorded)
	if workspaces {
		s.wander(t, config)
	}
	s.env = append(s.env, init)
	s.unrecorded(t, filepath.Join("elsewhere", "data", "terraform.tfstate"))
}

// wander goes from one workspace to another and back.
func (s scene) wander(t *testing.T, config tftest.Config) {
	s.Must("workspace", "new", "prod")
	config.Word = "two"
	s.Configure(config)
	s.Must("apply", "-auto-approve")
	s.same(t, "prod", tfconfig.Recorded)
	other := scene{s.Dir, append(slices.Clone(s.env), "TF_WORKSPACE="+backend.DefaultWorkspace), s.site}
	if words, err := tftest.Words([]byte(other.find(t).Data)); err != nil || !slices.Equal(words, []string{"one"}) {
		t.Errorf("with TF_WORKSPACE there is %q, %v", words, err)
	}
	s.Must("workspace", "select", backend.DefaultWorkspace)
	s.same(t, backend.DefaultWorkspace, tfconfig.Recorded)
}

// TestNoBackend: without a backend block the state is in a file, as if there were one.
func TestNoBackend(t *testing.T) {
	t.Parallel()
	programs(t, func(t *testing.T, _ string, p *tftest.Program) {
		file := site{stored: func(workspace string) string {
			if workspace == backend.DefaultWorkspace {
				return "terraform.tfstate"
			}
			return "terraform.tfstate.d/" + workspace + "/terraform.tfstate"
		}}
		config := tftest.Config{Count: 1, Word: "one"}
		s := scene{p.Dir(t, config), nil, file}
		s.Must("apply", "-auto-approve")
		s.same(t, backend.DefaultWorkspace, tfconfig.Nothing)
		s.Must("workspace", "new", "prod")
		s.Must("apply", "-auto-approve")
		s.same(t, "prod", tfconfig.Nothing)
	})
}

// TestVariablesInBlock: OpenTofu evaluates them, and so do we.
func TestVariablesInBlock(t *testing.T) {
	t.Parallel()
	p := tftest.Find(t, "tofu", services.Path)
	file := site{stored: func(string) string { return "of-prod/x.tfstate" }}
	env := []string{"TF_VAR_stage=prod"}
	block := "backend \"local\" {\npath = \"${local.dir}/x.tfstate\"\n}\n}\nvariable \"stage\" {}\nlocals {\ndir = \"of-${var.stage}\"\n}\nterraform {"
	s := scene{p.Dir(t, tftest.Config{Backend: block, Count: 1, Word: "one"}, env...), env, file}
	s.Must("apply", "-auto-approve")
	s.same(t, backend.DefaultWorkspace, tfconfig.Recorded)
	s.unrecorded(t, filepath.Join(".terraform", "terraform.tfstate"))
}

// put returns m with one more.
func put(m map[string]string, name, value string) map[string]string {
	m = maps.Clone(m)
	if m == nil {
		m = map[string]string{}
	}
	m[name] = value
	return m
}

func backendBlock(typ string, attributes map[string]string) string {
	return fmt.Sprintf("backend %q {\n%s}", typ, body(attributes))
}

// body writes attributes in HCL.
func body(attributes map[string]string) string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		fmt.Fprintf(&text, "%s = %s\n", name, attributes[name])
	}
	return text.String()
}
