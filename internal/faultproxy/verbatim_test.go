package faultproxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/statelatch/statelatch/internal/faultproxy"
)

// rawRequests are what a client might send, to the byte; HOST is the host it dials.
var rawRequests = []string{
	"GET / HTTP/1.1\r\nHost: HOST\r\n\r\n",
	"GET /a%2Fb/%20c//d?x=%2f&list-type=2&&y HTTP/1.1\r\nHost: HOST\r\nAccept-Encoding: identity\r\n\r\n",
	"GET //two%2e/./../%e4 HTTP/1.1\r\nhost:HOST\r\n\r\n",
	"PUT /k HTTP/1.1\r\nHost: HOST\r\nUser-Agent: \r\nx-ms-meta-Odd: A  b\r\nX-Amz-Date: 2\r\nX-Amz-Date: 1\r\nContent-Length: 4\r\nAuthorization: AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host;x-amz-date, Signature=1\r\n\r\ndata",
	"PUT /empty HTTP/1.1\r\nHost: HOST\r\nContent-MD5: 1B2M2Y8AsgTpgAmY7PhCfg==\r\nContent-Length: 0\r\n\r\n",
	"POST /chunked HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 17\r\n\r\n",
	"DELETE /k HTTP/1.1\r\nHost: HOST\r\nif-match: \"e\"\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
	"HEAD /k HTTP/1.1\r\nHost: HOST\r\nConnection: keep-alive\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: HOST\r\n\r\n",
}

// TestRequestBytes sends requests over one kept connection and compares what a
// raw server gets.
func TestRequestBytes(t *testing.T) {
	cert := testCert(t)
	for name, upstreamCert := range map[string]*tls.Certificate{"plain": nil, "TLS": &cert} {
		t.Run(name, func(t *testing.T) {
			replies := make([]string, len(rawRequests))
			for i := range replies {
				replies[i] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
			}
			up := newWire(t, upstreamCert, replies...)
			opts := []faultproxy.Option{faultproxy.WithRootCAs(testCA(t))}
			if upstreamCert != nil {
				opts = append(opts, faultproxy.WithCertificate(cert))
			}
			p := faultproxy.New(t, up.url, opts...)
			conn := dialProxy(t, p)
			br := bufio.NewReader(conn)
			for _, raw := range rawRequests {
				raw = strings.ReplaceAll(raw, "HOST", conn.RemoteAddr().String())
				io.WriteString(conn, raw)
				req, _ := http.NewRequest(raw[:strings.Index(raw, " ")], "/", nil)
				if _, err := http.ReadResponse(br, req); err != nil {
					t.Fatalf("%q: %v", raw, err)
				}
				if diff := cmp.Diff(raw, <-up.requests); diff != "" {
					t.Errorf("-sent +arrived:\n%s", diff)
				}
			}
		})
	}
}

func dialProxy(t *testing.T, p *faultproxy.Proxy) net.Conn {
	t.Helper()
	scheme, host, _ := strings.Cut(p.URL(), "://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if scheme == "http" {
		return conn
	}
	return tls.Client(conn, &tls.Config{RootCAs: testCA(t), ServerName: "127.0.0.1"})
}

// teeConn keeps what is written to it.
type teeConn struct {
	net.Conn
	mu   *sync.Mutex
	sent *strings.Builder
}

func (c teeConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent.Write(p)
	return c.Conn.Write(p)
}

// TestGoClientBytes does the same with Go's client, whose request is signed over
// what it sends.
func TestGoClientBytes(t *testing.T) {
	up := newWire(t, nil, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	p := faultproxy.New(t, up.url)
	tee := teeConn{mu: new(sync.Mutex), sent: new(strings.Builder)}
	tr := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return teeConn{conn, tee.mu, tee.sent}, err
	}}
	defer tr.CloseIdleConnections()

	req, _ := http.NewRequest("PUT", p.URL()+"/bucket/env:/a%2Fb/terraform.tfstate?x-id=PutObject", strings.NewReader(`{"version":4}`))
	req.Header["x-ms-version"] = []string{"2024-01-01"}
	req.Header.Set("X-Amz-Content-Sha256", "abc")
	if a := send(&http.Client{Transport: tr}, req); a.err != nil {
		t.Fatal(a.err)
	}
	tee.mu.Lock()
	defer tee.mu.Unlock()
	if diff := cmp.Diff(tee.sent.String(), <-up.requests); diff != "" {
		t.Errorf("-sent +arrived:\n%s", diff)
	}
}

func TestReplies(t *testing.T) {
	type reply struct {
		Status   int
		Header   http.Header
		Trailer  http.Header
		Encoding []string
		Length   int64
		Body     string
	}
	read := func(t *testing.T, r io.Reader, method string) reply {
		resp, err := http.ReadResponse(bufio.NewReader(r), &http.Request{Method: method})
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return reply{resp.StatusCode, resp.Header, resp.Trailer, resp.TransferEncoding, resp.ContentLength, string(body)}
	}
	for _, tt := range []struct{ name, method, raw string }{
		{"bare", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"length", "GET", "HTTP/1.1 200 OK\r\nDate: x\r\nEtag: \"e\"\r\nContent-Length: 6\r\n\r\n<html>"},
		{"gzip", "GET", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nzzzz"},
		{"chunked", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
		{"chunked, empty", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"trailers", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"},
		{"HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nX-Ms-Lease-State: leased\r\n\r\n"},
		{"no content", "DELETE", "HTTP/1.1 204 No Content\r\nX-Amz-Request-Id: 1\r\n\r\n"},
		{"not modified", "GET", "HTTP/1.1 304 Not Modified\r\nEtag: \"e\"\r\n\r\n"},
		{"conflict", "PUT", "HTTP/1.1 409 There is a lease.\r\nX-Ms-Error-Code: LeaseAlreadyPresent\r\nContent-Length: 2\r\n\r\nno"},
		{"closing", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1"},
		{"hints first", "GET", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := faultproxy.New(t, newWire(t, nil, tt.raw).url)
			conn := dialProxy(t, p)
			io.WriteString(conn, tt.method+" /k HTTP/1.1\r\nHost: x\r\n\r\n")
			_, final, hinted := strings.Cut(tt.raw, "Link: x\r\n\r\n")
			if !hinted {
				final = tt.raw
			}
			want := read(t, strings.NewReader(final), tt.method)
			if diff := cmp.Diff(want, read(t, conn, tt.method)); diff != "" {
				t.Errorf("-answered +arrived:\n%s", diff)
			}
		})
	}
}

// TestPipelined sends two requests at once: the second head is not remembered.
func TestPipelined(t *testing.T) {
	up := newStore(t)
	conn := dialProxy(t, faultproxy.New(t, up.URL))
	io.WriteString(conn, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2%2F HTTP/1.1\r\nHost: x\r\n\r\n")
	br := bufio.NewReader(conn)
	for range 2 {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
	}
	if diff := cmp.Diff([]string{"GET /1 ", "GET /2%2F "}, up.applied()); diff != "" {
		t.Errorf("-sent +arrived:\n%s", diff)
	}
}
