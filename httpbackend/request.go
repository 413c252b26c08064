package httpbackend

import (
	"context"
	"crypto/md5" // the protocol's own checksum
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/internal/wire"
	"github.com/statelatch/statelatch/internal/limit"
	"github.com/statelatch/statelatch/internal/settle"
	"github.com/statelatch/statelatch/lock"
)

// A call is one call of one of the Backend's methods.
type call struct {
	op        string
	workspace string
	place     string // what it is about, without secrets
	changes   bool   // the requests at hand may change something
	attempt   int    // of the request at hand, from 1
	backend   *Backend
}

// A request is what is sent.
type request struct {
	method string
	url    *url.URL
	query  url.Values // added to that of url
	header http.Header
	body   []byte
	limit  int64 // of the reply's body, in bytes
}

// A reply is what came back, to the end.
type reply struct {
	status int
	header http.Header
	body   []byte // up to limit+1 bytes
	length int64  // of the body, as announced or as read
	ours   bool   // it is from a server of this module
}

func (r *reply) ok() bool { return r.status/100 == 2 }

// Kinds of server.
const (
	unknownServer = iota
	ourServer
	plainServer
)

func (b *Backend) isOurs() bool { return b.server.Load() == ourServer }

// attempts lets package settle make a request as often as is configured.
func attempts[T any](ctx context.Context, c call, try func(context.Context, call) (T, error), r settle.Request[T]) (T, error) {
	r.Attempts = *c.backend.config.RetryMax + 1
	r.Try = func(ctx context.Context) (T, error) {
		c.attempt++
		return try(ctx, c)
	}
	return settle.Do(ctx, r)
}

// again is how to look after a request that our server knows again, or that has a
// condition of its own: it is made again.
func again[T any](context.Context) (none T, found settle.Found, err error) {
	return none, settle.Before, nil
}

// send makes a request once, and reads the reply. The error is that of the wire; a
// refusal is a reply.
func (b *Backend) send(ctx context.Context, c call, q request) (*reply, error) {
	r, err := b.newRequest(ctx, q)
	if err != nil { // its method is none
		return nil, c.failed(backend.ErrInvalid, err)
	}
	if q.body != nil {
		p := &payload{data: q.body}
		defer p.close()
		r.ContentLength = int64(len(q.body))
		r.GetBody = func() (io.ReadCloser, error) { return &reading{payload: p}, nil }
		r.Body = &reading{payload: p}
	}
	answer, err := b.client.Do(r)
	if err != nil {
		return nil, c.wireError(ctx, err)
	}
	defer answer.Body.Close()
	got := &reply{
		status: answer.StatusCode,
		header: answer.Header,
		length: answer.ContentLength,
		ours:   answer.Header.Get(wire.Protocol) == wire.Version,
	}
	b.learn(got)
	if b.isOurs() && !got.ours && got.tells() {
		return nil, c.wireError(ctx, fmt.Errorf("%d is not the server's answer, but that of something on the way to it", got.status))
	}
	if most := got.limit(q); got.length <= most {
		got.body, err = limit.ReadAll(answer.Body, got.length, most)
		got.length = max(got.length, int64(len(got.body)))
	}
	if err != nil {
		return nil, c.wireError(ctx, err)
	}
	return got, nil
}

// limit is how much of the body is of interest.
func (r *reply) limit(q request) int64 {
	switch {
	case r.ok():
		return q.limit
	case r.status == http.StatusConflict || r.status == http.StatusLocked:
		return lock.MaxInfo
	}
	return 4 << 10
}

// learn finds out with what kind of server it has to do. What is once known for ours
// stays it.
func (b *Backend) learn(r *reply) {
	if r.ours {
		b.server.Store(ourServer)
	} else if r.ok() {
		b.server.CompareAndSwap(unknownServer, plainServer)
	}
}

// tells reports whether a reply tells what only the server knows: that it was done, that
// there is nothing, or that something else is there. A proxy's page to log in does.
func (r *reply) tells() bool {
	switch r.status {
	case http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed, http.StatusLocked:
		return true
	}
	return r.ok()
}

func (b *Backend) newRequest(ctx context.Context, q request) (*http.Request, error) {
	u := *q.url
	if len(q.query) > 0 {
		all := u.Query()
		maps.Copy(all, q.query)
		u.RawQuery = all.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, q.method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for name, value := range b.config.Headers {
		r.Header.Set(name, string(value))
	}
	maps.Copy(r.Header, q.header)
	r.Header.Set("Accept-Encoding", "identity") // ETags of compressed replies name something else
	if q.body != nil {
		sum := md5.Sum(q.body)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	}
	if b.config.Username != "" {
		r.SetBasicAuth(b.config.Username, string(b.config.Password))
	}
	return r, nil
}
