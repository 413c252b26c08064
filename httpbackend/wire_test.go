package httpbackend_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/testservice"
	"github.com/statelatch/statelatch/lock"
)

func sprint(v any) string { return fmt.Sprintf("%+v", v) }

func listenTLS(t testing.TB, h http.Handler, ca *testservice.CA) string {
	cert, err := ca.Issue()
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

// only opens a client of one state, with a proxy before a server.
func only(t testing.TB, h http.Handler, change ...func(*httpbackend.Config)) *client {
	return place{listen(t, h), "/p"}.client(t, change...)
}

// TestWire compares what is sent with what Terraform sends.
func TestWire(t *testing.T) {
	server := newPlain(false)
	p := faultproxy.New(t, listen(t, server), faultproxy.WithBodies())
	config := place{p.URL(), "/p"}.config(p.URL() + "/a%20b")
	config.Address = strings.TrimSuffix(config.Address, "/p")
	config.LockAddress = config.Address + "/lock"
	config.Address += "?z=1&team=x%20y"
	config.UnlockAddress, config.LockMethod, config.UnlockMethod = config.LockAddress, "PUT", "DELETE"
	config.Headers = map[string]backend.Secret{"X-Team": "states"}
	b, err := httpbackend.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	info := lock.NewInfo("OperationTypeApply")
	b.Lock(t.Context(), "default", info)
	b.Write(t.Context(), "default", []byte("one"), backend.Condition{Revision: backend.AnyRevision, LockID: "a b&c"})
	b.Write(t.Context(), "default", []byte("two"), backend.Condition{Revision: backend.AnyRevision})
	b.Unlock(t.Context(), "default", "another")
	var got []string
	for _, q := range p.Requests() {
		line := fmt.Sprint(q.Method, " ", q.Path, "?", q.Query)
		for _, name := range []string{"Content-Type", "Content-Md5", "Content-Length", "X-Team"} {
			line += " " + q.Header.Get(name)
		}
		if user, password, ok := (&http.Request{Header: q.Header}).BasicAuth(); !ok || user != "terraform" || password != canary {
			t.Errorf("%s: without basic authentication", line)
		}
		got = append(got, line)
	}
	for i, want := range []string{
		"PUT /a%20b/lock? application/json",
		"POST /a%20b?ID=a+b%26c&team=x+y&z=1 application/json +XxdKZQb+xsv2rCHSQargg== 3 states",
		"POST /a%20b?z=1&team=x%20y application/json uKn3Fdu2T9XFbneDxoIKYQ== 3 states",
		"DELETE /a%20b/lock? application/json",
	} {
		if i >= len(got) || !strings.HasPrefix(got[i], want) {
			t.Errorf("request %d is\n%q, want\n%s", i, got, want)
		}
	}
	var sent, named map[string]any
	if err := json.Unmarshal(p.Requests()[0].Body, &sent); err != nil {
		t.Fatal(err)
	}
	if sent["ID"] == info.ID || sent["Ref"] != info.ID || sent["Path"] != "" || sent["Operation"] != info.Operation || len(sent) != 8 {
		t.Errorf("LOCK sends %v", sent)
	}
	if err := json.Unmarshal(p.Requests()[3].Body, &named); err != nil || named["ID"] != "another" || named["Created"] != "0001-01-01T00:00:00Z" || len(named) != 7 {
		t.Errorf("UNLOCK by ID sends %v, %v", named, err)
	}
}

// TestUnlockSendsTheRecord: as Terraform does, for servers that compare it whole.
func TestUnlockSendsTheRecord(t *testing.T) {
	p := faultproxy.New(t, listen(t, newPlain(false)), faultproxy.WithBodies())
	b, err := httpbackend.New(t.Context(), place{p.URL(), "/p"}.config(p.URL()))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	held, err := b.Lock(t.Context(), "default", lock.NewInfo("test"))
	if err == nil {
		err = b.Unlock(t.Context(), "default", held.ID)
	}
	if q := p.Requests(); err != nil || string(q[0].Body) != string(q[1].Body) {
		t.Errorf("%s\n%s\n%v", q[0].Body, q[1].Body, err)
	}
}

// answer is a server that always answers the same.
func answer(status int, body string, header ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			w.Write([]byte(body))
		}
	})
}

