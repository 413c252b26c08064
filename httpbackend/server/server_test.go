package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/server"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/memory"
)

// record is what Terraform 1.11 sends to lock.
const record = `{"ID":"dc4c687a-5615-ce7c-d91e-9dbb158dd054","Operation":"OperationTypeApply","Info":"","Who":"ann@laptop","Version":"1.11.4","Created":"2026-01-01T10:10:10.19910469Z","Path":""}`

const lockID = "dc4c687a-5615-ce7c-d91e-9dbb158dd054"

// TestTerraform plays one apply as Terraform's client sends it, and another's beside it.
func TestTerraform(t *testing.T) {
	store := memory.New()
	s := serve(t, store, server.Options{})
	other := strings.ReplaceAll(record, "dc4c", "beef")
	for i, step := range []struct {
		request
		status int
		body   string // its beginning
	}{
		{request{method: "GET", target: "/prod"}, 404, "no state exists"},
		{request{method: "LOCK", target: "/prod", body: record}, 200, `{"ID":"dc4c687a`},
		{request{method: "LOCK", target: "/prod", body: record}, 200, `{"ID":"dc4c687a`}, // its reply was lost
		{request{method: "LOCK", target: "/prod", body: other}, 423, `{"ID":"dc4c687a`},
		{request{method: "LOCK", target: "/prod", body: strings.Replace(record, "ann", "bob", 1)}, 423, `{"ID":"dc4c687a`},
		{request{method: "POST", target: "/prod?ID=" + lockID, body: "one"}, 200, ""},
		{request{method: "POST", target: "/prod?ID=" + lockID, body: "two"}, 200, ""},
		{request{method: "POST", target: "/prod", body: "three"}, 423, `{"ID":"dc4c687a`},
		{request{method: "POST", target: "/prod?ID=beef", body: "three"}, 423, `{"ID":"dc4c687a`},
		{request{method: "DELETE", target: "/prod"}, 423, `{"ID":"dc4c687a`},
		{request{method: "GET", target: "/prod"}, 200, "two"},
		{request{method: "UNLOCK", target: "/prod", body: other}, 423, `{"ID":"dc4c687a`},
		{request{method: "UNLOCK", target: "/prod"}, 400, "the request names no lock"}, // terraform force-unlock
		{request{method: "UNLOCK", target: "/prod", body: "{}"}, 400, "the request names no lock"},
		{request{method: "GET", target: "/prod?lock"}, 200, `{"ID":"dc4c687a`},
		{request{method: "UNLOCK", target: "/prod", body: `{"ID":"` + lockID + `"}`}, 200, ""}, // tofu force-unlock
		{request{method: "UNLOCK", target: "/prod", body: record}, 409, "the lock is not held"},
		{request{method: "GET", target: "/prod?lock"}, 404, "the lock is not held"},
		{request{method: "POST", target: "/prod?ID=" + lockID, body: "three"}, 409, "the lock is not held"},
		{request{method: "PUT", target: "/prod", body: "three"}, 200, ""}, // -lock=false
		{request{method: "LOCK", target: "/prod", body: record}, 200, `{"ID":"dc4c687a`},
		{request{method: "UNLOCK", target: "/prod?ID=" + lockID}, 200, ""},
		{request{method: "DELETE", target: "/prod"}, 200, ""},
		{request{method: "DELETE", target: "/prod"}, 404, "no state exists"},
	} {
		reply := step.to(s)
		if reply.Code != step.status || !strings.HasPrefix(reply.Body.String(), step.body) {
			t.Fatalf("step %d, %s %s: %d %s, want %d %s", i, step.method, step.target, reply.Code, reply.Body, step.status, step.body)
		}
	}
}

