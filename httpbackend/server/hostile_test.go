package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/server"
	"github.com/statelatch/statelatch/memory"
)

// patience is how long a busy machine may take for what otherwise never happens.
const patience = 30 * time.Second

// answers fails the test unless the server answers others.
func answers(t testing.TB, base string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := client(t, base).Read(ctx, "quiet"); !errors.Is(err, backend.ErrNotExist) {
		t.Errorf("another client: %v", err)
	}
}

// heap is how much memory is in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// zeros has so many bytes of zero, and counts those that were read.
type zeros struct {
	left int64
	read atomic.Int64
}

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.left)
	clear(p[:n])
	z.left -= n
	z.read.Add(n)
	return int(n), nil
}

// TestLargeBodies sends 10 GB, announced or not.
func TestLargeBodies(t *testing.T) {
	base, _ := run(t, serve(t, memory.New(), server.Options{MaxSize: 8 << 20}), "")
	for name, length := range map[string]int64{"announced": 10e9, "chunked": -1} {
		t.Run(name, func(t *testing.T) {
			before := heap()
			body := &zeros{left: 10e9}
			r, err := http.NewRequestWithContext(t.Context(), "POST", base+"/prod", body)
			if err != nil {
				t.Fatal(err)
			}
			r.ContentLength = length
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			reply, err := transport.RoundTrip(r)
			if err == nil {
				reply.Body.Close()
				if reply.StatusCode != http.StatusRequestEntityTooLarge {
					t.Errorf("status %d", reply.StatusCode)
				}
			} // else the server has closed the connection while the client was still sending
			if body.read.Load() > 64<<20 {
				t.Errorf("%d bytes were taken", body.read.Load())
			}
			if grown := heap() - before; grown > 64<<20 {
				t.Errorf("%d bytes are kept", grown)
			}
			answers(t, base)
		})
	}
}

// TestExpectContinue: a client that asks first does not send what is too large.
func TestExpectContinue(t *testing.T) {
	base, _ := run(t, serve(t, memory.New(), server.Options{}), "")
	reply := send(t, base, "POST /prod HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10000000000\r\n\r\n")
	if !strings.HasPrefix(reply, "HTTP/1.1 413") {
		t.Errorf("%s", reply)
	}
}

// TestSlowBodies: who sends too slowly is sent away, however he trickles.
func TestSlowBodies(t *testing.T) {
	base, _ := run(t, serve(t, memory.New(), server.Options{BodyTimeout: 300 * time.Millisecond}), "")
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			method := []string{"POST", "LOCK", "UNLOCK"}[i%3]
			fmt.Fprintf(conn, "%s /prod HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n", method)
			trickle, stop := context.WithCancel(t.Context())
			defer stop()
			go func() {
				for trickle.Err() == nil {
					if _, err := conn.Write([]byte("x")); err != nil {
						return
					}
					select {
					case <-trickle.Done():
					case <-time.After(20 * time.Millisecond):
					}
				}
			}()
			conn.SetReadDeadline(time.Now().Add(patience))
			line, err := bufio.NewReader(conn).ReadString('\n')
			if errors.Is(err, os.ErrDeadlineExceeded) || err == nil && !strings.Contains(line, "408") {
				t.Errorf("%q, %v", line, err)
			}
		})
	}
	answers(t, base)
	group.Wait()
	answers(t, base)
}

// TestMissingBodies: a body that nobody reads, since its sender may not or the method
// has none, is not waited for either.
func TestMissingBodies(t *testing.T) {
	auth := server.Basic(map[string]string{"u": "p"})
	base, _ := run(t, serve(t, memory.New(), server.Options{Auth: auth, BodyTimeout: 300 * time.Millisecond}), "")
	for name, head := range map[string]string{
		"nobody":         "POST /prod HTTP/1.1\r\nContent-Length: 100\r\n",
		"nobody chunked": "LOCK /prod HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
		"GET":            "GET /prod HTTP/1.1\r\nAuthorization: Basic dTpw\r\nContent-Length: 100\r\n",
		"HEAD":           "HEAD /prod HTTP/1.1\r\nAuthorization: Basic dTpw\r\nContent-Length: 100\r\n",
		"no such method": "PATCH /prod HTTP/1.1\r\nAuthorization: Basic dTpw\r\nContent-Length: 100\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, head+"Host: x\r\n\r\n")
			conn.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection is still open")
			}
		})
	}
}

// TestLongUpload: the time that a body takes is not that of the work on the Backend.
func TestLongUpload(t *testing.T) {
	const timeout = 2 * time.Second
	base, _ := run(t, serve(t, memory.New(), server.Options{Timeout: timeout}), "")
	body, upload := io.Pipe()
	time.AfterFunc(2*timeout, func() {
		io.WriteString(upload, "{}")
		upload.Close()
	})
	r, err := http.NewRequestWithContext(t.Context(), "POST", base+"/prod", body)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	reply, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		t.Errorf("status %s", reply.Status)
	}
}

// TestSlowReaders: who does not take his reply keeps it for a while only.
func TestSlowReaders(t *testing.T) {
	store := memory.New()
	if _, err := store.Write(t.Context(), "prod", make([]byte, 32<<20), backend.Condition{}); err != nil {
		t.Fatal(err)
	}
	base, _ := run(t, serve(t, store, server.Options{BodyTimeout: 200 * time.Millisecond}), "")
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, "GET /prod HTTP/1.1\r\nHost: x\r\n\r\n")
	answers(t, base)
	if _, err := conn.Read(make([]byte, 1)); err != nil { // the reply has begun
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second) // it takes nothing meanwhile
	if n, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) || n >= 32<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestGarbage sends what is no request.
func TestGarbage(t *testing.T) {
	store := memory.New()
	base, _ := run(t, serve(t, store, server.Options{}), "")
	for _, text := range []string{
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", // TLS
		"GET\r\n\r\n",
		"GET /prod HTTP/9.9\r\n\r\n",
		"GET /prod HTTP/1.1\r\n\r\n", // no Host
		"POST /prod HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
		"POST /prod HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"POST /prod HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"POST /prod HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nffffffffffffffff\r\n",
		"POST /prod HTTP/1.1\r\nHost: x\r\nX-Header: a\rb\r\nContent-Length: 1\r\n\r\nx",
		"POST /prod HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 100<<10) + "\r\n\r\n",
		"GET /" + strings.Repeat("../", 1000) + "etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET http://evil.example/prod%2f..%2f HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		reply := send(t, base, text)
		if status, _, _ := strings.Cut(strings.TrimPrefix(reply, "HTTP/1.1 "), " "); len(status) == 3 && status[0] != '4' && status != "505" && text[0] != 'O' {
			t.Errorf("%.60q: %.60q", text, reply)
		}
	}
	for name := range store.List(t.Context()) {
		t.Errorf("there is a state %q", name)
	}
	answers(t, base)
}
