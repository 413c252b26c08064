package consul_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
)

// page is what something else than Consul answers.
const page = "<html>Welcome"

// Chunks count as stored when Consul says so, and no index names others.
func TestChunksThatAPageAnswered(t *testing.T) {
	t.Parallel()
	n := open(t)
	direct := n.client(t)
	rev := mustWrite(t, direct, []byte("one"), backend.Condition{})
	b, p := n.proxied(t)
	chunks := func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/v1/kv/")
	}
	p.Add(faultproxy.Rule{Match: chunks, Times: faultproxy.Always, Fault: faultproxy.Answer(faultproxy.Reply{Body: page})})
	_, err := b.Write(t.Context(), ws, threeChunks, condition(rev))
	check(t, "Write", err, backend.ErrTransient, "")
	if st := mustRead(t, direct); string(st.Data) != "one" || st.Revision != rev {
		t.Errorf("read %.20q at %q", st.Data, st.Revision)
	}
}

// That a session is gone, only Consul may say.
func TestRenewThatAPageAnswered(t *testing.T) {
	n := open(t)
	b, p := n.proxied(t)
	held := mustLock(t, b)
	renewal := faultproxy.Path("/v1/session/renew/" + held.ID)
	for name, reply := range map[string]faultproxy.Reply{
		"not found": {Status: http.StatusNotFound, Body: page},
		"empty":     {Body: "[]"},
		"null":      {Body: "[null]"},
	} {
		p.Add(faultproxy.Rule{Match: renewal, Fault: faultproxy.Answer(reply)})
		_, err := b.Renew(t.Context(), ws, held.ID)
		check(t, name, err, backend.ErrTransient, "")
		if errors.Is(err, lock.ErrNotHeld) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p.Add(faultproxy.Rule{Match: renewal, Fault: faultproxy.Before(func(*http.Request) { n.destroy(t, held.ID) })})
	if _, err := b.Renew(t.Context(), ws, held.ID); !errors.Is(err, lock.ErrNotHeld) {
		t.Errorf("destroyed meanwhile: %v", err)
	}
}

// Consul does not redirect: whoever does gets no token, and makes no change succeed.
func TestRedirects(t *testing.T) {
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect} {
		followed := make(chan *http.Request, 1)
		elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case followed <- r:
			default:
			}
			w.Header().Set("X-Consul-Index", "1")
			w.Write([]byte("true"))
		}))
		defer elsewhere.Close()
		n := open(t)
		b, p := n.proxied(t)
		p.Add(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Answer(faultproxy.Reply{
			Status: status, Header: http.Header{"Location": {elsewhere.URL + "/login?secret=1"}},
		})})
		for op, err := range methods(t.Context(), b) {
			check(t, op, err, backend.ErrInvalid, elsewhere.URL)
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v", op, err)
			}
		}
		if len(followed) > 0 {
			r := <-followed
			t.Errorf("%d: %s %s was sent elsewhere, with the token %q", status, r.Method, r.URL, r.Header.Get("X-Consul-Token"))
		}
	}
}

// A create that was delivered twice, and whose own second delivery is not to be told
// from another's, is in doubt.
func TestDeliveredTwiceAndBlind(t *testing.T) {
	t.Parallel()
	n := open(t)
	b, p := n.proxied(t)
	p.Add(faultproxy.Rule{Match: txns, Fault: faultproxy.Duplicate(2)})
	p.Add(faultproxy.Rule{Match: faultproxy.Method(http.MethodGet), Times: faultproxy.Always, Fault: faultproxy.Answer(failing)})
	_, err := b.Write(t.Context(), ws, []byte("one"), backend.Condition{})
	check(t, "Write", err, backend.ErrUnknown, "")
	if st := mustRead(t, n.client(t)); string(st.Data) != "one" {
		t.Errorf("read %q", st.Data)
	}
}

// What was in the place of an empty placeholder is known as well, delivered twice.
func TestPlaceholderReplacedTwice(t *testing.T) {
	n := open(t)
	n.put(t, n.config.Path, nil)
	b, p := n.proxied(t)
	p.Add(faultproxy.Rule{Match: txns, Times: faultproxy.Always, Fault: faultproxy.Duplicate(2)})
	if rev := mustWrite(t, b, []byte("one"), backend.Condition{}); rev != mustRead(t, b).Revision {
		t.Errorf("revision %q", rev)
	}
}

// No state has the index 0, which is Consul's for "does not exist".
func TestRevisionZero(t *testing.T) {
	n := open(t)
	b := n.client(t)
	for _, rev := range []backend.Revision{"0", "0c"} {
		if _, err := b.Write(context.Background(), ws, []byte("one"), condition(rev)); !errors.Is(err, backend.ErrConflict) {
			t.Errorf("%s: %v", rev, err)
		}
	}
	if n.get(t, n.config.Path) != nil {
		t.Error("it was created")
	}
}
