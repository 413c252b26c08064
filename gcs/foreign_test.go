package gcs_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/gcs"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/trial"
	"github.com/statelatch/statelatch/lock"
)

// page is what something answers that is not Cloud Storage.
func page(status int) faultproxy.Reply {
	return faultproxy.Reply{Status: status, Header: http.Header{"Content-Type": {"text/html; charset=utf-8"}}, Body: "<html>\n<body>" + strings.Repeat("Welcome\n", 200) + "</body>\n</html>"}
}

// TestNotFoundPage has a proxy find nothing: that is not what Cloud Storage says where
// there is no state, or no lock. The text of the page is cut short.
func TestNotFoundPage(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	for _, known := range []bool{true, false} { // that there is a bucket
		for _, m := range methods {
			c := n.client(t, nil)
			defer c.Close()
			if known {
				n.put(t, "known.tfstate", "x")
				if _, err := c.Read(t.Context(), "known"); err != nil {
					t.Fatal(err)
				}
			}
			c.proxy.Add(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Answer(page(404))})
			err := m.call(t.Context(), c)
			isOnly(t, m.name, err, backend.ErrInvalid)
			if err != nil && (!strings.Contains(err.Error(), "not Cloud Storage") || strings.Contains(err.Error(), "\n") || len(err.Error()) > 800) {
				t.Errorf("%s: %v", m.name, err)
			}
		}
	}
	given := n.client(t, nil, func(c *gcs.Config) {
		c.Client = n.ready(t, faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Answer(page(404))})
	})
	defer given.Close()
	for _, m := range methods {
		isOnly(t, m.name+" with a ready client", m.call(t.Context(), given), backend.ErrInvalid)
	}
}

// TestPage has a page be the reply to a change, which was made or not.
func TestPage(t *testing.T) {
	t.Parallel()
	empty := faultproxy.Reply{Header: http.Header{"Content-Type": {"application/json"}}, Body: "{}"} // tells no generation
	for _, c := range trial.Changes {
		method, replies := http.MethodPost, []faultproxy.Reply{empty, page(200), page(302)}
		if c.Name == "delete" || c.Name == "unlock" {
			method, replies = http.MethodDelete, replies[1:]
		}
		for i, reply := range replies {
			for name, fault := range map[string]faultproxy.Fault{"made": faultproxy.AnswerAfter(reply), "not made": faultproxy.Answer(reply)} {
				t.Run(fmt.Sprint(c.Name, ", ", name, ", ", i), func(t *testing.T) {
					t.Parallel()
					n := fakegcs.open(t)
					direct, b := n.client(t, nil), n.client(t, nil)
					defer direct.Close()
					defer b.Close()
					rev, id := trial.Prepare(t, direct)
					rule := b.proxy.Add(faultproxy.Rule{Match: faultproxy.Method(method), Fault: fault})
					err := c.Do(t.Context(), b, backend.Condition{Revision: rev}, id)
					mayBeUnknown := c.Name == "overwrite" && name == "not made" || method == http.MethodDelete && name == "made"
					if err != nil && !(mayBeUnknown && errors.Is(err, backend.ErrUnknown)) || rule.Applied() != 1 {
						t.Errorf("%v after %d faults", err, rule.Applied())
					}
					if done := c.Done(t, direct); done != (err == nil || name == "made") {
						t.Errorf("%v, and done is %t", err, done)
					}
				})
			}
		}
	}
}

// elsewhere is where a redirect leads. Nobody is to get there.
func elsewhere(t *testing.T) (redirect faultproxy.Rule, led *atomic.Int32) {
	led = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { led.Add(1) }))
	t.Cleanup(server.Close)
	to := http.Header{"Location": {server.URL + "/object"}}
	return faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Answer(faultproxy.Reply{Status: 307, Header: to})}, led
}

// checkRedirected has all methods meet with a redirect.
func checkRedirected(t *testing.T, n *namespace, redirect faultproxy.Rule, led *atomic.Int32) {
	t.Helper()
	for _, m := range methods {
		c := n.client(t, nil, func(c *gcs.Config) { c.EncryptionKey = backend.Secret(csek) })
		defer c.Close()
		c.proxy.Add(redirect)
		err, kind := m.call(t.Context(), c), backend.ErrInvalid
		if slices.Contains([]string{"write", "create", "delete", "lock", "unlock"}, m.name) {
			kind = backend.ErrUnknown
		}
		isOnly(t, m.name, err, kind)
		if err != nil && !strings.Contains(err.Error(), "redirects") {
			t.Errorf("%s: %v", m.name, err)
		}
	}
	if led.Load() != 0 {
		t.Errorf("%d redirects were followed", led.Load())
	}
}

// TestRedirect: no redirect is followed, which would tell others the token and the
// customer's key, and read as a success.
func TestRedirect(t *testing.T) {
	t.Parallel()
	redirect, led := elsewhere(t)
	n := fakegcs.open(t)
	checkRedirected(t, n, redirect, led)
	direct, c := n.client(t, nil), n.client(t, nil)
	defer direct.Close()
	defer c.Close()
	held, err := direct.Lock(t.Context(), "default", lock.NewInfo("test"))
	if err != nil {
		t.Fatal(err)
	}
	c.proxy.Add(redirect)
	isOnly(t, "Unlock", c.Unlock(t.Context(), "default", held.ID), backend.ErrUnknown)
	if holder, err := direct.Holder(t.Context(), "default"); err != nil || holder.ID != held.ID {
		t.Errorf("Holder: %v, %v", holder, err)
	}
}

// TestRedirectByEmulator: a client of an emulator follows none either.
func TestRedirectByEmulator(t *testing.T) {
	n := fakegcs.open(t)
	t.Setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:1") // the endpoint that is set goes before it
	redirect, led := elsewhere(t)
	checkRedirected(t, n, redirect, led)
}
