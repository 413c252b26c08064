package azblob_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/statelatch/statelatch/azblob"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
)

// page is what something answers that is no blob service.
func page(status int) faultproxy.Reply {
	return faultproxy.Reply{Status: status, Header: http.Header{"Content-Type": {"text/html"}, "Etag": {`"5f3e-1"`}}, Body: "<html><body>Welcome</body></html>"}
}

// TestForeign has something answer that is no blob service: it tells nobody that there
// is no state, or no lock, and that a change was made or refused.
func TestForeign(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 201, 404} {
		for _, o := range operations {
			t.Run(fmt.Sprint(status, " ", o.name), func(t *testing.T) {
				t.Parallel()
				s := o.scene(t)
				s.proxy.Add(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Answer(page(status))})
				err := o.call(t.Context(), s.client, s.rev, s.id)
				kind := backend.ErrInvalid
				if q := s.proxy.Requests()[0]; status < 400 && q.Method == "PUT" && o.name != "renew" {
					kind = backend.ErrUnknown // it begins with a change
				}
				checkError(t, o.name, err, kind, "no blob service", s.server.SecretKey)
				s.whole(t, o, err)
			})
		}
	}
}

// TestForeignReply has a page be the reply to a change, which was made or not.
func TestForeignReply(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(faultproxy.Reply) faultproxy.Fault{"applied": faultproxy.AnswerAfter, "not applied": faultproxy.Answer} {
		for _, status := range []int{200, 201} {
			for _, o := range operations {
				if o.name == "read" || o.name == "holder" || o.name == "renew" {
					continue
				}
				t.Run(fmt.Sprint(o.name, ", ", name, ", ", status), func(t *testing.T) {
					t.Parallel()
					s := o.scene(t)
					rule := s.proxy.Add(faultproxy.Rule{Match: changes, Fault: fault(page(status))})
					err := o.call(t.Context(), s.client, s.rev, s.id)
					if err != nil && !(o.unknown && errors.Is(err, backend.ErrUnknown)) || rule.Applied() != 1 {
						t.Errorf("%v after %d faults", err, rule.Applied())
					}
					s.whole(t, o, err)
				})
			}
		}
	}
}

// TestWithoutETag has the service's replies lose their ETags: what has none is no blob
// that does not exist.
func TestWithoutETag(t *testing.T) {
	t.Parallel()
	for _, o := range operations {
		if o.name == "unlock" { // which goes by the ETag that the lock was taken on
			continue
		}
		s := o.scene(t)
		s.proxy.Use(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
			forward.ServeHTTP(stripped{w}, r)
		})
		if err := o.call(t.Context(), s.client, s.rev, s.id); !errors.Is(err, backend.ErrInvalid) && !errors.Is(err, backend.ErrUnknown) {
			t.Errorf("%s: %v", o.name, err)
		}
	}
}

type stripped struct{ http.ResponseWriter }

func (w stripped) WriteHeader(status int) {
	w.Header().Del("ETag")
	w.ResponseWriter.WriteHeader(status)
}

// TestRedirect: no redirect is followed, which would tell others the SAS and the
// customer's key. Of a client that follows them, nothing that it then finds is taken for
// the service's.
func TestRedirect(t *testing.T) {
	t.Parallel()
	var led atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		led.Add(1)
		w.Header().Set("Etag", `"5f3e-1"`)
	}))
	defer elsewhere.Close()
	for _, status := range []int{302, 307} {
		n := newNamespace(t, false)
		if _, err := n.client(t, nil).Write(t.Context(), ws, []byte("state"), backend.Condition{}); err != nil {
			t.Fatal(err)
		}
		held, err := n.client(t, nil).Lock(t.Context(), ws, lock.NewInfo("test"))
		if err != nil {
			t.Fatal(err)
		}
		p := n.proxy(t, faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Answer(faultproxy.Reply{
			Status: status, Header: http.Header{"Location": {elsewhere.URL + "/state"}},
		})})
		c := n.client(t, p, func(c *azblob.Config) {
			c.AccessKey, c.SASToken, c.CustomerProvidedKey = "", "sig=canary", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
		})
		for method, err := range calls(t.Context(), c.Backend) {
			kind := backend.ErrInvalid
			if method == "write" {
				kind = backend.ErrUnknown
			}
			checkError(t, fmt.Sprint(status, " ", method), err, kind, "redirects", "canary")
		}
		if led.Load() != 0 {
			t.Fatalf("%d: it was followed", status)
		}
		given, err := container.NewClientWithNoCredential(p.URL()+"/"+box, nil)
		if err != nil {
			t.Fatal(err)
		}
		follows := n.client(t, nil, func(c *azblob.Config) { c.Client = given })
		for method, err := range calls(t.Context(), follows.Backend) {
			if !errors.Is(err, backend.ErrInvalid) && !errors.Is(err, backend.ErrUnknown) {
				t.Errorf("%d %s, followed: %v", status, method, err)
			}
		}
		led.Store(0)
		if holder, err := n.client(t, nil).Holder(t.Context(), ws); err != nil || holder.ID != held.ID {
			t.Errorf("Holder: %v, %v", holder, err)
		}
	}
}