func TestEmptyUnlock(t *testing.T) {
	store := memory.New()
	s := serve(t, store, server.Options{EmptyUnlock: true})
	request{method: "LOCK", target: "/prod", body: record}.to(s)
	if reply := (request{method: "UNLOCK", target: "/prod", body: "{}"}).to(s); reply.Code != http.StatusBadRequest {
		t.Errorf("a record without an ID: %d", reply.Code)
	}
	if reply := (request{method: "UNLOCK", target: "/prod"}).to(s); reply.Code != http.StatusOK {
		t.Errorf("an empty body: %d %s", reply.Code, reply.Body)
	}
	if reply := (request{method: "UNLOCK", target: "/prod"}).to(s); reply.Code != http.StatusConflict {
		t.Errorf("an empty body where nobody holds the lock: %d %s", reply.Code, reply.Body)
	}
}

// TestRefusals has requests that must change nothing.
func TestRefusals(t *testing.T) {
	store := memory.New()
	if _, err := store.Write(t.Context(), "prod", []byte("one"), backend.Condition{}); err != nil {
		t.Fatal(err)
	}
	s := serve(t, store, server.Options{MaxSize: 1000})
	etag := (request{method: "HEAD", target: "/prod"}).to(s).Header().Get("ETag")
	header := func(name, value string) http.Header { return http.Header{name: {value}} }
	for _, c := range []struct {
		request
		status int
	}{
		{request{method: "PATCH", target: "/prod", body: "x"}, 405},
		{request{method: "TRACE", target: "/prod"}, 405},
		{request{method: "POST", target: "/", body: "x"}, 405},
		{request{method: "LOCK", target: "/", body: record}, 405},
		{request{method: "POST", target: "/prod/", body: "x"}, 400},
		{request{method: "POST", target: "/prod/x", body: "x"}, 400},
		{request{method: "POST", target: "//prod", body: "x"}, 400},
		{request{method: "POST", target: "/..", body: "x"}, 400},
		{request{method: "POST", target: "/.", body: "x"}, 400},
		{request{method: "POST", target: "/%2e%2e", body: "x"}, 400},
		{request{method: "POST", target: "/%2e%2e%2fprod", body: "x"}, 400},
		{request{method: "POST", target: "/..%2Fprod", body: "x"}, 400},
		{request{method: "POST", target: "/a%2Fprod", body: "x"}, 400},
		{request{method: "POST", target: "/a%5Cprod", body: "x"}, 400},
		{request{method: "POST", target: "/a%252fprod", body: "x"}, 400},
		{request{method: "POST", target: "/prod%00", body: "x"}, 400},
		{request{method: "POST", target: "/prod%0d%0aX-Evil:%201", body: "x"}, 400},
		{request{method: "POST", target: "/" + strings.Repeat("a", 201), body: "x"}, 400},
		{request{method: "POST", target: "/prod?ID=%zz", body: "x"}, 400},
		{request{method: "POST", target: "/prod"}, 400},
		{request{method: "POST", target: "/prod", body: strings.Repeat("x", 1001)}, 413},
		{request{method: "POST", target: "/prod", body: "x", header: header("Content-Md5", "rubbish")}, 400},
		{request{method: "POST", target: "/prod", body: "x", header: header("Content-Md5", "1B2M2Y8AsgTpgAmY7PhCfg==")}, 400},
		{request{method: "POST", target: "/prod", body: "x", header: header("If-None-Match", "*")}, 412},
		{request{method: "POST", target: "/prod", body: "x", header: header("If-None-Match", etag)}, 400},
		{request{method: "POST", target: "/prod", body: "x", header: header("If-Match", `"bm9uZQ"`)}, 412},
		{request{method: "POST", target: "/prod", body: "x", header: header("If-Match", `"*"`)}, 412},
		{request{method: "POST", target: "/prod", body: "x", header: header("If-Match", `"Kg"`)}, 412}, // * in base64
		{request{method: "POST", target: "/prod", body: "x", header: header("If-Match", "W/"+etag)}, 412},
		{request{method: "POST", target: "/prod", body: "x", header: header("If-Match", etag+", "+etag)}, 400},
		{request{method: "POST", target: "/prod", body: "x", header: http.Header{"If-Match": {etag}, "If-None-Match": {"*"}}}, 400},
		{request{method: "POST", target: "/new", body: "x", header: header("If-Match", "*")}, 412},
		{request{method: "DELETE", target: "/new", header: header("If-Match", etag)}, 404},
		{request{method: "DELETE", target: "/prod", header: header("If-None-Match", "*")}, 412},
		{request{method: "LOCK", target: "/prod"}, 400},
		{request{method: "LOCK", target: "/prod", body: "rubbish"}, 400},
		{request{method: "LOCK", target: "/prod", body: `{"Who":"nobody"}`}, 400},
		{request{method: "LOCK", target: "/prod", body: `{"ID":"` + strings.Repeat("x", lock.MaxInfo) + `"}`}, 413},
		{request{method: "LOCK", target: "/prod?renew&ID=x"}, 409},
		{request{method: "UNLOCK", target: "/prod", body: "rubbish"}, 400},
	} {
		reply := c.to(s)
		if reply.Code != c.status {
			t.Errorf("%s %.80s with %v: %d %s, want %d", c.method, c.target, c.header, reply.Code, reply.Body, c.status)
		}
		if reply.Header().Get("X-Evil") != "" {
			t.Error("a header was injected")
		}
	}
	if st, err := store.Read(t.Context(), "prod"); err != nil || string(st.Data) != "one" {
		t.Errorf("%s, %v", st.Data, err)
	}
	for name, err := range store.List(t.Context()) {
		if name != "prod" {
			t.Errorf("there is a state %q, %v", name, err)
		}
		if _, err := store.Holder(t.Context(), name); !errors.Is(err, lock.ErrNotHeld) {
			t.Error(err)
		}
	}
}

