// Package testservice runs real servers for tests: on free loopback ports, with
// random credentials, their data in temporary folders. One server serves all
// tests of a package that ask for it, and starts when the first one does:
//
//	var minio = testservice.New(testservice.MinIO)
//
//	func TestMain(m *testing.M) { testservice.Main(m) }
//
//	func TestPut(t *testing.T) {
//		s := minio.Start(t)
//		… // s.Endpoint, s.AccessKey, s.SecretKey; a bucket called testservice.Name(t)
//	}
//
// The servers are those of internal/services. A test whose server is not built is
// skipped, and with CI=true it fails. A test that fails shows how the logs of its
// servers end.
//
// # Who stops them
//
// [Main] does, and removes their data, each by its own process ID. On Linux and
// FreeBSD the kernel kills the servers of a test process that dies before that;
// their folders stay in [os.TempDir].
package testservice

import (
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/statelatch/statelatch/internal/services"
)

// A Service is a server that the tests of one package share.
type Service struct {
	kind   Kind
	once   sync.Once
	server *Server
	err    error
}

// New returns a service that does not run yet. Its place is a package variable.
func New(k Kind) *Service { return &Service{kind: k} }

// Start returns the running server, until [Main] ends it. It skips t if the server
// is not built, and fails it if the server does not run (any longer).
func (s *Service) Start(t testing.TB) *Server {
	t.Helper()
	if !all.opened() {
		t.Fatal("this package needs: func TestMain(m *testing.M) { testservice.Main(m) }")
	}
	s.once.Do(func() {
		if s.server, s.err = start(s.kind); s.err == nil {
			all.add(s.server)
		}
	})
	return s.server.serve(t, s.err)
}

// Run starts a server for t alone, for tests that stop, kill or restart it. It
// skips and fails as [Service.Start] does.
func Run(t testing.TB, k Kind) *Server {
	t.Helper()
	s, err := start(k)
	if err == nil {
		t.Cleanup(s.Stop)
	}
	return s.serve(t, err)
}

// serve ends each start: it hands s to t, unless err says that there is none.
func (s *Server) serve(t testing.TB, err error) *Server {
	t.Helper()
	var missing *missingError
	switch {
	case err == nil:
		err = s.check()
	case errors.As(err, &missing) && os.Getenv("CI") != "true":
		all.skipped(missing.name)
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.tail())
		}
	})
	return s
}

// Main is all of a package's TestMain: it runs the tests, of those that are parallel
// 8 at once (unless -parallel says otherwise), since they mostly wait; stops the
// servers, removes their data, says on stderr in one line what was skipped and why,
// and exits. (Without -v, go test shows what a package that passes has printed only if
// no package was named on its command line.)
func Main(m *testing.M) {
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	all.open()
	code := m.Run()
	all.close(os.Stderr)
	os.Exit(code)
}

// all is what Main has to end and to tell.
var all registry

type registry struct {
	mu      sync.Mutex
	main    bool
	servers []*Server
	skips   map[string]int // tests, by the service that they lack
}

func (r *registry) open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.main, r.skips = true, map[string]int{}
}

// opened reports whether there is a Main.
func (r *registry) opened() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.main
}

func (r *registry) add(s *Server) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.servers = append(r.servers, s)
}

func (r *registry) skipped(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.main {
		r.skips[name]++
	}
}

func (r *registry) close(w io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.servers {
		s.Stop()
	}
	if len(r.skips) == 0 {
		return
	}
	n := 0
	for _, skips := range r.skips {
		n += skips
	}
	names := slices.Sorted(maps.Keys(r.skips))
	fmt.Fprintf(w, "%s: skipped %d times for want of %s: %v\n", testBinary(), n, strings.Join(names, ", "), services.ErrNotBuilt)
}

func testBinary() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Path
	}
	return os.Args[0]
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// Name returns a new name that says which test it is for: at most 40 lower-case
// letters, digits and single hyphens, as buckets, tables and containers may be
// called everywhere.
func Name(t testing.TB) string {
	test := notInNames.ReplaceAllString(strings.ToLower(t.Name()), "-")
	test = strings.Trim(test[:min(len(test), 27)], "-")
	return test + "-" + strings.ToLower(rand.Text()[:12])
}
