package faultproxy

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// A Fault is what happens to a request instead of its being passed on. "The
// server" is the middleware and the upstream behind it.
type Fault struct {
	name  string
	run   func(*exchange)
	draw  func() Fault // gives the fault of one request, in place of run
	reset bool
	late  bool
}

// Reset makes the connection end with a TCP reset where the fault cuts it in an
// orderly way (CutBefore, CutAfter, Truncate).
func (f Fault) Reset() Fault {
	f.reset = true
	return f
}

// Late makes a fault that holds a request before the server sees it (Delay, Hang)
// pass it on even if the client has gone away meanwhile, though not after Close.
func (f Fault) Late() Fault {
	f.late = true
	return f
}

// Delay waits before the server sees the request, whose body it keeps in memory.
// If the client goes away meanwhile, the server never sees it; but see Late.
func Delay(d time.Duration) Fault {
	return Fault{name: "delay", run: func(x *exchange) {
		x.keep()
		x.sleep(d)
		x.serve(x.w)
	}}
}

// DelayReply waits between the server's reply and its first byte to the client.
func DelayReply(d time.Duration) Fault {
	return Fault{name: "delay reply", run: func(x *exchange) {
		x.serve(&hooked{ResponseWriter: x.w, hook: func(int) { x.sleep(d) }})
	}}
}

// Hang holds the request before the server sees it until Release, and keeps its
// body in memory. If the client goes away meanwhile, the server never sees it;
// but see Late.
func Hang() Fault {
	return Fault{name: "hang", run: func(x *exchange) {
		x.keep()
		x.hold()
		x.serve(x.w)
	}}
}

// HangAfter holds the server's reply, before its first byte, until Release.
func HangAfter() Fault {
	return Fault{name: "hang after", run: func(x *exchange) {
		x.serve(&hooked{ResponseWriter: x.w, hook: func(int) { x.hold() }})
	}}
}

// Refuse resets the connection when the head of the request is read.
func Refuse() Fault {
	return Fault{name: "refuse", run: func(x *exchange) { x.sever(true) }}
}

// CutBefore reads the request and closes the connection. The server sees nothing.
func CutBefore() Fault {
	return Fault{name: "cut before", run: func(x *exchange) {
		x.drain()
		x.sever(x.fault.reset)
	}}
}

// CutAfter has the server apply the request, reads its reply to the end, and
// closes the connection without passing on a byte of it.
func CutAfter() Fault {
	return Fault{name: "cut after", run: func(x *exchange) {
		x.serve(discard{})
		x.sever(x.fault.reset)
	}}
}

// Truncate passes on the head and n bytes of the body of the server's reply, and
// then closes the connection. A body of n bytes or less loses its last one; an
// empty one of a known length arrives whole.
func Truncate(n int64) Fault {
	return Fault{name: "truncate", run: func(x *exchange) {
		x.serve(&truncated{ResponseWriter: x.w, left: n})
		http.NewResponseController(x.w).Flush()
		x.sever(x.fault.reset)
	}}
}

// A Reply is an answer that the proxy gives in place of the server's.
type Reply struct {
	Status int // 0 = 200
	Header http.Header
	Body   string
}

// Throttled is the reply 429 with a Retry-After of so many seconds.
func Throttled(seconds int) Reply {
	return Reply{
		Status: http.StatusTooManyRequests,
		Header: http.Header{"Retry-After": {strconv.Itoa(seconds)}},
	}
}

// Answer gives a reply. The server sees nothing.
func Answer(reply Reply) Fault {
	return Fault{name: fmt.Sprintf("answer %d", reply.Status), run: func(x *exchange) {
		if x.in.Header.Get("Expect") == "" {
			x.drain() // else some clients see a broken connection, not the reply
		}
		reply.send(x.w)
	}}
}

// AnswerAfter has the server apply the request, and gives a reply in place of its.
func AnswerAfter(reply Reply) Fault {
	return Fault{name: fmt.Sprintf("answer %d after", reply.Status), run: func(x *exchange) {
		x.serve(discard{})
		reply.send(x.w)
	}}
}

func (r Reply) send(w http.ResponseWriter) {
	for k, v := range r.Header {
		w.Header()[http.CanonicalHeaderKey(k)] = v
	}
	w.WriteHeader(cmp.Or(r.Status, http.StatusOK))
	io.WriteString(w, r.Body)
}

// Duplicate delivers the request twice, one after the other, and then passes on
// the first reply or the second. It keeps the request's body in memory.
func Duplicate(reply int) Fault {
	return Fault{name: "duplicate", run: func(x *exchange) {
		x.keep()
		if reply == 1 {
			x.serve(&hooked{ResponseWriter: x.w, hook: func(int) { x.serve(discard{}) }})
			return
		}
		x.serve(discard{})
		x.serve(x.w)
	}}
}

// Before calls f before the server sees the request, for what happens in between.
// f may change the request's head, and returns when its context ends.
func Before(f func(*http.Request)) Fault {
	return Fault{name: "before", run: func(x *exchange) {
		f(x.r)
		x.serve(x.w)
	}}
}

// After calls f between the server's reply and its first byte to the client. f
// returns when the request's context ends.
func After(f func(*http.Request)) Fault {
	return Fault{name: "after", run: func(x *exchange) {
		x.serve(&hooked{ResponseWriter: x.w, hook: func(int) { f(x.r) }})
	}}
}

// A Chance is a fault and its probability, from 0 to 1.
type Chance struct {
	P     float64
	Fault Fault
}

// Chaos applies one of several faults to a request, or none, as the seed has it.
// The probabilities add up to 1 at most. Its rule will want Times: Always.
func Chaos(seed uint64, chances ...Chance) Fault {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0))
	return Fault{draw: func() Fault {
		mu.Lock()
		defer mu.Unlock()
		x := random.Float64()
		for _, c := range chances {
			if x < c.P {
				return c.Fault
			}
			x -= c.P
		}
		return Fault{}
	}}
}

// sleep waits, or gives up when the client goes away or the proxy is closed.
func (x *exchange) sleep(d time.Duration) {
	ctx, cancel := context.WithTimeout(x.r.Context(), d)
	defer cancel()
	<-ctx.Done()
	if err := x.r.Context().Err(); err != nil {
		x.fail(err)
	}
}

// hold waits for Release, or gives up likewise.
func (x *exchange) hold() {
	x.h.reach()
	select {
	case <-x.h.released:
	case <-x.r.Context().Done():
		x.fail(x.r.Context().Err())
	}
}
