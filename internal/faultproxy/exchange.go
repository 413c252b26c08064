package faultproxy

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"time"
)

// An exchange is one request on its way.
type exchange struct {
	p     *Proxy
	conn  *clientConn
	in    *http.Request       // as it came; never changed
	head  []byte              // its head on the wire, nil if that is unknown
	r     *http.Request       // what the server is to see
	w     http.ResponseWriter // to the client
	body  []byte              // of the request, after keep
	kept  bool
	rec   *Request // guarded by p.mu
	h     *Handle  // the rule that applies, or nil
	fault Fault
}

func (p *Proxy) handle(w http.ResponseWriter, in *http.Request) {
	x := &exchange{p: p, in: in, rec: record(in)}
	x.conn = in.Context().Value(connKey{}).(*clientConn)
	x.head = x.conn.head(in.Method + " " + in.RequestURI + " ")
	x.r = in.Clone(in.Context())
	x.r.Body = counted{in.Body, x}
	x.w = &hooked{ResponseWriter: w, hook: func(code int) {
		x.note(func(q *Request) { q.Status, q.End = code, time.Now() })
	}}
	if !p.enter(x.rec) {
		panic(http.ErrAbortHandler)
	}
	defer p.leave()
	x.h, x.fault = p.choose(x.r)
	if x.h == nil {
		x.serve(x.w)
		return
	}
	defer x.h.reach()
	x.note(func(q *Request) { q.Fault = x.fault.name })
	if x.fault.late {
		x.r = x.r.WithContext(p.ctx)
	}
	x.fault.run(x)
}

// note writes into the record.
func (x *exchange) note(f func(*Request)) {
	x.p.mu.Lock()
	defer x.p.mu.Unlock()
	f(x.rec)
}

// serve has the server answer the request to w. After keep it may be called again.
func (x *exchange) serve(w http.ResponseWriter) {
	r := x.r.Clone(x.r.Context())
	if x.kept {
		r.Body = io.NopCloser(bytes.NewReader(x.body))
	}
	seen := &hooked{ResponseWriter: w, hook: func(code int) {
		x.note(func(q *Request) { q.Server = code })
	}}
	x.p.behind(http.HandlerFunc(x.forward)).ServeHTTP(seen, r)
	seen.WriteHeader(http.StatusOK) // in case that a middleware wrote nothing
}

// keep reads the request's body into memory. Only then does the HTTP server
// notice that the client goes away.
func (x *exchange) keep() {
	body, err := io.ReadAll(x.r.Body)
	if err != nil {
		x.fail(err)
	}
	x.body, x.kept = body, true
}

// drain reads the request's body and drops it.
func (x *exchange) drain() {
	if _, err := io.Copy(io.Discard, x.r.Body); err != nil {
		x.fail(err)
	}
}

// fail ends an exchange that broke off.
func (x *exchange) fail(err error) {
	x.note(func(q *Request) { q.Err = err.Error() })
	x.sever(false)
}

// sever cuts the client's connection and ends the goroutine's work on the request.
func (x *exchange) sever(reset bool) {
	x.note(func(q *Request) {
		if q.End.IsZero() {
			q.End = time.Now()
		}
	})
	x.conn.sever(reset)
	panic(http.ErrAbortHandler) // net/http's way out of a reply that will not be finished
}

// counted is a request body that is recorded as it is read.
type counted struct {
	io.ReadCloser
	x *exchange
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.x.note(func(q *Request) {
		q.Length += int64(n)
		if c.x.p.keepBody {
			q.Body = append(q.Body, p[:n]...)
		}
	})
	return n, err
}

// hooked calls hook with the status before the head of a reply is passed on.
type hooked struct {
	http.ResponseWriter
	hook func(status int)
	done bool
}

func (w *hooked) WriteHeader(status int) {
	if w.done {
		return
	}
	w.done = true
	w.hook(status)
	w.ResponseWriter.WriteHeader(status)
}

func (w *hooked) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

func (w *hooked) Flush() {
	w.WriteHeader(http.StatusOK)
	http.NewResponseController(w.ResponseWriter).Flush()
}

// truncated passes on the first bytes of a reply and swallows the others.
type truncated struct {
	http.ResponseWriter
	left int64
}

func (w *truncated) WriteHeader(status int) {
	n, err := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64)
	if err == nil && n > 0 {
		w.left = min(w.left, n-1)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *truncated) Write(p []byte) (int, error) {
	n := min(int64(len(p)), w.left)
	w.left -= n
	if _, err := w.ResponseWriter.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *truncated) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// discard drops a reply.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) WriteHeader(int)             {}
func (discard) Write(p []byte) (int, error) { return len(p), nil }
