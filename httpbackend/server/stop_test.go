package server_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/server"
	"github.com/statelatch/statelatch/memory"
)

// gate is a Backend whose writes wait.
type gate struct {
	*memory.Backend
	entered, open chan struct{}
}

func (g *gate) Write(ctx context.Context, workspace string, data []byte, cond backend.Condition) (backend.Revision, error) {
	close(g.entered)
	select {
	case <-g.open:
		return g.Backend.Write(ctx, workspace, data, cond)
	case <-ctx.Done():
		return "", &backend.Error{Op: "write", Backend: "gate", Kind: backend.ErrUnknown, Err: ctx.Err()}
	}
}

// TestClientGoesAway: a change goes on without its client, and is known again.
func TestClientGoesAway(t *testing.T) {
	g := &gate{memory.New(), make(chan struct{}), make(chan struct{})}
	base, _ := run(t, serve(t, g, server.Options{}), "")
	post := func(ctx context.Context) (*http.Response, error) {
		r, err := http.NewRequestWithContext(ctx, "POST", base+"/prod", strings.NewReader("one"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("If-None-Match", "*")
		r.Header.Set("Statelatch-Call", "token")
		return http.DefaultClient.Do(r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-g.entered
		cancel()
	}()
	if reply, err := post(ctx); err == nil {
		reply.Body.Close()
		t.Fatal("the client did not go away")
	}
	again := make(chan int)
	go func() {
		reply, err := post(t.Context())
		if err != nil {
			t.Error(err)
			close(again)
			return
		}
		reply.Body.Close()
		again <- reply.StatusCode
	}()
	close(g.open)
	if status := <-again; status != http.StatusOK {
		t.Errorf("the same call again: %d", status)
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestCutShort: what does not finish within the grace is cut short, and waited for.
func TestCutShort(t *testing.T) {
	g := &gate{memory.New(), make(chan struct{}), make(chan struct{})}
	s := serve(t, g, server.Options{Grace: 50 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	l := listen(t)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	go func() {
		<-g.entered
		cancel()
	}()
	reply := send(t, "http://"+l.Addr().String(), "POST /prod HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
	if err := <-served; err == nil {
		t.Errorf("Serve has cut nothing short; the client got %q", reply)
	}
}

// A tiring listener accepts one connection, and fails when it is tired.
type tiring struct {
	net.Listener
	once  sync.Once
	tired chan struct{}
}

func (l *tiring) Accept() (conn net.Conn, err error) {
	err = errors.New("no more")
	l.once.Do(func() { conn, err = l.Listener.Accept() })
	if conn == nil {
		<-l.tired
	}
	return conn, err
}

// TestAcceptFails: the requests that are under way finish first; those of another
// listener are not waited for.
func TestAcceptFails(t *testing.T) {
	g := &gate{memory.New(), make(chan struct{}), make(chan struct{})}
	s := serve(t, g, server.Options{})
	l, other := &tiring{Listener: listen(t), tired: make(chan struct{})}, &tiring{Listener: listen(t), tired: make(chan struct{})}
	served, replied := make(chan error, 1), make(chan string, 1)
	go func() { served <- s.Serve(t.Context(), l) }()
	go func() {
		replied <- send(t, "http://"+l.Addr().String(), "POST /prod HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx")
	}()
	<-g.entered
	close(l.tired)
	close(other.tired)
	other.once.Do(func() {})
	if err := s.Serve(t.Context(), other); err == nil || !strings.Contains(err.Error(), "no more") {
		t.Errorf("the other: %v", err)
	}
	select {
	case err := <-served:
		t.Errorf("it has not waited: %v", err)
	default:
	}
	close(g.open)
	if err := <-served; err == nil || !strings.Contains(err.Error(), "no more") {
		t.Errorf("got %v", err)
	}
	if reply := <-replied; !strings.Contains(reply, "200 OK") {
		t.Errorf("got %q", reply)
	}
}