// TestStatuses: each answer of a plain server, to each request, is of one kind.
func TestStatuses(t *testing.T) {
	const none = "none" // no error
	held := func(err error) string {
		var held *lock.HeldError
		if errors.As(err, &held) {
			return "held by " + held.Holder.ID
		}
		return ""
	}
	name := func(err error) string {
		for text, kind := range map[string]error{
			"not-exist": backend.ErrNotExist, "conflict": backend.ErrConflict, "invalid": backend.ErrInvalid, "too-large": backend.ErrTooLarge,
			"no-store": backend.ErrNoStore, "permission": backend.ErrPermission, "transient": backend.ErrTransient, "unknown": backend.ErrUnknown,
		} {
			if errors.Is(err, kind) && held(err) == "" {
				return text
			}
		}
		if err == nil {
			return none
		}
		return held(err)
	}
	const holder = `{"ID":"42"}`
	for _, c := range []struct {
		status                            int
		body                              string
		read, write, delete, lock, unlock string
	}{
		{200, "x", none, none, none, none, none},
		{200, "", "not-exist", none, "not-exist", none, none},
		{201, "", "transient", none, "transient", "unknown", "unknown"},
		{204, "", "not-exist", none, "not-exist", "unknown", "unknown"},
		{400, "", "invalid", "invalid", "invalid", "invalid", "invalid"},
		{401, "", "permission", "permission", "permission", "permission", "permission"},
		{403, "", "permission", "permission", "permission", "permission", "permission"},
		{404, "", "not-exist", "no-store", "not-exist", "no-store", "no-store"},
		{405, "", "invalid", "invalid", "invalid", "invalid", "invalid"},
		{408, "", "transient", "unknown", "transient", "unknown", "unknown"},
		{409, holder, "invalid", "held by 42", "invalid", "held by 42", "held by 42"},
		{412, "", "conflict", "conflict", "conflict", "conflict", "conflict"},
		{413, "", "too-large", "too-large", "too-large", "too-large", "too-large"},
		{423, holder, "invalid", "held by 42", "invalid", "held by 42", "held by 42"},
		{429, "", "transient", "transient", "transient", "transient", "transient"},
		{500, "", "transient", "unknown", "transient", "unknown", "unknown"},
		{501, "", "invalid", "invalid", "invalid", "invalid", "invalid"},
		{503, "", "transient", "unknown", "transient", "unknown", "unknown"},
	} {
		t.Run(fmt.Sprint(c.status, " ", c.body), func(t *testing.T) {
			t.Parallel()
			once := 0
			b := only(t, answer(c.status, c.body), func(c *httpbackend.Config) { c.RetryMax = &once })
			defer b.Close()
			_, read := b.Read(t.Context(), "default")
			_, write := b.Write(t.Context(), "default", []byte("x"), backend.Condition{Revision: backend.AnyRevision})
			deleted := b.Delete(t.Context(), "default", backend.Condition{Revision: backend.AnyRevision})
			_, locked := b.Lock(t.Context(), "default", lock.NewInfo("test"))
			unlocked := b.Unlock(t.Context(), "default", "43")
			got := []string{name(read), name(write), name(deleted), name(locked), name(unlocked)}
			if diff := cmp.Diff([]string{c.read, c.write, c.delete, c.lock, c.unlock}, got); diff != "" {
				t.Errorf("read, write, delete, lock, unlock (-want +got):\n%s", diff)
			}
			for _, err := range []error{read, write, deleted, locked, unlocked} {
				if err != nil && held(err) == "" && !errors.As(err, new(*backend.Error)) && !errors.As(err, new(*lock.UnknownError)) {
					t.Errorf("%T: %v", err, err)
				}
			}
		})
	}
}

