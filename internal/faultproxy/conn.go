package faultproxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"sync"
)

// duplex is what a TCP and a TLS connection have in common.
type duplex interface {
	net.Conn
	CloseWrite() error
}

// A listener does TLS itself, where asked for, so that the HTTP server sees a
// clientConn in either case, and never offers HTTP/2.
type listener struct {
	*net.TCPListener
	tls *tls.Config
}

func (l listener) Accept() (net.Conn, error) {
	tcp, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	if l.tls == nil {
		return &clientConn{duplex: tcp, tcp: tcp}, nil
	}
	return &clientConn{duplex: tls.Server(tcp, l.tls), tcp: tcp}, nil
}

type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// maxHead is the longest request head that is kept verbatim, in bytes.
const maxHead = 1 << 20

// A clientConn remembers the bytes of the request head last read from it, which
// the HTTP server parses and forgets.
//
// A head begins with the first byte read after the last one written: a client
// that does not pipeline sends nothing before it has the whole reply, and the
// HTTP server begins a reply only when the request is read to its end, unless it
// closes the connection afterwards.
type clientConn struct {
	duplex
	tcp *net.TCPConn

	mu    sync.Mutex
	seen  []byte // from the beginning of a head
	whole bool   // seen is one head, or has grown too long to be one
}

func (c *clientConn) Read(p []byte) (int, error) {
	n, err := c.duplex.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.whole {
		return n, err
	}
	c.seen = append(c.seen, p[:n]...)
	if i := bytes.Index(c.seen, []byte("\r\n\r\n")); i >= 0 {
		c.seen, c.whole = c.seen[:i+4], true
	} else if len(c.seen) > maxHead {
		c.seen, c.whole = nil, true
	}
	return n, err
}

func (c *clientConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.seen, c.whole = nil, false
	c.mu.Unlock()
	return c.duplex.Write(p)
}

// head returns the head of the request that was read last, or nil if that one
// did not begin with start.
func (c *clientConn) head(start string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.whole || !bytes.HasPrefix(c.seen, []byte(start)) {
		return nil
	}
	return c.seen
}

// sever closes the connection at once: without a word of TLS, or with a TCP reset.
func (c *clientConn) sever(reset bool) {
	if reset {
		c.tcp.SetLinger(0)
	}
	c.tcp.Close()
}
