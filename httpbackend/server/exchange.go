package server

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/internal/wire"
	"github.com/statelatch/statelatch/lock"
)

// An exchange is a request and its reply.
type exchange struct {
	*Server
	w         http.ResponseWriter
	r         *http.Request
	query     url.Values
	id        string // of the request
	number    uint64 // of the request, in the order in which they arrive
	user      string
	workspace string
	data      []byte // the body, where one is of use
	status    int    // that was sent
	received  int64  // bytes of body
	sent      int64
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{Server: s, w: w, r: r, id: rand.Text(), number: s.arrivals.next()}
	start := time.Now()
	if r.ContentLength != 0 { // net/http waits for what of a body was not read, before it replies
		_ = http.NewResponseController(w).SetReadDeadline(start.Add(s.opts.BodyTimeout))
	}
	for name, value := range map[string]string{
		wire.Protocol:            wire.Version,
		"X-Request-Id":           x.id,
		"Cache-Control":          "no-store", // states hold secrets
		"X-Content-Type-Options": "nosniff",
	} {
		w.Header().Set(name, value)
	}
	err := x.serve()
	if err != nil {
		x.refuse(err)
	}
	x.log(err, time.Since(start))
}

// serve does what the request asks for, if its sender may.
func (x *exchange) serve() (err error) {
	if x.user, err = x.opts.Auth(x.r); err != nil {
		return &refusal{http.StatusUnauthorized, nil, "who are you?", err}
	}
	name, err := workspaceOf(x.r.URL)
	if err != nil {
		return err
	}
	if x.query, err = url.ParseQuery(x.r.URL.RawQuery); err != nil {
		return invalid("the query is malformed")
	}
	x.workspace = name
	action, handle := x.route()
	if handle == nil {
		x.w.Header().Set("Allow", allowed(name))
		return &refusal{http.StatusMethodNotAllowed, nil, "there is no such method here", nil}
	}
	if x.opts.Authorize != nil && !x.opts.Authorize(x.user, action, name) {
		return &refusal{http.StatusForbidden, backend.ErrPermission, "you may not " + string(action) + " here", nil}
	}
	if err := x.receive(); err != nil {
		return err
	}
	ctx, cancel := x.context(action)
	defer cancel()
	return handle(ctx)
}

// receive receives the body of a request that has one.
func (x *exchange) receive() (err error) {
	switch x.r.Method {
	case http.MethodPost, http.MethodPut:
		x.data, err = x.body(x.opts.MaxSize)
	case "LOCK", "UNLOCK":
		x.data, err = x.body(lock.MaxInfo)
	}
	return err
}

// route finds what there is to do.
func (x *exchange) route() (Action, func(context.Context) error) {
	reads := x.r.Method == http.MethodGet || x.r.Method == http.MethodHead
	switch {
	case x.workspace == "" && reads:
		return List, x.list
	case x.workspace == "":
		return "", nil
	case reads && x.query.Has(wire.Lock):
		return Lock, x.holder
	case x.r.Method == http.MethodGet:
		return Read, x.get
	case x.r.Method == http.MethodHead:
		return Read, x.stat
	}
	switch x.r.Method {
	case http.MethodPost, http.MethodPut:
		return Write, x.put
	case http.MethodDelete:
		return Write, x.delete
	case "LOCK":
		return Lock, x.lock
	case "UNLOCK":
		return Lock, x.unlock
	}
	return "", nil
}

func allowed(workspace string) string {
	if workspace == "" {
		return "GET, HEAD"
	}
	return "GET, HEAD, POST, PUT, DELETE, LOCK, UNLOCK"
}

// workspaceOf returns the workspace that a URL names: all of its path. It is "" for the
// path /, which is the list of all.
func workspaceOf(u *url.URL) (string, error) {
	path, ok := strings.CutPrefix(u.EscapedPath(), "/")
	if !ok && path != "" {
		return "", invalid("the path does not begin with a slash")
	}
	name, err := url.PathUnescape(path)
	if err != nil {
		return "", invalid("the path is malformed")
	}
	if name == "" {
		return "", nil
	}
	if err := backend.CheckWorkspace(name); err != nil { // no slash passes, escaped or not
		return "", &refusal{http.StatusBadRequest, backend.ErrInvalidName, "the path is / and the name of a workspace, and no more", nil}
	}
	return name, nil
}

// context is that of the work on the Backend. What only reads ends with its client; a
// change goes on without, so that no client that went away leaves it in doubt.
func (x *exchange) context(action Action) (context.Context, context.CancelFunc) {
	ctx := x.r.Context()
	if action == Write || action == Lock {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, x.opts.Timeout)
	stop := context.AfterFunc(x.killed, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}