// TestConditions has those that hold.
func TestConditions(t *testing.T) {
	s := serve(t, memory.New(), server.Options{})
	put := func(body, name, value string) string {
		t.Helper()
		reply := request{method: "POST", target: "/prod", body: body, header: http.Header{name: {value}}}.to(s)
		if reply.Code != http.StatusOK {
			t.Fatalf("%s: %s: %d %s", name, value, reply.Code, reply.Body)
		}
		return reply.Header().Get("ETag")
	}
	first := put("one", "If-None-Match", "*")
	second := put("two", "If-Match", first)
	third := put("three", "If-Match", "*")
	get := request{method: "GET", target: "/prod", header: http.Header{"If-None-Match": {third}}}.to(s)
	if second == third || get.Code != http.StatusNotModified || get.Body.Len() > 0 {
		t.Errorf("GET: %d %s", get.Code, get.Body)
	}
	if reply := (request{method: "DELETE", target: "/prod", header: http.Header{"If-Match": {third}}}).to(s); reply.Code != http.StatusOK {
		t.Errorf("DELETE: %d", reply.Code)
	}
}

func TestAuth(t *testing.T) {
	if _, err := server.New(memory.New(), server.Options{}); err == nil || !strings.Contains(err.Error(), "Anonymous") {
		t.Errorf("without Auth: %v", err)
	}
	s := serve(t, memory.New(), server.Options{
		Auth: server.AnyOf(server.Basic(map[string]string{"ann": "secret", "empty": ""}), server.Bearer(map[string]string{"ci": "token", "none": ""}), server.ClientCertificate),
	})
	for authorization, status := range map[string]int{
		"":                             401,
		"Basic YW5uOnNlY3JldA==":       404, // ann:secret
		"Basic YW5uOnNlY3JldHM=":       401, // ann:secrets
		"Basic YW5uOg==":               401, // ann:
		"Basic Ym9iOnNlY3JldA==":       401, // bob:secret
		"Basic Og==":                   401,
		"Basic ZW1wdHk6":               401, // empty:
		"Basic rubbish":                401,
		"Bearer token":                 404,
		"bearer token":                 404,
		"Bearer tokens":                401,
		"Bearer ":                      401,
		"Bearer":                       401,
		"Digest username=\"ann\"":      401,
		"Basic YW5uOnNlY3JldA==\r\nX:": 401,
	} {
		for _, target := range []string{"/prod", "/a/b"} {
			reply := request{method: "GET", target: target, header: http.Header{"Authorization": {authorization}}}.to(s)
			want := status
			if status == 404 && target == "/a/b" {
				want = 400 // which those who are not let in do not learn
			}
			if reply.Code != want || status == 401 && len(reply.Header()["Www-Authenticate"]) == 0 {
				t.Errorf("Authorization %q, %s: %d %s", authorization, target, reply.Code, reply.Body)
			}
		}
	}
}

