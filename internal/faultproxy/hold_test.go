package faultproxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/statelatch/statelatch/internal/faultproxy"
)

// startPut sends a PUT whose answer comes on the channel.
func startPut(t *testing.T, ctx context.Context, p *faultproxy.Proxy) <-chan answer {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, "PUT", p.URL()+"/key", strings.NewReader("data"))
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t)
	answers := make(chan answer, 1)
	go func() { answers <- send(c, req) }()
	return answers
}

var holds = []struct {
	name    string
	fault   faultproxy.Fault
	applied int // while it is held
	late    int // and after the client has gone, and Release
}{
	{"hang", faultproxy.Hang(), 0, 0},
	{"hang, late", faultproxy.Hang().Late(), 0, 1},
	{"hang after", faultproxy.HangAfter(), 1, 1},
}

func TestHoldReleased(t *testing.T) {
	for _, tt := range holds {
		t.Run(tt.name, func(t *testing.T) {
			up := newStore(t)
			p := faultproxy.New(t, up.URL)
			h := p.Add(faultproxy.Rule{Fault: tt.fault})
			answers := startPut(t, t.Context(), p)
			within(t, h.Reached(), "being held")
			if got := len(up.applied()); got != tt.applied {
				t.Errorf("while held it was applied %d times, want %d", got, tt.applied)
			}
			select {
			case a := <-answers:
				t.Errorf("the client did not wait: %v", a)
			default:
			}
			h.Release()
			if a := <-answers; a.status != 201 || a.body != "applied 1" {
				t.Errorf("released, the client got %v", a)
			}
		})
	}
}

func TestHoldClientGone(t *testing.T) {
	for _, tt := range holds {
		t.Run(tt.name, func(t *testing.T) {
			up := newStore(t)
			p := faultproxy.New(t, up.URL)
			h := p.Add(faultproxy.Rule{Fault: tt.fault})
			ctx, cancel := context.WithCancel(t.Context())
			answers := startPut(t, ctx, p)
			within(t, h.Reached(), "being held")
			cancel()
			if a := <-answers; !errors.Is(a.err, context.Canceled) {
				t.Errorf("the client got %v", a)
			}
			if tt.late > tt.applied { // the client has its error before the server sees anything
				if got := len(up.applied()); got != tt.applied {
					t.Errorf("applied %d times before Release, want %d", got, tt.applied)
				}
				h.Release()
			}
			within(t, p.Idle(), "the end of the request")
			if got := len(up.applied()); got != tt.late {
				t.Errorf("applied %d times, want %d", got, tt.late)
			}
		})
	}
}

func TestCloseWhileHeld(t *testing.T) {
	for _, tt := range append(holds, []struct {
		name    string
		fault   faultproxy.Fault
		applied int
		late    int
	}{
		{"delay", faultproxy.Delay(time.Hour), 0, 0},
		{"delay, late", faultproxy.Delay(time.Hour).Late(), 0, 0},
		{"delay reply", faultproxy.DelayReply(time.Hour), 1, 1},
	}...) {
		t.Run(tt.name, func(t *testing.T) {
			up := newStore(t)
			p, err := faultproxy.Start(up.URL)
			if err != nil {
				t.Fatal(err)
			}
			p.Add(faultproxy.Rule{Fault: tt.fault})
			answers := startPut(t, t.Context(), p)
			for len(p.Requests()) == 0 || len(up.applied()) < tt.applied {
				time.Sleep(time.Millisecond)
			}
			start := time.Now()
			p.Close()
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("Close took %v", took)
			}
			if a := <-answers; a.err == nil {
				t.Errorf("the client got %v", a)
			}
			if got := len(up.applied()); got != tt.applied {
				t.Errorf("applied %d times, want %d", got, tt.applied)
			}
			p.Close() // again does no harm
		})
	}
}

// TestDelayClientGone lets the client give up during a delay.
func TestDelayClientGone(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault faultproxy.Fault
		want  int
	}{
		{"early", faultproxy.Delay(time.Hour), 0},
		{"late", faultproxy.Delay(2 * time.Second).Late(), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up := newStore(t)
			p := faultproxy.New(t, up.URL)
			p.Add(faultproxy.Rule{Fault: tt.fault})
			ctx, cancel := context.WithCancel(t.Context())
			answers := startPut(t, ctx, p)
			for len(p.Requests()) == 0 {
				time.Sleep(time.Millisecond)
			}
			cancel()
			if a := <-answers; !errors.Is(a.err, context.Canceled) {
				t.Errorf("the client got %v", a)
			}
			within(t, p.Idle(), "the end of the request")
			if got := len(up.applied()); got != tt.want {
				t.Errorf("applied %d times, want %d", got, tt.want)
			}
		})
	}
}

func TestCloseDuringUpload(t *testing.T) {
	p, err := faultproxy.Start(newStore(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	conn := dialProxy(t, p)
	conn.Write([]byte("PUT /key HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"))
	for len(p.Requests()) == 0 || last(t, p).Length == 0 {
		time.Sleep(time.Millisecond)
	}
	start := time.Now()
	p.Close()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("Close took %v", took)
	}
}

// TestCloseWaits has a middleware that takes its time over the end.
func TestCloseWaits(t *testing.T) {
	p, err := faultproxy.Start(newStore(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	var began, ended = make(chan struct{}), false
	p.Use(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		close(began)
		<-r.Context().Done()
		time.Sleep(50 * time.Millisecond)
		ended = true
	})
	answers := startPut(t, t.Context(), p)
	within(t, began, "the request")
	p.Close()
	if !ended {
		t.Error("Close did not wait")
	}
	<-answers
}

// TestServerHangs has a server that answers nobody: it must see that the client,
// or the proxy, is gone.
func TestServerHangs(t *testing.T) {
	for _, name := range []string{"client gone", "proxy closed"} {
		t.Run(name, func(t *testing.T) {
			began, ended := make(chan struct{}), make(chan struct{})
			up := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				close(began)
				<-r.Context().Done()
				close(ended)
			}))
			defer up.Close()
			p, err := faultproxy.Start(up.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			answers := startPut(t, ctx, p)
			within(t, began, "the request")
			if name == "client gone" {
				cancel()
			} else {
				p.Close()
			}
			within(t, ended, "the end at the server")
			within(t, p.Idle(), "the end in the proxy")
			if a := <-answers; a.err == nil {
				t.Errorf("the client got %v", a)
			}
		})
	}
}
