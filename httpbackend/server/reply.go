package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/internal/wire"
	"github.com/statelatch/statelatch/lock"
)

// A refusal is an error of this package, whose text the client may see.
type refusal struct {
	status int
	kind   error // nil if none fits
	text   string
	err    error // for the log; may be nil
}

func (e *refusal) Error() string {
	if e.err != nil {
		return e.text + ": " + e.err.Error()
	}
	return e.text
}

func (e *refusal) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.kind, e.err} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func invalid(text string) error {
	return &refusal{http.StatusBadRequest, backend.ErrInvalid, text, nil}
}

// refuse answers with an error. The text of one of the Backend's is for the log alone:
// it names buckets and hosts.
func (x *exchange) refuse(err error) {
	var held *lock.HeldError
	if errors.As(err, &held) {
		x.w.Header().Set(wire.Error, wire.Held)
		x.sendJSON(wire.HeldStatus, held.Holder)
		return
	}
	status, name, text := x.describe(err)
	if name != "" {
		x.w.Header().Set(wire.Error, name)
	}
	switch status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		x.w.Header().Set("Retry-After", "1")
	case http.StatusUnauthorized:
		x.w.Header()["Www-Authenticate"] = []string{`Basic realm="states"`, `Bearer realm="states"`}
	case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge:
		x.w.Header().Set("Connection", "close")
	}
	x.send(status, "text/plain; charset=utf-8", fmt.Appendf(nil, "%s (request %s)\n", text, x.id))
}

// describe finds what to tell the client of an error.
func (x *exchange) describe(err error) (status int, name, text string) {
	name, status, sentinel, ok := wire.Refusal(err)
	var own *refusal
	switch {
	case errors.As(err, &own):
		return own.status, name, own.text
	case ok && errors.Is(sentinel, lock.ErrNotHeld) && x.r.Method == http.MethodGet:
		return http.StatusNotFound, name, sentinel.Error()
	case ok:
		return status, name, sentinel.Error()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded): // before anything was changed
		name, status, sentinel, _ = wire.Refusal(backend.ErrTransient)
	default:
		name, status, sentinel, _ = wire.Refusal(backend.ErrUnknown)
	}
	return status, name, sentinel.Error()
}

func (x *exchange) sendJSON(status int, value any) {
	data, err := json.Marshal(value)
	if err != nil { // a lock record that is none
		x.log(err, 0)
		data = []byte("{}")
	}
	x.send(status, "application/json", data)
}

// send sends the reply. A client may take its time, but not stop taking.
func (x *exchange) send(status int, contentType string, body []byte) {
	x.w.Header().Set("Content-Type", contentType)
	x.w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	x.status = status
	control := http.NewResponseController(x.w)
	deadline := func(t time.Time) { _ = control.SetWriteDeadline(t) } // a writer that has none is a test's
	deadline(time.Now().Add(x.opts.BodyTimeout))
	x.w.WriteHeader(status)
	for part := range slices.Chunk(body, 256<<10) {
		if x.r.Method == http.MethodHead {
			break
		}
		deadline(time.Now().Add(x.opts.BodyTimeout))
		n, err := x.w.Write(part)
		if x.sent += int64(n); err != nil {
			return // the client has gone
		}
	}
	_ = control.Flush()
	deadline(time.Time{}) // the next request may be another handler's
}

// patience is how long it may take until more than so many bytes have arrived.
func (x *exchange) patience(size int64) time.Duration {
	const second = 16 << 10 // bytes
	return x.opts.BodyTimeout + time.Duration(size/second)*time.Second
}

// body receives the body of the request, of up to limit bytes.
func (x *exchange) body(limit int64) ([]byte, error) {
	tooLarge := &refusal{http.StatusRequestEntityTooLarge, backend.ErrTooLarge, fmt.Sprintf("at most %d bytes are taken", limit), nil}
	if x.r.ContentLength > limit {
		return nil, tooLarge
	}
	total := limit
	if x.r.ContentLength >= 0 {
		total = x.r.ContentLength
	}
	control, start := http.NewResponseController(x.w), time.Now()
	data := make([]byte, 0, min(total, 256<<10)+1)
	for {
		_ = control.SetReadDeadline(start.Add(x.patience(x.received)))
		n, err := x.r.Body.Read(data[len(data):cap(data)])
		x.received += int64(n)
		data = data[:len(data)+n]
		switch {
		case x.received > limit:
			return nil, tooLarge
		case errors.Is(err, io.EOF):
			_ = control.SetReadDeadline(time.Time{}) // it would end the context of the request
			return data, nil
		case err != nil:
			return nil, &refusal{http.StatusRequestTimeout, nil, "the body did not arrive", err}
		}
		if len(data) == cap(data) { // room costs a client as many bytes, whatever length it announced
			data = slices.Grow(data, int(min(total-x.received, x.received)+1))
		}
	}
}

// log writes the access log. It holds no query and no header: both may be secret.
func (x *exchange) log(err error, took time.Duration) {
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("id", x.id), slog.String("method", x.r.Method), slog.String("workspace", x.workspace),
		slog.String("user", x.user), slog.String("remote", x.r.RemoteAddr), slog.Int("status", x.status),
		slog.Int64("received", x.received), slog.Int64("sent", x.sent), slog.Duration("took", took),
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
		if x.status >= http.StatusInternalServerError {
			level = slog.LevelError
		}
	}
	x.opts.Log.LogAttrs(context.WithoutCancel(x.r.Context()), level, "request", attrs...)
}
