package httpbackend_test

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
	"github.com/statelatch/statelatch/httpbackend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/limit"
	"github.com/statelatch/statelatch/lock"
)

// A plainServer is one of those that Terraform's users have: it knows no more than
// Terraform's protocol, and the holder's record when it refuses.
type plainServer struct {
	etags bool // it gives ETags, and honours If-Match and If-None-Match

	mu     sync.Mutex
	states map[string][]byte
	locks  map[string][]byte // records
}

func newPlain(etags bool) *plainServer {
	return &plainServer{etags: etags, states: map[string][]byte{}, locks: map[string][]byte{}}
}

func (s *plainServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := limit.ReadAll(r.Body, r.ContentLength, 1<<30)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := r.URL.Path
	state, held := s.states[name], s.locks[name]
	etag := fmt.Sprintf(`"%x"`, md5.Sum(state))
	refuse := func() {
		w.WriteHeader(http.StatusLocked)
		w.Write(held)
	}
	switch r.Method {
	case http.MethodGet:
		if state == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if s.etags {
			w.Header().Set("ETag", etag)
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(state)))
		w.Write(state)
	case http.MethodPost, http.MethodDelete:
		match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
		switch {
		case held != nil && r.URL.Query().Get("ID") != idOf(held):
			refuse()
		case s.etags && (match != "" && match != etag || none == "*" && state != nil):
			w.WriteHeader(http.StatusPreconditionFailed)
		case r.Method == http.MethodPost:
			s.states[name] = body
		default:
			delete(s.states, name)
		}
	case "LOCK":
		if held != nil {
			refuse()
			return
		}
		s.locks[name] = body
	case "UNLOCK":
		if held != nil && idOf(body) != idOf(held) {
			refuse()
			return
		}
		delete(s.locks, name)
	}
}

func idOf(record []byte) string { return lock.ParseInfo(record, "none").ID }

// seeing is a client that sees what such a server keeps to itself: the holders, and the
// names of the states.
type seeing struct {
	*client
	server *plainServer
}

func (s *seeing) As(any) bool { return false }

func (s *seeing) Holder(ctx context.Context, workspace string) (lock.Info, error) {
	_, err := s.client.Holder(ctx, workspace)
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "does not tell") {
		return lock.Info{}, err
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	record := s.server.locks["/"+workspace]
	if record == nil {
		return lock.Info{}, lock.ErrNotHeld
	}
	return lock.ParseInfo(record, "rubbish"), nil
}

// empty puts a state of no bytes.
func (s *plainServer) empty(_ testing.TB, workspace string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states["/"+workspace] = []byte{}
}

func (s *seeing) List(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, err := range s.client.List(ctx) {
			if !errors.Is(err, errors.ErrUnsupported) {
				yield("", err)
				return
			}
		}
		s.server.mu.Lock()
		states := maps.Clone(s.server.states)
		s.server.mu.Unlock()
		for name := range states {
			if !yield(name[1:], nil) {
				return
			}
		}
	}
}

// What no plain server has or tells.
var plainLacks = backendtest.Skips{
	"Advance":                            "a lock cannot expire",
	"Beside":                             "another path is another server's affair",
	"CorruptLock":                        "whether a record can be read is the server's affair",
	"Waiter":                             "the protocol tells nobody of a release",
	"Watcher":                            "the protocol tells nobody of a loss",
	"error shape":                        "that nobody holds a lock is not told; see TestStatuses",
	"write under an expired lock":        "a lock cannot expire",
	"lock/unlock when none is held":      "that nobody holds a lock is not told",
	"lock/unlock with an empty ID":       "who holds a lock is not told",
	"lock/expired lock is taken over":    "a lock cannot expire",
	"lock/one winner of an expired lock": "a lock cannot expire",
	"lock/expired lock is not held":      "a lock cannot expire",
	"lock/renew":                         "a lock cannot expire",
	"lock/renew with another ID":         "a lock cannot expire",
	"lock/linearizable":                  "that nobody holds a lock is not told",
	"lock/context ends during":           "that nobody holds a lock is not told",
	"lock/unlock from elsewhere":         "that nobody holds a lock is not told",
}