// TestHolders: what a refusal says of the holder is not trusted.
func TestHolders(t *testing.T) {
	for body, want := range map[string]string{
		`{"ID":"42","Who":"ann\u001b[2J@host"}`: "ann[2J@host",
		"rubbish":                               "unreadable-",
		"":                                      "unreadable-",
		`{"ID":"` + strings.Repeat("x", lock.MaxInfo) + `"}`: "unreadable-",
	} {
		b := only(t, answer(http.StatusLocked, body))
		_, err := b.Lock(t.Context(), "default", lock.NewInfo("test"))
		var held *lock.HeldError
		if !errors.As(err, &held) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\x1b") || len(err.Error()) > 1000 {
			t.Errorf("%.80q: %.300v", body, err)
		}
		b.Close()
	}
}

// TestRedirects: none is followed that loses the body, or leads to another host.
func TestRedirects(t *testing.T) {
	plain := newPlain(false)
	elsewhere := listen(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s reached another host", r.Method) }))
	for _, status := range []int{301, 302, 303, 307, 308} {
		here := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/p" {
				http.Redirect(w, r, "/moved", status)
				return
			}
			plain.ServeHTTP(w, r)
		})
		b := only(t, here)
		_, err := b.Write(t.Context(), "default", []byte("x"), backend.Condition{Revision: backend.AnyRevision})
		if keeps := status >= 307; keeps != (err == nil) || !keeps && !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("%d to the same host: %v", status, err)
		}
		b.Close()
		away := only(t, http.RedirectHandler(elsewhere+"/p", status))
		if _, err := away.Read(t.Context(), "default"); !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("%d to another host: %v", status, err)
		}
		away.Close()
	}
}

// TestRetries: a request is made again as often, and as late, as is configured.
func TestRetries(t *testing.T) {
	for _, max := range []int{0, 1, 3} {
		b := only(t, answer(503, ""), func(c *httpbackend.Config) { c.RetryMax = &max })
		if _, err := b.Read(t.Context(), "default"); !errors.Is(err, backend.ErrTransient) {
			t.Error(err)
		}
		if n := len(b.proxy.Requests()); n != max+1 {
			t.Errorf("retry_max %d: %d requests", max, n)
		}
		b.Close()
	}
	for _, after := range []func() string{
		func() string { return "1" },
		func() string { return time.Now().Add(6 * time.Second).UTC().Format(http.TimeFormat) },
	} {
		one, after := 1, after()
		b := only(t, answer(429, "", "Retry-After", after), func(c *httpbackend.Config) { c.RetryMax = &one })
		start := time.Now()
		if _, err := b.Read(t.Context(), "default"); !errors.Is(err, backend.ErrTransient) || time.Since(start) < 900*time.Millisecond {
			t.Errorf("Retry-After %s: %v after %s", after, err, time.Since(start))
		}
		b.Close()
	}
}

// TestSecrets: what is in an address beside its path is not shown.
func TestSecrets(t *testing.T) {
	var texts []string
	for _, h := range []http.Handler{answer(500, "x"), answer(404, "x"), answer(423, "x"), answer(307, "", "Location", "http://canary/")} {
		base := strings.Replace(listen(t, h), "http://", "http://canary:canary@", 1) + "/p?token=canary"
		none := 0
		b, err := httpbackend.New(t.Context(), httpbackend.Config{
			Address: base, LockAddress: base, UnlockAddress: base, RetryMax: &none, Headers: map[string]backend.Secret{"X-Token": "canary"},
		})
		if err != nil {
			t.Fatal(err)
		}
		_, read := b.Read(t.Context(), "default")
		_, write := b.Write(t.Context(), "default", []byte("x"), backend.Condition{})
		_, locked := b.Lock(t.Context(), "default", lock.NewInfo("test"))
		_, other := b.Read(t.Context(), "other")
		texts = append(texts, sprint(read), sprint(write), sprint(locked), sprint(b.Unlock(t.Context(), "default", "x")), sprint(other), sprint(b.Delete(t.Context(), "a/b", backend.Condition{})))
		b.Close()
	}
	if i := slices.IndexFunc(texts, func(s string) bool { return strings.Contains(s, "canary") }); i >= 0 {
		t.Errorf("a secret is shown: %s", texts[i])
	}
}

