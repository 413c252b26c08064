package faultproxy_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/statelatch/statelatch/internal/faultproxy"
)

// An upstream, which is a server of net/http, keeps a goroutine for half a second
// behind a connection that was cut; goleak waits for less.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// A store is an upstream that remembers what it has applied and answers
// "applied N".
type store struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string
}

func newStore(t *testing.T) *store {
	s := &store{}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // an incomplete request is not applied
	}
	s.mu.Lock()
	s.seen = append(s.seen, r.Method+" "+r.RequestURI+" "+string(body))
	n := len(s.seen)
	s.mu.Unlock()
	w.Header().Set("X-Applied", fmt.Sprint(n))
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, "applied %d", n)
}

func (s *store) applied() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// newClient returns a client with connections of its own.
func newClient(t *testing.T) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: testCA(t)}, ExpectContinueTimeout: time.Minute}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

// An answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
	err    error
}

func (a answer) String() string {
	if a.err != nil {
		return fmt.Sprintf("%d %q and %v", a.status, a.body, a.err)
	}
	return fmt.Sprintf("%d %q", a.status, a.body)
}

// put sends a PUT of "data" to /key of the proxy.
func put(t *testing.T, c *http.Client, p *faultproxy.Proxy) answer {
	return do(t, c, "PUT", p.URL()+"/key", "data")
}

func do(t *testing.T, c *http.Client, method, url, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return answer{err: err}
	}
	return send(c, req)
}

func send(c *http.Client, req *http.Request) answer {
	resp, err := c.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body), err}
}

// last returns the record of the only request.
func last(t *testing.T, p *faultproxy.Proxy) faultproxy.Request {
	t.Helper()
	list := p.Requests()
	if len(list) != 1 {
		t.Fatalf("recorded:\n%swant one request", faultproxy.Table(list))
	}
	return list[0]
}

// within fails the test if c is not closed in good time.
func within(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: it never happened", what)
	}
}

// A wire is a raw TCP upstream that answers each request with the next of its
// replies, and keeps the bytes it was sent.
type wire struct {
	net.Listener
	url      string
	requests chan string
}

// newWire listens; with a certificate it speaks TLS.
func newWire(t *testing.T, cert *tls.Certificate, replies ...string) *wire {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{l, "http://" + l.Addr().String(), make(chan string, len(replies))}
	if cert != nil {
		w.Listener = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*cert}})
		w.url = "https://" + l.Addr().String()
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, reply := range replies {
			conn, err := w.Accept()
			if err != nil {
				return
			}
			w.requests <- readRaw(conn)
			io.WriteString(conn, reply)
			conn.Close()
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return w
}

// readRaw returns the bytes of one request.
func readRaw(conn net.Conn) string {
	var raw strings.Builder
	req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(conn, &raw)))
	if err == nil {
		_, err = io.Copy(io.Discard, req.Body)
	}
	if err != nil {
		return fmt.Sprintf("%s[%v]", raw.String(), err)
	}
	return raw.String()
}

var testTLS = sync.OnceValue(func() *httptest.Server {
	s := httptest.NewUnstartedServer(nil) // has a certificate for 127.0.0.1 once started
	s.StartTLS()
	s.Close()
	return s
})

func testCert(*testing.T) tls.Certificate { return testTLS().TLS.Certificates[0] }

func testCA(*testing.T) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(testTLS().Certificate())
	return pool
}
