package faultproxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httputil"
	"reflect"
	"time"
)

// patience is how long is waited for what the other side need not do: a server to
// answer 100 Continue, and a client to send the rest of a body after the reply.
var patience = time.Second

// forward sends r to the server, once, and passes its reply on to w.
func (x *exchange) forward(w http.ResponseWriter, r *http.Request) {
	conn, err := x.p.dial(r.Context())
	if err != nil {
		x.fail(err)
	}
	x.note(func(q *Request) { q.Sent++ })
	defer conn.Close()
	defer context.AfterFunc(r.Context(), func() { conn.Close() })()

	proceed, answered, sent := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sent)
		if x.send(conn, r, proceed, answered) != nil {
			conn.CloseWrite() // the server waits for no more; its reply may still come
		}
	}()
	resp, err := readReply(bufio.NewReader(conn), r, proceed)
	close(answered)
	if err != nil {
		x.finish(conn, sent, 0)
		x.fail(err)
	}
	x.finish(conn, sent, patience)
	if err := relay(w, resp); err != nil {
		x.fail(err)
	}
}

// finish waits for the end of send, and sees to it. The HTTP server writes no reply
// while somebody reads the body of the request.
func (x *exchange) finish(conn duplex, sent <-chan struct{}, patience time.Duration) {
	select {
	case <-sent:
		return
	case <-time.After(patience):
	}
	past := time.Unix(1, 0)
	x.conn.SetReadDeadline(past)
	conn.SetWriteDeadline(past)
	<-sent
}

// send writes the request: its head, and its body when the client may send it.
func (x *exchange) send(conn io.Writer, r *http.Request, proceed, answered <-chan struct{}) error {
	if _, err := conn.Write(x.headOf(r)); err != nil {
		return err
	}
	if r.Header.Get("Expect") != "" {
		select {
		case <-proceed:
		case <-time.After(patience):
		case <-answered: // without having asked for the body
			return nil
		}
	}
	if r.ContentLength >= 0 {
		_, err := io.Copy(conn, r.Body)
		return err
	}
	chunks := httputil.NewChunkedWriter(conn)
	if _, err := io.Copy(chunks, r.Body); err != nil {
		return err
	}
	chunks.Close()
	x.in.Trailer.Write(conn)
	_, err := io.WriteString(conn, "\r\n")
	return err
}

// headOf returns the head of r: the client's own bytes, unless r was changed.
func (x *exchange) headOf(r *http.Request) []byte {
	in := x.in
	moved := r.URL.String() != in.URL.String()
	if x.head != nil && !moved && r.Method == in.Method && r.Host == in.Host &&
		r.ContentLength == in.ContentLength && reflect.DeepEqual(r.Header, in.Header) {
		return x.head
	}
	uri := in.RequestURI
	if moved {
		uri = r.URL.RequestURI()
	}
	return compose(r, uri)
}

func compose(r *http.Request, uri string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, uri, r.Host)
	switch {
	case r.ContentLength < 0:
		b.WriteString("Transfer-Encoding: chunked\r\n")
	case r.ContentLength > 0 || r.Header.Get("Content-Length") != "":
		fmt.Fprintf(&b, "Content-Length: %d\r\n", r.ContentLength)
	}
	r.Header.WriteSubset(&b, map[string]bool{"Host": true, "Content-Length": true, "Transfer-Encoding": true})
	b.WriteString("\r\n")
	return b.Bytes()
}

// readReply returns the final reply, and closes proceed at 100 Continue.
func readReply(br *bufio.Reader, r *http.Request, proceed chan struct{}) (*http.Response, error) {
	for continued := false; ; {
		resp, err := http.ReadResponse(br, r)
		switch {
		case err != nil || resp.StatusCode >= 200:
			return resp, err
		case resp.StatusCode == http.StatusContinue && !continued:
			continued = true
			close(proceed)
		}
	}
}

// relay passes a reply on, framed as it came, each piece at once.
func relay(w http.ResponseWriter, resp *http.Response) error {
	h := w.Header()
	maps.Copy(h, resp.Header)
	for _, k := range []string{"Date", "Content-Type"} {
		if _, ok := h[k]; !ok {
			h[k] = nil // keeps the HTTP server from adding its own
		}
	}
	for k := range resp.Trailer {
		h.Add("Trailer", k)
	}
	w.WriteHeader(resp.StatusCode)
	flusher := http.NewResponseController(w)
	if resp.ContentLength != 0 {
		flusher.Flush() // else the HTTP server gives a short reply a length
	}
	if _, err := io.Copy(flushed{w, flusher}, resp.Body); err != nil {
		return err
	}
	for k, v := range resp.Trailer {
		h[http.TrailerPrefix+k] = v
	}
	return nil
}

type flushed struct {
	io.Writer
	*http.ResponseController
}

func (f flushed) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	f.Flush()
	return n, err
}
