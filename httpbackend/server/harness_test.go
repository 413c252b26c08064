package server_test

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend"
	"github.com/statelatch/statelatch/httpbackend/server"
)

// serve makes a server of b that lets everybody in, unless opts say otherwise.
func serve(t testing.TB, b backend.Backend, opts server.Options) *server.Server {
	t.Helper()
	if opts.Auth == nil {
		opts.Auth = server.Anonymous
	}
	s, err := server.New(b, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run serves at an address, "" for any, until stop is called or the test ends.
func run(t testing.TB, s *server.Server, address string) (base string, stop func()) {
	t.Helper()
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(ctx, l); err != nil {
			t.Error(err)
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return "http://" + l.Addr().String(), stop
}

// client opens a client of all workspaces.
func client(t testing.TB, base string) *httpbackend.Backend {
	t.Helper()
	address := base + "/{workspace}"
	short, many := 0.01, 10
	b, err := httpbackend.New(context.Background(), httpbackend.Config{
		Address: address, LockAddress: address, UnlockAddress: address,
		RetryMax: &many, RetryWaitMin: &short, RetryWaitMax: &short,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// A request, and what of its reply matters.
type request struct {
	method, target, body string
	header               http.Header
}

func (q request) to(h http.Handler) *httptest.ResponseRecorder {
	r := httptest.NewRequest(q.method, q.target, strings.NewReader(q.body))
	maps.Copy(r.Header, q.header)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// send sends bytes as they are, and returns the beginning of what comes back.
func send(t testing.TB, base, text string) string {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 4<<10)
	n, err := conn.Read(reply)
	if err != nil {
		return err.Error()
	}
	return string(reply[:n])
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
