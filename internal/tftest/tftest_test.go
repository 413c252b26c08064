package tftest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"

	"github.com/statelatch/statelatch/internal/respawn"
	"github.com/statelatch/statelatch/internal/services"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/memory"

	"github.com/google/go-cmp/cmp"
)

const local = `backend "local" {}`

// beside runs a test beside each of the programs.
func beside(t *testing.T, test func(t *testing.T, p *Program)) {
	t.Run("terraform", func(t *testing.T) { t.Parallel(); test(t, Terraform(t)) })
	t.Run("tofu", func(t *testing.T) { t.Parallel(); test(t, Find(t, "tofu", services.Path)) })
}

// stateFile is where the program keeps the state of a directory with that block.
func (d *Dir) stateFile() string { return filepath.Join(d.Path, "terraform.tfstate") }

func TestConfig(t *testing.T) { beside(t, testConfig) }

func testConfig(t *testing.T, p *Program) {
	dir := p.Dir(t, Config{Backend: local, Count: 2, Word: "one"})
	dir.Must("apply", "-auto-approve")
	data, err := os.ReadFile(dir.stateFile())
	if err != nil {
		t.Fatal(err)
	}
	reworded, err := Reword(data, "one", "two")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir.stateFile(), reworded, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		state, word string
	}{{string(data), "one"}, {string(reworded), "two"}} {
		words, err := Words([]byte(test.state))
		if diff := cmp.Diff([]string{test.word, test.word}, words); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	if out, err := dir.Run("plan", "-detailed-exitcode"); err == nil {
		t.Errorf("no change where the word in the state is another:\n%s", out)
	}
	dir.Configure(Config{Backend: local, Count: 2, Word: "two"})
	dir.Must("plan", "-detailed-exitcode")
}

func TestGate(t *testing.T) { beside(t, testGate) }

func testGate(t *testing.T, p *Program) {
	gate := filepath.Join(t.TempDir(), "gate")
	dir := p.Dir(t, Config{Backend: local, Count: 1, Word: "one", Gate: gate})
	for _, end := range []struct {
		name string
		with func(*Process)
		ok   bool
	}{
		{"killed", (*Process).Kill, false},
		{"opened", func(*Process) { Open(t, gate) }, true},
	} {
		apply := dir.Start("apply", "-auto-approve")
		apply.Until("Provisioning with 'local-exec'")

		record, err := os.ReadFile(filepath.Join(dir.Path, ".terraform.tfstate.lock.info"))
		if err != nil {
			t.Fatal(err)
		}
		var want lock.Info
		if err := json.Unmarshal(record, &want); err != nil {
			t.Fatal(err)
		}
		out, err := dir.Run("apply", "-auto-approve")
		if diff := cmp.Diff(want, shownHolder(out)); diff != "" || err == nil {
			t.Errorf("%v; the holder in what was printed (-want +got):\n%s\n%s", err, diff, out)
		}

		end.with(apply)
		if out, err := apply.Wait(); (err == nil) != end.ok {
			t.Errorf("%s: %v\n%s", end.name, err, out)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("TF_WORKSPACE", "leaked")
	p := Terraform(t)
	for want, env := range map[string][]string{"default\n": nil, "given\n": {"TF_WORKSPACE=given"}} {
		if got := p.Dir(t, Config{Backend: local}, env...).Must("workspace", "show"); got != want {
			t.Errorf("with %q the workspace is %q, want %q", env, got, want)
		}
	}
}

// verdict is a test that notes how it ends.
type verdict struct {
	testing.TB
	skipped, failed string
}

func (v *verdict) Helper() {}
func (v *verdict) Skipf(format string, a ...any) {
	v.skipped = fmt.Sprintf(format, a...)
	runtime.Goexit()
}
func (v *verdict) Fatalf(format string, a ...any) {
	v.failed = fmt.Sprintf(format, a...)
	runtime.Goexit()
}

// of runs f to its end, as t.Run would.
func (v *verdict) of(f func()) {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	<-done
}

func TestMissingProgram(t *testing.T) {
	const want = "tofu, which this test works beside, is missing: not built"
	for _, test := range []struct {
		ci              string
		skipped, failed string
	}{{"", want, ""}, {"true", "", want}} {
		t.Setenv("CI", test.ci)
		var v verdict
		v.of(func() { Find(&v, "tofu", func(string) (string, error) { return "", errors.New("not built") }) })
		if v.skipped != test.skipped || v.failed != test.failed {
			t.Errorf("CI=%q: skipped %q, failed %q", test.ci, v.skipped, v.failed)
		}
	}
}

func TestUntilEnds(t *testing.T) {
	v := verdict{TB: t}
	p := Terraform(t)
	v.of(func() {
		dir := p.Dir(&v, Config{Backend: local})
		dir.Start("version").Until("what it does not print")
	})
	if v.failed == "" {
		t.Error("waiting for what is never printed did not fail")
	}
}

// broken, in the environment, makes TestInteropNotices run Interop on a backend
// that keeps its states elsewhere.
const broken = "TFTEST_BROKEN"

// TestInteropNotices shows that each subtest of Interop can fail.
func TestInteropNotices(t *testing.T) {
	p := Terraform(t)
	if os.Getenv(broken) != "" {
		Interop(t, p, func(*testing.T) Fixture { return Fixture{Backend: local, Ours: memory.New()} })
		return
	}
	out, err := respawn.Command(t.Context(), []string{"-test.run=^TestInteropNotices$", "-test.v"}, broken+"=1").CombinedOutput()
	ran := regexp.MustCompile(`(?m)^=== RUN +TestInteropNotices/`).FindAll(out, -1)
	failed := regexp.MustCompile(`(?m)^ +--- FAIL: TestInteropNotices/`).FindAll(out, -1)
	if err == nil || len(ran) == 0 || len(failed) != len(ran) {
		t.Errorf("%v: %d subtests ran, %d failed:\n%s", err, len(ran), len(failed), out)
	}
}
