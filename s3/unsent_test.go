package s3_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// refusingProxy is one that connects nobody.
func refusingProxy(t *testing.T, status int) map[string]any {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	t.Cleanup(server.Close)
	return map[string]any{"https_proxy": server.URL}
}

// accepting hands each connection to serve, and keeps it open until the test ends.
func accepting(t *testing.T, serve func(net.Conn)) map[string]any {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			serve(conn)
		}
	}()
	url := "https://" + l.Addr().String()
	return map[string]any{"endpoints.s3": url, "endpoints.dynamodb": url}
}

// TestUnsent has no connection come about, each time for another reason: nothing was
// sent, so nothing is in doubt.
func TestUnsent(t *testing.T) {
	for name, test := range map[string]struct {
		settings func(*testing.T) map[string]any
		kind     error
		says     string
	}{
		"plain HTTP": {func(t *testing.T) map[string]any {
			r := record(t)
			url := strings.Replace(r.URL, "http:", "https:", 1)
			return map[string]any{"endpoints.s3": url, "endpoints.dynamodb": url}
		}, backend.ErrInvalid, "does not speak HTTPS there; see the settings endpoints"},
		"proxy down":             {func(*testing.T) map[string]any { return map[string]any{"https_proxy": "http://127.0.0.1:1"} }, backend.ErrTransient, "cannot be reached"},
		"SOCKS proxy down":       {func(*testing.T) map[string]any { return map[string]any{"https_proxy": "socks5://127.0.0.1:1"} }, backend.ErrTransient, "cannot be reached"},
		"proxy wants a password": {func(t *testing.T) map[string]any { return refusingProxy(t, 407) }, backend.ErrPermission, "407 Proxy Authentication Required"},
		"proxy forbids":          {func(t *testing.T) map[string]any { return refusingProxy(t, 403) }, backend.ErrPermission, "see the settings http_proxy"},
		"proxy finds nobody":     {func(t *testing.T) map[string]any { return refusingProxy(t, 502) }, backend.ErrTransient, "the proxy answered 502"},
		"no handshake": {func(t *testing.T) map[string]any { return accepting(t, func(c net.Conn) { c.Close() }) },
			backend.ErrTransient, ""},
		"handshake refused": {func(t *testing.T) map[string]any {
			server := httptest.NewUnstartedServer(nil)
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("no") }}
			server.StartTLS()
			t.Cleanup(server.Close)
			return map[string]any{"endpoints.s3": server.URL, "endpoints.dynamodb": server.URL}
		}, backend.ErrTransient, "remote error"},
		"handshake hangs": {func(t *testing.T) map[string]any { return accepting(t, func(net.Conn) {}) },
			context.DeadlineExceeded, ""},
	} {
		t.Run(name, func(t *testing.T) {
			isolate(t)
			all := merge(keys, map[string]any{"endpoints.s3": "https://s3.invalid", "endpoints.dynamodb": "https://dynamo.invalid", "dynamodb_table": "locks", "max_retries": 1}, test.settings(t))
			patience := time.Minute
			if test.kind == context.DeadlineExceeded {
				patience = 200 * time.Millisecond
			}
			b := mustOpen(t, all)
			for doing, call := range map[string]func(context.Context) error{
				"Write": func(ctx context.Context) error {
					_, err := b.Write(ctx, "default", []byte("x"), backend.Condition{Revision: backend.AnyRevision})
					return err
				},
				"Lock": func(ctx context.Context) error {
					_, err := b.Lock(ctx, "default", lock.NewInfo("test"))
					return err
				},
				"Read": func(ctx context.Context) error {
					_, err := b.Read(ctx, "default")
					return err
				},
			} {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				err := call(ctx)
				cancel()
				wants(t, doing, err, test.kind)
				if err != nil && !strings.Contains(err.Error(), test.says) {
					t.Errorf("%s: %v; it does not say %q", doing, err, test.says)
				}
			}
		})
	}
}
