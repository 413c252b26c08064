package httpbackend_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
	"github.com/statelatch/statelatch/httpbackend"
	"github.com/statelatch/statelatch/httpbackend/server"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/memory"
)

const (
	user   = "terraform"
	canary = "canary-9d2e41"
)

// states serves b to the one user.
func states(t testing.TB, b backend.Backend, change ...func(*server.Options)) *server.Server {
	t.Helper()
	opts := server.Options{Auth: server.Basic(map[string]string{user: canary})}
	for _, f := range change {
		f(&opts)
	}
	s, err := server.New(b, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// listen serves h on a loopback port, for the length of the test.
func listen(t testing.TB, h http.Handler) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// A place is where states are, and how to get there.
type place struct {
	url  string // of the server
	path string
}

// config is that of a client that goes by way of base.
func (p place) config(base string) httpbackend.Config {
	address := base + p.path
	none, short := 5, 0.001
	return httpbackend.Config{
		Address: address, LockAddress: address, UnlockAddress: address,
		Username: user, Password: canary,
		RetryMax: &none, RetryWaitMin: &short, RetryWaitMax: &short,
	}
}

// A client is a Backend with a proxy that no other uses.
type client struct {
	*httpbackend.Backend
	proxy *faultproxy.Proxy
}

// Close implements io.Closer: it closes the proxy too.
func (c *client) Close() error {
	err := c.Backend.Close()
	c.proxy.Close()
	return err
}

// client opens a Backend by way of a proxy. change may change its configuration.
func (p place) client(t testing.TB, change ...func(*httpbackend.Config)) *client {
	t.Helper()
	proxy := faultproxy.New(t, p.url)
	config := p.config(proxy.URL())
	for _, f := range change {
		f(&config)
	}
	b, err := httpbackend.New(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	return &client{b, proxy}
}

// faulty opens a client whose requests meet a fault.
func (p place) faulty(rule faultproxy.Rule) func(testing.TB) backend.Backend {
	return func(t testing.TB) backend.Backend {
		c := p.client(t)
		c.proxy.Add(rule)
		return c
	}
}

// changes matches the requests that change something.
func changes(r *http.Request) bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }

// namespace is a place of its own, with these functions to open clients of it.
func (p place) namespace() backendtest.Namespace {
	open := func(change ...func(*httpbackend.Config)) func(testing.TB) backend.Backend {
		return func(t testing.TB) backend.Backend { return p.client(t, change...) }
	}
	return backendtest.Namespace{
		Open:   open(),
		Beside: open(beside),
		Lossy:  p.faulty(faultproxy.Rule{Match: changes, Fault: faultproxy.CutAfter()}),
		Hung:   p.faulty(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Hang()}),
		Limited: func(t testing.TB, limit int) backend.Backend {
			return p.client(t, func(c *httpbackend.Config) { c.MaxSize = int64(limit) })
		},
		Unlocked: open(func(c *httpbackend.Config) { c.LockAddress, c.UnlockAddress = "", "" }),
	}
}

// beside makes the configuration that of the server at /state-2/.
func beside(c *httpbackend.Config) {
	c.Address = strings.Replace(c.Address, "/state/", "/state-2/", 1)
	c.LockAddress, c.UnlockAddress = c.Address, c.Address
}

// overMemory serves a store in memory at /state/, and another at /state-2/.
func overMemory(t testing.TB) (*memory.Backend, place) {
	store := memory.New()
	mux := http.NewServeMux()
	mux.Handle("/state/", http.StripPrefix("/state", states(t, store)))
	mux.Handle("/state-2/", http.StripPrefix("/state-2", states(t, memory.New())))
	return store, place{listen(t, mux), "/state/{workspace}"}
}

func memoryNamespace(t testing.TB) backendtest.Namespace {
	store, p := overMemory(t)
	var skipped atomic.Int64
	ns := p.namespace()
	ns.CorruptLock = func(_ testing.TB, workspace string) { store.SetLockRecord(workspace, []byte("rubbish")) }
	ns.Advance = func(d time.Duration) {
		by := time.Duration(skipped.Add(int64(d)))
		store.SetClock(func() time.Time { return time.Now().Add(by) })
	}
	return ns
}