func TestAuthorize(t *testing.T) {
	type ask struct {
		user, workspace string
		action          server.Action
	}
	var asked ask
	allow := false
	s := serve(t, memory.New(), server.Options{
		Auth: func(*http.Request) (string, error) { return "ann", nil },
		Authorize: func(user string, action server.Action, workspace string) bool {
			asked = ask{user, workspace, action}
			return allow
		},
	})
	for _, c := range []struct {
		method, target string
		want           ask
	}{
		{"GET", "/", ask{"ann", "", server.List}},
		{"GET", "/prod", ask{"ann", "prod", server.Read}},
		{"HEAD", "/prod", ask{"ann", "prod", server.Read}},
		{"GET", "/prod?lock", ask{"ann", "prod", server.Lock}},
		{"POST", "/prod", ask{"ann", "prod", server.Write}},
		{"PUT", "/prod", ask{"ann", "prod", server.Write}},
		{"DELETE", "/prod", ask{"ann", "prod", server.Write}},
		{"LOCK", "/prod", ask{"ann", "prod", server.Lock}},
		{"LOCK", "/prod?renew", ask{"ann", "prod", server.Lock}},
		{"UNLOCK", "/prod", ask{"ann", "prod", server.Lock}},
	} {
		allow, asked = false, ask{}
		reply := request{method: c.method, target: c.target, body: record}.to(s)
		if reply.Code != http.StatusForbidden || asked != c.want {
			t.Errorf("%s %s: %d, and %+v was asked", c.method, c.target, reply.Code, asked)
		}
		allow = true
		if reply := (request{method: c.method, target: c.target, body: record}).to(s); reply.Code == http.StatusForbidden {
			t.Errorf("%s %s: %d although allowed", c.method, c.target, reply.Code)
		}
	}
}

// TestLog: each request has a line, and no line a secret.
func TestLog(t *testing.T) {
	var text bytes.Buffer
	store := memory.New()
	s := serve(t, store, server.Options{
		Auth: server.Basic(map[string]string{"ann": "canary"}),
		Log:  slog.New(slog.NewJSONHandler(&text, nil)),
	})
	send := func(method, target, body, password string) string {
		r := request{method: method, target: target, body: body, header: http.Header{"X-Api-Key": {"canary"}}}
		r.header.Set("Authorization", "Basic "+password)
		return r.to(s).Header().Get("X-Request-Id")
	}
	ids := []string{
		send("GET", "/prod?ID=canary&token=canary", "", "YW5uOmNhbmFyeQ=="),
		send("GET", "/prod?ID=canary", "", "Y2FuYXJ5OmNhbmFyeQ=="), // canary:canary
		send("POST", "/prod?ID=canary", "canary", "YW5uOmNhbmFyeQ=="),
		send("POST", "/prod%7f/canary", "canary", "YW5uOmNhbmFyeQ=="),
		send("LOCK", "/prod", record, "YW5uOmNhbmFyeQ=="),
		send("LOCK", "/prod", strings.Replace(record, "dc4", "abc", 1), "YW5uOmNhbmFyeQ=="),
	}
	if strings.Contains(text.String(), "canary") {
		t.Error("a secret is in the log")
	}
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	if len(lines) != len(ids) {
		t.Fatalf("%d lines for %d requests:\n%s", len(lines), len(ids), &text)
	}
	for i, line := range lines {
		var entry struct {
			ID, Method, Workspace, User, Remote string
			Status                              int
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.ID != ids[i] || entry.Status == 0 || entry.Method == "" {
			t.Errorf("%s (%v)", line, err)
		}
	}
}

// failing is a Backend in which all fails, and whose errors name what clients need not
// know.
type failing struct {
	*memory.Backend
	err error
}

func (f *failing) Read(context.Context, string) (backend.State, error) { return backend.State{}, f.err }
func (f *failing) Stat(context.Context, string) (backend.Revision, error) {
	return "", backend.ErrNotExist
}
func (f *failing) Write(context.Context, string, []byte, backend.Condition) (backend.Revision, error) {
	return "", f.err
}
func (f *failing) List(context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) { yield("", f.err) }
}

