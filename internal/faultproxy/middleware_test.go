package faultproxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelatch/statelatch/internal/faultproxy"
)

// strict refuses a DELETE without a condition, as a server would that its
// emulator does not resemble.
func strict(w http.ResponseWriter, r *http.Request, forward http.Handler) {
	if r.Method == "DELETE" && r.URL.Query().Get("ifGenerationMatch") == "" {
		http.Error(w, "no condition", http.StatusPreconditionFailed)
		return
	}
	forward.ServeHTTP(w, r)
}

func TestMiddleware(t *testing.T) {
	up := newStore(t)
	p := faultproxy.New(t, up.URL)
	p.Use(strict)
	c := newClient(t)
	refused := do(t, c, "DELETE", p.URL()+"/key", "")
	allowed := do(t, c, "DELETE", p.URL()+"/key?ifGenerationMatch=1", "")
	if refused.status != 412 || allowed.status != 201 {
		t.Errorf("got %v and %v", refused, allowed)
	}
	if diff := cmp.Diff([]string{"DELETE /key?ifGenerationMatch=1 "}, up.applied()); diff != "" {
		t.Errorf("-want +applied:\n%s", diff)
	}
	p.Reset()
	p.Add(faultproxy.Rule{Fault: faultproxy.CutAfter()}) // faults see it as part of the server
	do(t, c, "DELETE", p.URL()+"/key", "")
	if q := last(t, p); q.Server != 412 || q.Status != 0 || q.Sent != 0 {
		t.Errorf("recorded %+v", q)
	}
	p.Add(faultproxy.Rule{Fault: faultproxy.Truncate(2)})
	if a := do(t, c, "DELETE", p.URL()+"/key", ""); a.status != 412 || a.body != "no" || a.err == nil {
		t.Errorf("truncated: %v", a)
	}
}

// TestMiddlewareRewrites changes each part of a request and of its reply.
func TestMiddlewareRewrites(t *testing.T) {
	ok := "HTTP/1.1 200 OK\r\nX-Sum: 1\r\nContent-Length: 2\r\n\r\nok"
	for _, tt := range []struct {
		name    string
		rewrite func(r *http.Request)
		want    string
	}{
		{"nothing", func(r *http.Request) {}, "PUT /a%2Fb?q=1 HTTP/1.1\r\nx-ODD: 1\r\nHost: here\r\nContent-Length: 4\r\n\r\ndata"},
		{"host", func(r *http.Request) { r.Host = "there" }, "PUT /a%2Fb?q=1 HTTP/1.1\r\nHost: there\r\nContent-Length: 4\r\nX-Odd: 1\r\n\r\ndata"},
		{"method", func(r *http.Request) { r.Method = "POST" }, "POST /a%2Fb?q=1 HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\nX-Odd: 1\r\n\r\ndata"},
		{"header", func(r *http.Request) { r.Header.Set("X-New", "2") }, "PUT /a%2Fb?q=1 HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\nX-New: 2\r\nX-Odd: 1\r\n\r\ndata"},
		{"query", func(r *http.Request) { r.URL.RawQuery = "" }, "PUT /a%2Fb HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\nX-Odd: 1\r\n\r\ndata"},
		{"body", func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("other")), -1
		}, "PUT /a%2Fb?q=1 HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\nX-Odd: 1\r\n\r\n5\r\nother\r\n0\r\n\r\n"},
		{"empty body", func(r *http.Request) {
			r.Body, r.ContentLength = http.NoBody, 0
		}, "PUT /a%2Fb?q=1 HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\nX-Odd: 1\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up := newWire(t, nil, ok)
			p := faultproxy.New(t, up.url)
			p.Use(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
				w.Header().Set("X-Before", r.Method)
				forward.ServeHTTP(w, r)
			})
			p.Use(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
				tt.rewrite(r)
				forward.ServeHTTP(w, r)
			})
			conn := dialProxy(t, p)
			io.WriteString(conn, "PUT /a%2Fb?q=1 HTTP/1.1\r\nx-ODD: 1\r\nHost: here\r\nContent-Length: 4\r\n\r\ndata")
			reply := make([]byte, 1<<10)
			n, _ := conn.Read(reply)
			if !strings.Contains(string(reply[:n]), "X-Before: PUT\r\n") {
				t.Errorf("the client got %q", reply[:n])
			}
			if diff := cmp.Diff(tt.want, <-up.requests); diff != "" {
				t.Errorf("-want +arrived:\n%s", diff)
			}
		})
	}
}

// TestMiddlewareSilent has a middleware that writes nothing.
func TestMiddlewareSilent(t *testing.T) {
	p := faultproxy.New(t, newStore(t).URL)
	p.Use(func(http.ResponseWriter, *http.Request, http.Handler) {})
	p.Add(faultproxy.Rule{Fault: faultproxy.DelayReply(0)})
	if a := put(t, newClient(t), p); a.status != 200 {
		t.Errorf("got %v", a)
	}
	if q := last(t, p); q.Server != 200 || q.Status != 200 {
		t.Errorf("recorded %+v", q)
	}
}
