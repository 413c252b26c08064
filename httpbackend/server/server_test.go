package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

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

// TestBodySizes: a body arrives whole, whether its length is announced or not, and one
// that is a byte too large does not.
func TestBodySizes(t *testing.T) {
	const most = 1 << 20
	store := memory.New()
	s := serve(t, store, server.Options{MaxSize: most})
	for _, around := range []int{1 << 10, 256 << 10, 512 << 10, most} {
		for _, size := range []int{around - 1, around, around + 1, around + 2} {
			body := bytes.Repeat([]byte("0123456"), size/7+1)[:size]
			for _, announced := range []bool{true, false} {
				r := httptest.NewRequest(http.MethodPost, "/prod", iotest.HalfReader(bytes.NewReader(body)))
				if announced {
					r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(size)
				}
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				st, err := store.Read(t.Context(), "prod")
				switch whole := bytes.Equal(st.Data, body); {
				case size <= most && (w.Code != http.StatusOK || err != nil || !whole):
					t.Errorf("%d bytes, announced %v: %d, %v, whole: %v", size, announced, w.Code, err, whole)
				case size > most && (w.Code != http.StatusRequestEntityTooLarge || whole):
					t.Errorf("%d bytes, announced %v: %d", size, announced, w.Code)
				}
			}
		}
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

// asked is a Backend that is asked who holds its lock. If it is mute, it cannot tell.
type asked struct {
	*memory.Backend
	mute  bool
	times int
}

func (a *asked) Holder(ctx context.Context, workspace string) (lock.Info, error) {
	a.times++
	if a.mute {
		return lock.Info{}, errors.ErrUnsupported
	}
	return a.Backend.Holder(ctx, workspace)
}

// TestUntold: no lock is granted that no write could be let in by.
func TestUntold(t *testing.T) {
	store := &asked{Backend: memory.New(), mute: true}
	s := serve(t, store, server.Options{})
	if reply := (request{method: "LOCK", target: "/prod", body: record}).to(s); reply.Code != http.StatusNotImplemented {
		t.Errorf("LOCK: %d %s", reply.Code, reply.Body)
	}
	if info, err := store.Backend.Holder(t.Context(), "prod"); !errors.Is(err, lock.ErrNotHeld) {
		t.Errorf("it is locked all the same: %v, %v", info, err)
	}
	if reply := (request{method: "POST", target: "/prod", body: "x"}).to(s); reply.Code != http.StatusOK {
		t.Errorf("POST: %d %s", reply.Code, reply.Body)
	}
}

// TestAskedOnce: that who holds a lock can be seen, a server finds out once.
func TestAskedOnce(t *testing.T) {
	store := &asked{Backend: memory.New()}
	s := serve(t, store, server.Options{})
	for n := range 3 {
		name := fmt.Sprint("/ws-", n)
		if reply := (request{method: "LOCK", target: name, body: record}).to(s); reply.Code != http.StatusOK {
			t.Fatalf("LOCK: %d %s", reply.Code, reply.Body)
		}
		if reply := (request{method: "LOCK", target: name, body: strings.ReplaceAll(record, "dc4c", "beef")}).to(s); reply.Code != http.StatusLocked {
			t.Fatalf("LOCK: %d %s", reply.Code, reply.Body)
		}
	}
	if store.times != 1 {
		t.Errorf("it was asked %d times", store.times)
	}
}