func TestBackendErrors(t *testing.T) {
	wrap := func(kind error) error {
		return &backend.Error{Op: "read", Backend: "s3 secret-bucket", Kind: kind, Err: errors.New("host internal.example")}
	}
	for _, c := range []struct {
		err         error
		read, write int
	}{
		{wrap(backend.ErrNotExist), 404, 404},
		{wrap(backend.ErrConflict), 412, 412},
		{wrap(lock.ErrNotHeld), 404, 409},
		{wrap(backend.ErrInvalid), 400, 400},
		{wrap(backend.ErrTooLarge), 413, 413},
		{wrap(backend.ErrPermission), 403, 403},
		{wrap(backend.ErrTransient), 503, 503},
		{wrap(backend.ErrUnknown), 500, 500},
		{wrap(backend.ErrCorrupt), 500, 500},
		{wrap(backend.ErrNoStore), 500, 500},
		{wrap(errors.ErrUnsupported), 501, 501},
		{wrap(context.DeadlineExceeded), 503, 503},
		{wrap(nil), 500, 500},
		{&lock.HeldError{Holder: lock.Info{ID: "42"}}, 423, 423},
	} {
		s := serve(t, &failing{memory.New(), c.err}, server.Options{})
		for _, q := range []struct {
			request
			status int
		}{
			{request{method: "GET", target: "/prod"}, c.read},
			{request{method: "GET", target: "/"}, c.read},
			{request{method: "POST", target: "/prod", body: "x", header: http.Header{"If-None-Match": {"*"}}}, c.write},
		} {
			reply := q.to(s)
			if reply.Code != q.status || strings.Contains(reply.Body.String(), "secret-bucket") || strings.Contains(reply.Body.String(), "internal") {
				t.Errorf("%v: %s %s: %d %s, want %d", c.err, q.method, q.target, reply.Code, reply.Body, q.status)
			}
			if c.read == 503 && reply.Header().Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
		}
	}
}

// TestNoLocks serves a Backend that does not lock.
func TestNoLocks(t *testing.T) {
	type unlocked struct{ backend.Backend }
	s := serve(t, unlocked{memory.New()}, server.Options{})
	for _, c := range []struct {
		method, target, body string
		status               int
	}{
		{"LOCK", "/prod", record, 501},
		{"LOCK", "/prod?renew&ID=x", "", 501},
		{"UNLOCK", "/prod", record, 501},
		{"GET", "/prod?lock", "", 501},
		{"POST", "/prod", "x", 200},
		{"POST", "/prod?ID=x", "x", 409},
		{"GET", "/prod", "", 200},
	} {
		if reply := (request{method: c.method, target: c.target, body: c.body}).to(s); reply.Code != c.status {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.target, reply.Code, reply.Body, c.status)
		}
	}
}

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