// TestOneState: without {workspace} there is one workspace, which can be listed.
func TestOneState(t *testing.T) {
	b := only(t, newPlain(false))
	defer b.Close()
	names := func() (names []string) {
		for name, err := range b.List(t.Context()) {
			if err != nil {
				t.Error(err)
			}
			names = append(names, name)
		}
		return names
	}
	if got := names(); len(got) != 0 {
		t.Errorf("List: %q", got)
	}
	if _, err := b.Write(t.Context(), "default", []byte("x"), backend.Condition{}); err != nil {
		t.Error(err)
	}
	if got := names(); !slices.Equal(got, []string{"default"}) {
		t.Errorf("List: %q", got)
	}
	if _, err := b.Write(t.Context(), "prod", []byte("x"), backend.Condition{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("another workspace: %v", err)
	}
	if _, err := b.Holder(t.Context(), "default"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Holder: %v", err)
	}
	info := lock.NewInfo("test")
	info.TTL = time.Minute
	if _, err := b.Lock(t.Context(), "default", info); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Lock with a TTL: %v", err)
	}
}

// TestRequests counts the requests of each method.
func TestRequests(t *testing.T) {
	_, ours := overMemory(t)
	for name, c := range map[string]struct {
		b    *client
		want [8]int
	}{
		"ours":  {ours.client(t), [8]int{1, 1, 1, 1, 1, 1, 1, 1}},
		"plain": {place{listen(t, newPlain(false)), "/{workspace}"}.client(t), [8]int{1, 1, 2, 1, 1, 1, 2, 1}},
	} {
		ctx, b := t.Context(), c.b
		var rev backend.Revision
		var held lock.Info
		for i, step := range []struct {
			name string
			do   func() error
		}{
			{"read", func() error { _, err := b.Read(ctx, "prod"); return err }},
			{"write of any", func() (err error) {
				rev, err = b.Write(ctx, "prod", []byte("1"), backend.Condition{Revision: backend.AnyRevision})
				return err
			}},
			{"write", func() error {
				_, err := b.Write(ctx, "prod", []byte("2"), backend.Condition{Revision: rev})
				return err
			}},
			{"lock", func() (err error) { held, err = b.Lock(ctx, "prod", lock.NewInfo("test")); return err }},
			{"refused lock", func() error { _, err := b.Lock(ctx, "prod", lock.NewInfo("test")); return err }},
			{"unlock", func() error { return b.Unlock(ctx, "prod", held.ID) }},
			{"delete", func() error { return b.Delete(ctx, "prod", backend.Condition{Revision: backend.AnyRevision}) }},
			{"list", func() error {
				for _, err := range b.List(ctx) {
					return err
				}
				return nil
			}},
		} {
			b.proxy.Reset()
			err := step.do()
			if n := len(b.proxy.Requests()); n != c.want[i] {
				t.Errorf("%s, %s: %d requests, want %d (%v)", name, step.name, n, c.want[i], err)
			}
		}
		b.Close()
	}
}

// TestDataStaysTheCallers: what was given to Write may be changed when it returns,
// although the server had not taken all of it.
func TestDataStaysTheCallers(t *testing.T) {
	b := only(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusRequestEntityTooLarge) }))
	defer b.Close()
	data := make([]byte, 32<<20)
	if _, err := b.Write(t.Context(), "default", data, backend.Condition{Revision: backend.AnyRevision}); err == nil {
		t.Error("it was written")
	}
	clear(data) // which the race detector looks at
}

// TestNoMethod: what no request can be made of is a mistake, and in no doubt.
func TestNoMethod(t *testing.T) {
	b, err := httpbackend.New(t.Context(), httpbackend.Config{
		Address: "http://127.0.0.1:1", UpdateMethod: "PO ST", LockAddress: "http://127.0.0.1:1", LockMethod: "LO CK",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	_, errLock := b.Lock(t.Context(), "default", lock.NewInfo("test"))
	_, errWrite := b.Write(t.Context(), "default", []byte("{}"), backend.Condition{Revision: backend.AnyRevision})
	for _, err := range []error{errLock, errWrite} {
		if !errors.Is(err, backend.ErrInvalid) || errors.Is(err, backend.ErrUnknown) {
			t.Error(err)
		}
	}
}
