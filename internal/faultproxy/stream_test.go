package faultproxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/statelatch/statelatch/internal/faultproxy"
)

const large = 100 << 20

// zeros is a body of so many bytes.
func zeros(n int64) io.Reader { return io.LimitReader(endless{}, n) }

type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestLargeBodies moves 100 MB each way, with and without a length, in a fraction
// of that memory.
func TestLargeBodies(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); n != large || err != nil {
			t.Errorf("the server got %d bytes and %v", n, err)
		}
		if r.ContentLength > 0 {
			w.Header().Set("Content-Length", r.Header.Get("Content-Length"))
		}
		io.Copy(w, zeros(large))
	}))
	defer up.Close()
	p := faultproxy.New(t, up.URL)
	c := newClient(t)
	for name, length := range map[string]int64{"length": large, "chunked": -1} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			req, _ := http.NewRequest("PUT", p.URL(), zeros(large))
			req.ContentLength = length
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if n, err := io.Copy(io.Discard, resp.Body); n != large || err != nil || resp.ContentLength != length {
				t.Errorf("the client got %d bytes of %d and %v", n, resp.ContentLength, err)
			}
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > large/10 {
				t.Errorf("client, proxy and server allocated %d bytes", got)
			}
		})
	}
}

// unreadable is a body that must not be read.
type unreadable struct{ t *testing.T }

func (u unreadable) Read([]byte) (int, error) {
	u.t.Error("the body was sent though the server refused it")
	return 0, io.EOF
}

func TestContinue(t *testing.T) {
	faultproxy.SetPatience(t, time.Minute)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refused" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		io.Copy(w, r.Body)
	}))
	defer up.Close()
	p := faultproxy.New(t, up.URL)
	p.Add(faultproxy.Rule{Match: faultproxy.Path("/answered"), Fault: answerWith(503)})
	c := newClient(t)
	for _, tt := range []struct {
		path   string
		body   io.Reader
		status int
		want   string
	}{
		{"/ok", strings.NewReader("data"), 200, "data"},
		{"/refused", unreadable{t}, 403, ""},
		{"/answered", unreadable{t}, 503, ""},
	} {
		req, _ := http.NewRequest("PUT", p.URL()+tt.path, tt.body)
		req.ContentLength = 4
		req.Header.Set("Expect", "100-continue")
		start := time.Now()
		if a := send(c, req); a.status != tt.status || a.body != tt.want {
			t.Errorf("%s: %v, want %d %q", tt.path, a, tt.status, tt.want)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s: took %v: somebody waited in vain", tt.path, took)
		}
	}
}

// TestContinueUnheard has a server that knows no 100 Continue.
func TestContinueUnheard(t *testing.T) {
	up := newWire(t, nil, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	p := faultproxy.New(t, up.url)
	req, _ := http.NewRequest("PUT", p.URL()+"/key", strings.NewReader("data"))
	req.Header.Set("Expect", "100-continue")
	if a := send(newClient(t), req); a.status != 200 {
		t.Errorf("got %v", a)
	}
	if raw := <-up.requests; !strings.HasSuffix(raw, "\r\n\r\ndata") {
		t.Errorf("the server got %q", raw)
	}
}

// TestEarlyAnswer has a server answer without reading the body.
func TestEarlyAnswer(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	}))
	defer up.Close()
	p := faultproxy.New(t, up.URL)
	for _, size := range []int64{1, 1 << 10, 1 << 20, large} {
		for _, length := range []int64{size, -1} {
			req, _ := http.NewRequest("PUT", p.URL(), zeros(size))
			req.ContentLength = length
			if a := send(newClient(t), req); a.status != 403 {
				t.Errorf("%d bytes, length %d: got %v", size, length, a)
			}
		}
	}
	within(t, p.Idle(), "the end")
}

