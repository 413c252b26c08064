package faultproxy_test

import (
	"errors"
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/statelatch/statelatch/internal/faultproxy"
)

// TestFaults applies each fault to the second of three requests, and looks at it
// from the client, from the server and in the record.
func TestFaults(t *testing.T) {
	const wait = 30 * time.Millisecond
	nothing := func(*http.Request) {}
	own := faultproxy.Reply{Status: 503, Header: http.Header{"retry-after": {"1"}}, Body: "slow down"}
	type record = faultproxy.Request
	for _, tt := range []struct {
		fault    faultproxy.Fault
		status   int
		body     string
		err      error
		applied  int
		atLeast  time.Duration
		recorded record
	}{
		{fault: faultproxy.Delay(wait), status: 201, body: "applied 2", applied: 1, atLeast: wait,
			recorded: record{Fault: "delay", Length: 4, Sent: 1, Server: 201, Status: 201}},
		{fault: faultproxy.DelayReply(wait), status: 201, body: "applied 2", applied: 1, atLeast: wait,
			recorded: record{Fault: "delay reply", Length: 4, Sent: 1, Server: 201, Status: 201}},
		{fault: faultproxy.Refuse(), err: syscall.ECONNRESET,
			recorded: record{Fault: "refuse"}},
		{fault: faultproxy.CutBefore(), err: io.EOF,
			recorded: record{Fault: "cut before", Length: 4}},
		{fault: faultproxy.CutBefore().Reset(), err: syscall.ECONNRESET,
			recorded: record{Fault: "cut before", Length: 4}},
		{fault: faultproxy.CutAfter(), err: io.EOF, applied: 1,
			recorded: record{Fault: "cut after", Length: 4, Sent: 1, Server: 201}},
		{fault: faultproxy.CutAfter().Reset(), err: syscall.ECONNRESET, applied: 1,
			recorded: record{Fault: "cut after", Length: 4, Sent: 1, Server: 201}},
		{fault: faultproxy.Truncate(3), status: 201, body: "app", err: io.ErrUnexpectedEOF, applied: 1,
			recorded: record{Fault: "truncate", Length: 4, Sent: 1, Server: 201, Status: 201}},
		{fault: faultproxy.Truncate(0), status: 201, body: "", err: io.ErrUnexpectedEOF, applied: 1,
			recorded: record{Fault: "truncate", Length: 4, Sent: 1, Server: 201, Status: 201}},
		{fault: faultproxy.Truncate(1000), status: 201, body: "applied ", err: io.ErrUnexpectedEOF, applied: 1,
			recorded: record{Fault: "truncate", Length: 4, Sent: 1, Server: 201, Status: 201}},
		{fault: faultproxy.Answer(own), status: 503, body: "slow down",
			recorded: record{Fault: "answer 503", Length: 4, Status: 503}},
		{fault: faultproxy.Answer(faultproxy.Reply{}), status: 200,
			recorded: record{Fault: "answer 0", Length: 4, Status: 200}},
		{fault: faultproxy.Answer(faultproxy.Throttled(7)), status: 429,
			recorded: record{Fault: "answer 429", Length: 4, Status: 429}},
		{fault: faultproxy.AnswerAfter(own), status: 503, body: "slow down", applied: 1,
			recorded: record{Fault: "answer 503 after", Length: 4, Sent: 1, Server: 201, Status: 503}},
		{fault: faultproxy.Duplicate(1), status: 201, body: "applied 2", applied: 2,
			recorded: record{Fault: "duplicate", Length: 4, Sent: 2, Server: 201, Status: 201}},
		{fault: faultproxy.Duplicate(2), status: 201, body: "applied 3", applied: 2,
			recorded: record{Fault: "duplicate", Length: 4, Sent: 2, Server: 201, Status: 201}},
		{fault: faultproxy.Before(nothing), status: 201, body: "applied 2", applied: 1,
			recorded: record{Fault: "before", Length: 4, Sent: 1, Server: 201, Status: 201}},
		{fault: faultproxy.After(nothing), status: 201, body: "applied 2", applied: 1,
			recorded: record{Fault: "after", Length: 4, Sent: 1, Server: 201, Status: 201}},
		{fault: faultproxy.Fault{}, status: 201, body: "applied 2", applied: 1,
			recorded: record{Length: 4, Sent: 1, Server: 201, Status: 201}},
	} {
		t.Run(tt.recorded.Fault, func(t *testing.T) {
			up := newStore(t)
			p := faultproxy.New(t, up.URL)
			p.Add(faultproxy.Rule{Match: faultproxy.Method("PUT"), Nth: 2, Fault: tt.fault})
			c := newClient(t)
			if a := put(t, c, p); a.err != nil {
				t.Fatal(a)
			}
			start := time.Now()
			a := put(t, c, p)
			took := time.Since(start)
			if a.status != tt.status || a.body != tt.body || !errors.Is(a.err, tt.err) {
				t.Errorf("the client got %v, want %d %q and %v", a, tt.status, tt.body, tt.err)
			}
			if took < tt.atLeast {
				t.Errorf("it took %v, want at least %v", took, tt.atLeast)
			}
			if got := len(up.applied()); got != 1+tt.applied {
				t.Errorf("the server applied it %d times, want %d", got-1, tt.applied)
			}
			tt.recorded.Method, tt.recorded.Path = "PUT", "/key"
			opts := cmpopts.IgnoreFields(record{}, "Host", "Header", "Start", "End")
			rec := p.Requests()[1]
			if diff := cmp.Diff(tt.recorded, rec, opts); diff != "" {
				t.Errorf("-want +recorded:\n%s", diff)
			}
			if d := rec.End.Sub(rec.Start); d < tt.atLeast || d > took {
				t.Errorf("recorded %v, the client measured %v", d, took)
			}
			if a := put(t, c, p); a.err != nil || a.status != 201 {
				t.Errorf("the request after it: %v", a)
			}
		})
	}
}

