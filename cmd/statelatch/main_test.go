//go:build unix

package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend"
	"github.com/statelatch/statelatch/internal/testservice"
	"github.com/statelatch/statelatch/local"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/memory"
	"github.com/statelatch/statelatch/middleware/faulty"
	"github.com/statelatch/statelatch/statefile"
)

var update = flag.Bool("update", false, "write what the commands print now into the golden files")

// The tests start this test binary again as the real statelatch, where a process of
// its own is what matters.
const asProgram = "STATELATCH_TEST_PROGRAM"

// asNobody has it be so as somebody whom the system denies something, even if the tests
// are root's.
const asNobody = "STATELATCH_TEST_NOBODY"

var packageDir, _ = os.Getwd() // where the tests begin

func TestMain(m *testing.M) {
	if os.Getenv(asNobody) != "" && os.Getuid() == 0 {
		if err := syscall.Setuid(65534); err != nil {
			panic(err)
		}
	}
	if os.Getenv(asProgram) != "" {
		main()
	}
	for _, name := range []string{"TF_WORKSPACE", "TF_DATA_DIR", "TF_CLI_ARGS", "TF_CLI_ARGS_init", "STATELATCH_LOCK_ID"} {
		os.Unsetenv(name)
	}
	testservice.Main(m)
}

// Locks of others were taken at created, and it is now.
var (
	created = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	now     = created.Add(5 * time.Minute)
)

const foreignID = "0f6a2b0e-6d5c-0a49-5c0d-e4ac40b26ab1"

// stores are what URLs like test:NAME open: in memory, with faults on demand.
type stores struct {
	mu   sync.Mutex
	open map[string]*store
}

type store struct {
	memory *memory.Backend
	faulty *faulty.Backend
}

func (s *stores) get(name string) *store {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[name] == nil {
		m := memory.New()
		s.open[name] = &store{m, faulty.Wrap(m.Client())}
	}
	return s.open[name]
}

type storeConfig struct {
	Name string `setting:"name,required" url:"file"`
}

// testMux has every driver, and stores as type "test".
func testMux(s *stores) *backend.Mux {
	return backend.NewMux(local.Driver, memory.Driver, httpbackend.Driver, backend.NewDriver(func(_ context.Context, c storeConfig) (backend.Backend, error) {
		return s.get(c.Name).faulty, nil
	}, "test"))
}

// A world is where the commands of a test run: a directory, and stores.
type world struct {
	t      testing.TB
	dir    string
	stores *stores
	program
	ends []func()
}

func newWorld(t *testing.T) *world {
	s := &stores{open: map[string]*store{}}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, ".cache"))
	t.Setenv("HOME", dir)
	w := &world{t: t, dir: dir, stores: s, program: program{mux: testMux(s), now: func() time.Time { return now }}}
	t.Cleanup(func() {
		for _, end := range w.ends {
			end()
		}
	})
	return w
}

// statelatch runs a command in this process.
func (w *world) statelatch(stdin string, args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	var out, err strings.Builder
	code = w.run(context.Background(), args, strings.NewReader(stdin), &out, &err)
	return code, out.String(), err.String()
}

// ok runs a command that has to succeed, and returns what it prints.
func (w *world) ok(args ...string) string {
	w.t.Helper()
	code, stdout, stderr := w.statelatch("", args...)
	if code != 0 {
		w.t.Fatalf("%q: exit code %d: %s", args, code, stderr)
	}
	return stdout
}

// backend opens a place past the command.
func (w *world) backend(url string) backend.Backend {
	w.t.Helper()
	b, err := w.mux.OpenURL(context.Background(), url)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// hold takes a lock as somebody else, until the test ends.
func (w *world) hold(url, workspace string) {
	w.t.Helper()
	b := w.backend(url)
	info := lock.Info{
		ID: foreignID, Operation: "OperationTypeApply", Who: "alice@build-7", Version: "1.11.4", Created: created,
		Info: "job 4711\x1b[31m\u202e", // whose control characters must not be shown
	}
	l, _ := backend.As[lock.Locker](b)
	if _, err := l.Lock(context.Background(), workspace, info); err != nil {
		w.t.Fatal(err)
	}
	w.ends = append(w.ends, func() { b.Close() })
}

const lineage = "7d1a5d1c-3b7f-4a52-9d4e-0c4a1f5f9d11"

// state makes a state: with a serial, a lineage, and with something in it, or not.
func state(serial int, lineage string, contents bool) string {
	if !contents {
		data, _ := statefile.SetSerial(statefile.New("1.11.4", lineage), uint64(serial))
		return string(data)
	}
	return fmt.Sprintf(`{
  "version": 4,
  "terraform_version": "1.11.4",
  "serial": %d,
  "lineage": %q,
  "outputs": {
    "address": {"value": "10.0.0.1", "type": "string"},
    "count": {"value": 3, "type": "number"},
    "escape": {"value": "a\u001b[31m\u009b0mb", "type": "string"},
    "password": {"value": "hunter2", "type": "string", "sensitive": true},
    "zones": {"value": ["a", "b"], "type": ["list", "string"]}
  },
  "resources": [
    {"mode": "managed", "type": "terraform_data", "name": "x", "provider": "p", "instances": [{"attributes": {}}, {"attributes": {}}]},
    {"mode": "data", "type": "d", "name": "y", "provider": "p", "instances": [{"attributes": {}}]}
  ],
  "check_results": null
}
`, serial, lineage)
}

// put makes a file, and its directory.
func put(t *testing.T, name, data string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(name), 0o700)
	if err == nil {
		err = os.WriteFile(name, []byte(data), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
