package gcs_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/gcs"
	"github.com/statelatch/statelatch/internal/respawn"
	"github.com/statelatch/statelatch/lock"
)

// noTokens stands for servers that give no token: as the path says, "/503" or
// ".../503@p:…", they reply with a status, cut the connection or keep silent.
func noTokens(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body) // only then does the server notice that the client goes
	how, _, _ := strings.Cut(r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:], "@")
	switch status, _ := strconv.Atoi(how); how {
	case "cut":
		panic(http.ErrAbortHandler)
	case "silence":
		<-r.Context().Done()
	default:
		w.WriteHeader(status)
	}
}

// federated returns the credentials of a workload that another provider vouches for.
func federated(t *testing.T, tokenURL, file string) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"type": "external_account", "audience": "a", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
		"token_url": tokenURL, "credential_source": map[string]string{"file": file},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestNoToken has the credentials get no token: then no request has been made, and no
// outcome is unknown.
func TestNoToken(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(noTokens))
	defer server.Close()
	subject := write(t, t.TempDir(), "subject", "subject-token")
	n := fakegcs.open(t)
	for name, test := range map[string]struct {
		credentials string
		kind        error
	}{
		"service account, 400":         {serviceAccount(t, server.URL+"/400"), backend.ErrPermission},
		"service account, 502":         {serviceAccount(t, server.URL+"/502"), backend.ErrTransient},
		"service account, 503":         {serviceAccount(t, server.URL+"/503"), backend.ErrTransient},
		"service account, cut":         {serviceAccount(t, server.URL+"/cut"), backend.ErrTransient},
		"service account, unreachable": {serviceAccount(t, "http://127.0.0.1:1"), backend.ErrTransient},
		"federated, 403":               {federated(t, server.URL+"/403", subject), backend.ErrPermission},
		"federated, 429":               {federated(t, server.URL+"/429", subject), backend.ErrTransient},
		"federated, cut":               {federated(t, server.URL+"/cut", subject), backend.ErrTransient},
		"federated, no file":           {federated(t, server.URL, filepath.Join(filepath.Dir(subject), "none")), backend.ErrPermission},
	} {
		c := n.client(t, nil, func(c *gcs.Config) { c.AccessToken, c.Credentials = "", backend.Secret(test.credentials) })
		defer c.Close()
		denied(t, name, c, test.kind)
		if q := c.proxy.Requests(); len(q) > 0 {
			t.Errorf("%s: %d requests", name, len(q))
		}
	}
}

// TestEndsBeforeTheToken has the context end before a token is asked for: the vendor's
// client does not tell that from a request without a reply.
func TestEndsBeforeTheToken(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	for _, m := range methods {
		c := n.client(t, nil)
		defer c.Close()
		ctx, cancel := context.WithCancel(t.Context())
		err := m.call(&ending{ctx, cancel}, c)
		if !errors.Is(err, context.Canceled) || errors.Is(err, backend.ErrUnknown) || len(c.proxy.Requests()) > 0 {
			t.Errorf("%s: %v after %d requests", m.name, err, len(c.proxy.Requests()))
		}
	}
}

// An ending context ends when it is first asked whether it has ended.
type ending struct {
	context.Context
	cancel func()
}

func (e *ending) Err() error {
	defer e.cancel()
	return e.Context.Err()
}

// denied has each method get no token, for a reason of that kind.
func denied(t *testing.T, name string, c *client, kind error) {
	t.Helper()
	for _, m := range methods {
		within := 200 * time.Millisecond // a refusal is final, and all else is tried again and again
		if kind == backend.ErrPermission || m.name == "read" {
			within = time.Minute
		}
		ctx, cancel := context.WithTimeout(t.Context(), within)
		err := m.call(ctx, c)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && kind == backend.ErrTransient {
			kinds := []error{backend.ErrUnknown, backend.ErrPermission, backend.ErrNotExist, lock.ErrNotHeld}
			for _, k := range kinds {
				if errors.Is(err, k) {
					t.Errorf("%s, %s: %v matches %v", name, m.name, err, k)
				}
			}
			continue
		}
		isOnly(t, name+", "+m.name, err, kind)
		if errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s, %s: %v matches fs.ErrNotExist", name, m.name, err)
		}
	}
}

// TestSilence has no reply come from the server of tokens: each method ends with its
// context, also one that waits for the token that another has asked for.
func TestSilence(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		noTokens(w, r)
	}))
	defer server.Close()
	account := serviceAccount(t, server.URL+"/silence")
	c := fakegcs.open(t).client(t, nil, func(c *gcs.Config) { c.AccessToken, c.Credentials = "", backend.Secret(account) })
	defer c.Close()
	first, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- methods[0].call(first, c) }()
	for asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	silent(t, c)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// silent fails the test unless each method ends with its context. What it guards
// against is a wait of half a minute or of ever.
func silent(t *testing.T, c *client) {
	t.Helper()
	for _, m := range methods {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		done := make(chan error, 1)
		go func() { done <- m.call(ctx, c) }()
		select {
		case err := <-done:
			if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, backend.ErrUnknown) {
				t.Errorf("%s: %v", m.name, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s goes on after its context has ended", m.name)
		}
		cancel()
	}
}

// TestNoImpersonation has another process, as TestImpersonation does, get no token.
func TestNoImpersonation(t *testing.T) {
	if os.Getenv("STATELATCH_IMPERSONATE") != "" {
		notImpersonated(t)
		return
	}
	isolate(t)
	proxy, caFile := new(google).behindProxy(t, noTokens)
	cmd := respawn.Command(t.Context(), []string{"-test.run=^TestNoImpersonation$", "-test.v"},
		"STATELATCH_IMPERSONATE=1", "HTTPS_PROXY="+proxy, "NO_PROXY=127.0.0.1", "SSL_CERT_FILE="+caFile)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// notImpersonated is what the other process does.
func notImpersonated(t *testing.T) {
	open := func(t *testing.T, account, credentials string) *client {
		c := gcs.Config{Bucket: "b", StorageCustomEndpoint: "http://127.0.0.1:1", ImpersonateServiceAccount: account}
		if c.Credentials = backend.Secret(credentials); credentials == "" {
			c.AccessToken = canary
		}
		b, err := gcs.New(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return &client{Backend: b}
	}
	for account, kind := range map[string]error{
		"403": backend.ErrPermission, "404": backend.ErrPermission, "429": backend.ErrTransient, "503": backend.ErrTransient, "cut": backend.ErrTransient,
	} {
		denied(t, account, open(t, account+"@p", ""), kind)
	}
	denied(t, "no file", open(t, "403@p", federated(t, "http://127.0.0.1:1", filepath.Join(t.TempDir(), "none"))), backend.ErrPermission)
	denied(t, "unreachable", open(t, "403@p", serviceAccount(t, "http://127.0.0.1:1")), backend.ErrTransient)
	silent(t, open(t, "silence@p", ""))
}
