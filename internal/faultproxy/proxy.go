// Package faultproxy is an HTTP/1.1 reverse proxy that a test puts in front of a
// real server, to count the requests that reach it and to make the wire fail.
//
//	p := faultproxy.New(t, endpoint) // the client is given p.URL()
//	lost := p.Add(faultproxy.Rule{
//		Match: faultproxy.All(faultproxy.Method("PUT"), faultproxy.PathSuffix(".tflock")),
//		Nth:   2, // the second such request
//		Fault: faultproxy.CutAfter(), // is applied, and its reply lost
//	})
//	… // run the client
//	if lost.Applied() != 1 || p.Count(faultproxy.Method("DELETE")) != 1 {
//		t.Error(faultproxy.Table(p.Requests()))
//	}
//
// # What passes, and how
//
// A request without a fault reaches the server as the client sent it: the bytes
// of its head (the Host header included, since the client signs the host that it
// dials), its body, its framing and trailers. Nothing is added, decompressed or
// repeated: each request is sent once, on a connection of its own, and if the
// server cannot be reached or breaks off, the client's connection is cut too. An
// interim reply other than 100 Continue is dropped, and of a reply the spelling
// of header names and the words after the status are the standard ones. Bodies
// are streamed, except under a fault that says otherwise.
//
// A server that answers with its own absolute URL (an upload session, say) leads
// the client past the proxy: rewrite that header with [Proxy.Use].
//
// # Randomised rounds
//
// [Chaos] draws faults from a seed, one draw for each request that the rule
// matches, in the order of their arrival. Give each concurrent client its own
// proxy and seed, and a round can be repeated.
//
// Go's own client repeats a GET by itself if a connection that it has used before
// ends without a byte of reply: one cut may show as two requests and a success.
package faultproxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
)

// A Proxy stands in front of one server. Its methods are safe for concurrent use.
type Proxy struct {
	base      string           // what the client dials
	upstream  *url.URL         // the server
	toServer  *tls.Config      // used if upstream is https
	serving   *tls.Certificate // nil for plain HTTP
	keepBody  bool
	server    *http.Server
	served    chan struct{} // closed once server has stopped accepting
	ctx       context.Context
	cancelCtx context.CancelFunc

	mu         sync.Mutex
	rules      []*Handle
	middleware []Middleware
	requests   []*Request
	busy       int           // requests being handled
	idle       chan struct{} // closed while busy is 0
	closed     bool
}

// An Option changes how a proxy is set up.
type Option func(*Proxy)

// WithCertificate makes clients speak TLS to the proxy.
func WithCertificate(cert tls.Certificate) Option {
	return func(p *Proxy) { p.serving = &cert }
}

// WithRootCAs names those who may vouch for an https server; without it, those
// whom the system trusts.
func WithRootCAs(pool *x509.CertPool) Option {
	return func(p *Proxy) { p.toServer.RootCAs = pool }
}

// WithBodies records the bodies of requests.
func WithBodies() Option {
	return func(p *Proxy) { p.keepBody = true }
}

// New starts a proxy on a free loopback port in front of upstream, such as
// "http://127.0.0.1:9000", for the length of a test. If the test fails, its log
// ends with a table of the requests.
func New(t testing.TB, upstream string, opts ...Option) *Proxy {
	t.Helper()
	p, err := Start(upstream, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		if t.Failed() {
			t.Logf("requests through %s:\n%s", p.URL(), Table(p.Requests()))
		}
	})
	return p
}

// Start is New without a test: the caller closes the proxy.
func Start(upstream string, opts ...Option) (*Proxy, error) {
	u, err := url.Parse(upstream)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("faultproxy: the upstream must be http://host:port or https://host:port")
	}
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("faultproxy: %w", err)
	}
	p := &Proxy{
		upstream: u,
		toServer: &tls.Config{ServerName: u.Hostname(), ClientSessionCache: tls.NewLRUClientSessionCache(0)},
		served:   make(chan struct{}),
		idle:     make(chan struct{}),
	}
	close(p.idle)
	for _, opt := range opts {
		opt(p)
	}
	p.serve(tcp)
	return p, nil
}

func (p *Proxy) serve(tcp *net.TCPListener) {
	l := listener{TCPListener: tcp}
	scheme := "http"
	if p.serving != nil {
		scheme = "https"
		l.tls = &tls.Config{Certificates: []tls.Certificate{*p.serving}}
	}
	p.base = scheme + "://" + tcp.Addr().String()
	p.ctx, p.cancelCtx = context.WithCancel(context.Background())
	p.server = &http.Server{
		Handler:                      http.HandlerFunc(p.handle),
		DisableGeneralOptionsHandler: true,
		BaseContext:                  func(net.Listener) context.Context { return p.ctx },
		ConnContext:                  withConn,
	}
	go func() {
		defer close(p.served)
		p.server.Serve(l) // always fails: by Close
	}()
}

// URL is what the client dials: the proxy's address, with the path of the
// upstream that was given.
func (p *Proxy) URL() string { return p.base + p.upstream.EscapedPath() }

// A Middleware stands between the faults and the server, and so makes part of the
// server as a client sees it: a rule that an emulator lacks, a header rewritten,
// a trick of the test's own. It may answer by itself, or change r before it has
// forward serve it, or give forward another writer. It runs on the goroutine of
// the request, and returns when r's context ends.
//
// If it changed method, host, URL, length or headers of r, the head that is sent
// is composed anew; with a new body comes a new r.ContentLength (-1: chunked).
type Middleware func(w http.ResponseWriter, r *http.Request, forward http.Handler)

// Use adds a middleware behind those that were added before.
func (p *Proxy) Use(m Middleware) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.middleware = append(p.middleware, m)
}

// behind returns the server with the middleware in front of it.
func (p *Proxy) behind(server http.Handler) http.Handler {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range slices.Backward(p.middleware) {
		next := server
		server = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m(w, r, next) })
	}
	return server
}

// dial opens a connection to the server.
func (p *Proxy) dial(ctx context.Context) (duplex, error) {
	port := cmp.Or(p.upstream.Port(), map[string]string{"http": "80", "https": "443"}[p.upstream.Scheme])
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(p.upstream.Hostname(), port))
	if err != nil {
		return nil, err
	}
	if p.upstream.Scheme == "http" {
		return conn.(*net.TCPConn), nil
	}
	secure := tls.Client(conn, p.toServer)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// Idle returns a channel that is closed when no request is being handled. What
// the client has given up may still be on its way to the server until then.
func (p *Proxy) Idle() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.idle
}

// Close cuts all connections, lets go of whatever hangs, without forwarding it,
// and returns when nothing of the proxy runs any longer. What was recorded stays.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancelCtx()
	p.server.Close()
	<-p.served
	<-p.Idle()
}

// enter records a request, unless the proxy is closed.
func (p *Proxy) enter(q *Request) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.requests = append(p.requests, q)
	if p.busy == 0 {
		p.idle = make(chan struct{})
	}
	p.busy++
	return true
}

func (p *Proxy) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	if p.busy == 0 {
		close(p.idle)
	}
}
