package testservice

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/statelatch/statelatch/internal/respawn"
	"github.com/statelatch/statelatch/internal/services"
)

// This test binary is three programs: the tests, a server for them (fakeEnv says
// which), and a package's run of tests of its own (childEnv says which).
const (
	fakeEnv  = "TESTSERVICE_FAKE"
	childEnv = "TESTSERVICE_CHILD"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(fakeEnv); mode != "" {
		os.Exit(fakeServer(mode))
	}
	if os.Getenv(childEnv) == "without Main" {
		os.Exit(m.Run())
	}
	Main(m)
}

// fake is a kind whose server behaves as mode says.
func fake(mode string) Kind {
	return Kind{
		name: "fake", ready: status200,
		find: func(string) (string, error) { return os.Executable() },
		command: func(s *Server) (args, env []string) {
			return nil, []string{fakeEnv + "=" + mode, "ADDR=" + s.Addr, "DATA=" + s.data()}
		},
	}
}

func fakeServer(mode string) int {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	for _, setting := range os.Environ() {
		name, _, _ := strings.Cut(setting, "=")
		fmt.Println("is given", name)
	}
	mode, arg, _ := strings.Cut(mode, " ")
	status := 200
	switch mode {
	case "exit":
		fmt.Println("out of luck")
		return 3
	case "busy":
		status = 503
	case "first-fails": // arg remembers that there was a first
		if os.Mkdir(arg, 0o700) == nil {
			return 1
		}
	case "parent": // leaves the serving to a child
		if err := respawn.Command(context.Background(), nil, fakeEnv+"=serve").Run(); err != nil {
			return 1
		}
	}
	go http.ListenAndServe(os.Getenv("ADDR"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if mode == "mute" {
			<-r.Context().Done()
		}
		w.WriteHeader(status)
	}))
	<-terminated
	if mode == "stubborn" {
		select {}
	}
	os.WriteFile(filepath.Join(os.Getenv("DATA"), "saved"), nil, 0o600)
	return 0
}

// TestChild is the whole package of a child; see the tests that start one.
func TestChild(t *testing.T) {
	mode := os.Getenv(childEnv)
	if mode == "" {
		return
	}
	if mode == "not built" {
		shared := New(MinIO)
		for range 2 {
			t.Run("", func(t *testing.T) { shared.Start(t) })
		}
		return
	}
	s := New(fake("serve")).Start(t)
	fmt.Printf("server at <%s> in <%s>\n", s.Addr, s.dir)
	switch mode {
	case "fails":
		t.Error("as it is meant to")
	case "hangs":
		select {}
	}
}

// child runs TestChild in a process of its own.
func child(t *testing.T, mode string, env ...string) *exec.Cmd {
	t.Helper()
	return respawn.Command(t.Context(), []string{"-test.run=^TestChild$"}, append(env, childEnv+"="+mode)...)
}

// printed is what a child says about its server.
var printed = regexp.MustCompile(`server at <(.*)> in <(.*)>`)

func TestMainEnds(t *testing.T) {
	for mode, code := range map[string]int{"passes": 0, "fails": 1} {
		t.Run(mode, func(t *testing.T) {
			cmd := child(t, mode)
			out, _ := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != code {
				t.Fatalf("exit code %d, want %d:\n%s", got, code, out)
			}
			server := printed.FindSubmatch(out)
			if server == nil {
				t.Fatalf("no server:\n%s", out)
			}
			gone(t, string(server[1]), string(server[2]))
			if shown := strings.Contains(string(out), "the log of fake at "+string(server[1])+" ends:\n        is given "); shown != (code != 0) {
				t.Errorf("shows the server's log: %v:\n%s", shown, out)
			}
		})
	}
}

func TestMainIsNeeded(t *testing.T) {
	out, err := child(t, "without Main").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "testservice.Main(m)") || printed.Match(out) {
		t.Errorf("%v:\n%s", err, out)
	}
}

func TestNotBuilt(t *testing.T) {
	nothing := services.CacheEnv + "=" + t.TempDir()
	out, err := child(t, "not built", nothing, "CI=").CombinedOutput()
	want := regexp.MustCompile(`(?m)^\S*/internal/testservice\S*: skipped 2 times for want of minio: not built; run: make services$`)
	if err != nil || !want.Match(out) {
		t.Errorf("%v:\n%s", err, out)
	}
	out, err = child(t, "not built", nothing, "CI=true").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "service minio is not built; run: make services") {
		t.Errorf("with CI=true: %v:\n%s", err, out)
	}
}