func TestAnswerHeaders(t *testing.T) {
	p := faultproxy.New(t, newStore(t).URL)
	p.Add(faultproxy.Rule{Fault: faultproxy.Answer(faultproxy.Throttled(7))})
	if got := put(t, newClient(t), p).header.Get("Retry-After"); got != "7" {
		t.Errorf("Retry-After: %q, want 7", got)
	}
}

// TestInBetween acts on the server while a request is on its way, and while its
// reply is.
func TestInBetween(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault func(func(*http.Request)) faultproxy.Fault
		want  []string
	}{
		{"before", faultproxy.Before, []string{"DELETE /other ", "PUT /key data"}},
		{"after", faultproxy.After, []string{"PUT /key data", "DELETE /other "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up := newStore(t)
			p := faultproxy.New(t, up.URL)
			c := newClient(t)
			p.Add(faultproxy.Rule{Match: faultproxy.Method("PUT"), Fault: tt.fault(func(*http.Request) {
				do(t, c, "DELETE", p.URL()+"/other", "")
			})})
			if a := put(t, c, p); a.status != 201 {
				t.Fatal(a)
			}
			if diff := cmp.Diff(tt.want, up.applied()); diff != "" {
				t.Errorf("-want +applied:\n%s", diff)
			}
		})
	}
}

// TestCutTLS cuts connections with TLS on both sides.
func TestCutTLS(t *testing.T) {
	cert := testCert(t)
	up := newWire(t, &cert, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	p := faultproxy.New(t, up.url, faultproxy.WithRootCAs(testCA(t)), faultproxy.WithCertificate(cert))
	p.Add(faultproxy.Rule{Times: 2, Fault: faultproxy.CutAfter()})
	a := put(t, newClient(t), p)
	if !errors.Is(a.err, io.EOF) && !errors.Is(a.err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want an EOF", a)
	}
	if got := last(t, p); got.Server != 200 || got.Status != 0 {
		t.Errorf("recorded %+v", got)
	}
}