// TestEarlyAnswerStuck has a server answer and read no more, while the client stops
// in the middle of its body until it hears the answer, or sends without end.
func TestEarlyAnswerStuck(t *testing.T) {
	const reply = "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
	for _, tt := range []struct {
		name         string
		length, sent int64
	}{
		{"short", 10, 4},
		{"long", large, 4},
		{"endless", large, large},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			p := faultproxy.New(t, "http://"+up.Addr().String())
			conn := dialProxy(t, p)
			var wg sync.WaitGroup
			defer wg.Wait()
			defer conn.Close()
			defer up.Close()
			wg.Go(func() {
				fmt.Fprintf(conn, "PUT /key HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", tt.length)
				io.Copy(conn, zeros(tt.sent))
			})
			silent, err := up.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer silent.Close()
			io.WriteString(silent, reply)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || resp.StatusCode != 403 {
				t.Errorf("got %v and %v", resp, err)
			}
			within(t, p.Idle(), "the end")
		})
	}
}

// TestServerFails looks at servers that break off: so must the proxy, and never
// invent an answer.
func TestServerFails(t *testing.T) {
	for _, tt := range []struct {
		name, reply string
		status      int
		body        string
	}{
		{"no reply", "", 0, ""},
		{"half a head", "HTTP/1.1 200 OK\r\nContent-Le", 0, ""},
		{"half a body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", 200, "half"},
		{"half a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", 200, "half"},
		{"nonsense", "220 smtp\r\n", 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := faultproxy.New(t, newWire(t, nil, tt.reply).url)
			a := put(t, newClient(t), p)
			if a.status != tt.status || a.body != tt.body || a.err == nil {
				t.Errorf("got %v, want %d %q and an error", a, tt.status, tt.body)
			}
			if q := last(t, p); q.Sent != 1 || q.Status != tt.status || q.Err == "" {
				t.Errorf("recorded %+v", q)
			}
		})
	}
	t.Run("not there", func(t *testing.T) {
		up := newWire(t, nil)
		up.Close()
		p := faultproxy.New(t, up.url)
		if a := put(t, newClient(t), p); !errors.Is(a.err, io.EOF) {
			t.Errorf("got %v, want EOF", a)
		}
		if q := last(t, p); q.Sent != 0 || q.Err == "" {
			t.Errorf("recorded %+v", q)
		}
	})
}

// TestClientFails has clients that go away in the middle of a body, or go wrong:
// the server must not take what there is for the whole, nor wait for more.
func TestClientFails(t *testing.T) {
	for _, tt := range []struct {
		name, raw string
		leaves    bool
	}{
		{"length", "PUT /key HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf", true},
		{"chunked", "PUT /key HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", true},
		{"no chunk", "PUT /key HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n?\r\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up := newStore(t)
			p := faultproxy.New(t, up.URL)
			conn := dialProxy(t, p)
			io.WriteString(conn, tt.raw)
			for len(p.Requests()) == 0 || last(t, p).Length < 4 {
				time.Sleep(time.Millisecond)
			}
			if tt.leaves {
				conn.Close()
			}
			within(t, p.Idle(), "the end")
			if got := up.applied(); len(got) != 0 {
				t.Errorf("the server applied %q", got)
			}
		})
	}
}

// TestConcurrent has many clients with kept connections.
func TestConcurrent(t *testing.T) {
	up := newStore(t)
	p := faultproxy.New(t, up.URL)
	h := p.Add(faultproxy.Rule{Nth: 10, Times: 50, Fault: answerWith(503)})
	c := newClient(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 20 {
				if a := put(t, c, p); a.err != nil {
					t.Error(a)
				}
			}
		})
	}
	wg.Wait()
	if p.Count(nil) != 320 || h.Applied() != 50 || len(up.applied()) != 270 {
		t.Errorf("%d requests, %d faults, %d applied", p.Count(nil), h.Applied(), len(up.applied()))
	}
}

func TestStartFails(t *testing.T) {
	for _, upstream := range []string{"", "127.0.0.1:9000", "ftp://x", "http://", "http://a b"} {
		if p, err := faultproxy.Start(upstream); err == nil {
			p.Close()
			t.Errorf("%q was accepted", upstream)
		}
	}
}

func TestURLKeepsPath(t *testing.T) {
	up := newStore(t)
	p := faultproxy.New(t, up.URL+"/devstoreaccount1")
	put(t, newClient(t), p)
	if got := up.applied(); len(got) != 1 || got[0] != "PUT /devstoreaccount1/key data" {
		t.Errorf("applied %q", got)
	}
}