// withoutETags is what a read before the write does not protect, and what is the same
// with ETags.
var withoutETags = backendtest.Skips{
	"one winner creates":          "the server compares nothing",
	"one winner replaces":         "the server compares nothing",
	"one winner deletes":          "the server compares nothing",
	"lost replies to equal bytes": "the server compares nothing",
	"linearizable":                "the server compares nothing",
	"context ends during":         "the server compares nothing",
	"large states":                "done with ETags",
}

func TestPlainServers(t *testing.T) {
	for name, etags := range map[string]bool{"with ETags": true, "without ETags": false} {
		skips := maps.Clone(plainLacks)
		if !etags {
			maps.Copy(skips, withoutETags)
		}
		t.Run(name, func(t *testing.T) {
			backendtest.Run(t, backendtest.Target{
				New:    func(t testing.TB) backendtest.Namespace { return plainNamespace(t, newPlain(etags)) },
				Canary: canary,
				Skips:  skips,
			})
		})
	}
}

func plainNamespace(t testing.TB, server *plainServer) backendtest.Namespace {
	p := place{listen(t, server), "/{workspace}"}
	ns := p.namespace()
	see := func(open func(testing.TB) backend.Backend) func(testing.TB) backend.Backend {
		return func(t testing.TB) backend.Backend { return &seeing{open(t).(*client), server} }
	}
	ns.Open, ns.Lossy, ns.Hung, ns.Unlocked = see(ns.Open), see(ns.Lossy), see(ns.Hung), see(ns.Unlocked)
	ns.Beside, ns.Empty = nil, server.empty
	return ns
}

// TestServedPlain: our server over a plain one grants no lock, since it could not see
// that lock again, and leaves none.
func TestServedPlain(t *testing.T) {
	plain := newPlain(false)
	behind := place{listen(t, plain), "/{workspace}"}.client(t)
	defer behind.Close()
	b := place{listen(t, states(t, behind)), "/{workspace}"}.client(t)
	defer b.Close()
	if _, err := b.Lock(t.Context(), "prod", lock.NewInfo("test")); !errors.Is(err, errors.ErrUnsupported) || len(plain.locks) > 0 {
		t.Errorf("%v; the plain server has %d locks", err, len(plain.locks))
	}
	if _, err := b.Write(t.Context(), "prod", []byte("one"), backend.Condition{}); err != nil {
		t.Error(err)
	}
}

// TestTwiceToPlain: a write that was delivered twice is refused against itself by a plain
// server that compares ETags. It is no conflict, as far as that can be told.
func TestTwiceToPlain(t *testing.T) {
	post, get := faultproxy.Method(http.MethodPost), faultproxy.Method(http.MethodGet)
	for name, test := range map[string]struct {
		locked bool
		rules  []faultproxy.Rule
		want   error
	}{
		"under a lock":              {true, []faultproxy.Rule{{Match: post, Fault: faultproxy.Duplicate(2)}}, nil},
		"under a lock, and no look": {true, []faultproxy.Rule{{Match: post, Fault: faultproxy.Duplicate(2)}, {Match: get, Nth: 2, Times: faultproxy.Always, Fault: faultproxy.CutBefore()}}, backend.ErrUnknown},
		"without locks":             {false, []faultproxy.Rule{{Match: post, Fault: faultproxy.Duplicate(2)}}, backend.ErrUnknown},
	} {
		for _, before := range []string{"", "before"} {
			t.Run(name+", "+before, func(t *testing.T) {
				server, once := newPlain(true), 0
				b := place{listen(t, server), "/{workspace}"}.client(t, func(c *httpbackend.Config) { c.RetryMax = &once })
				defer b.Close()
				var cond backend.Condition
				if test.locked {
					held, err := b.Lock(t.Context(), "prod", lock.NewInfo("test"))
					if err != nil {
						t.Fatal(err)
					}
					cond.LockID = held.ID
				}
				if before != "" {
					var err error
					if cond.Revision, err = b.Write(t.Context(), "prod", []byte(before), cond); err != nil {
						t.Fatal(err)
					}
				}
				b.proxy.Reset()
				for _, rule := range test.rules {
					b.proxy.Add(rule)
				}
				rev, err := b.Write(t.Context(), "prod", []byte("after"), cond)
				if !errors.Is(err, test.want) || test.want == nil && rev == "" || string(server.states["/prod"]) != "after" {
					t.Errorf("%q, %v; the state is %q", rev, err, server.states["/prod"])
				}
			})
		}
	}
}
