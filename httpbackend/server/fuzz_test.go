package server_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/server"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/memory"
)

// FuzzServer sends one request to a state that another holds the lock of: whatever it
// is, nothing panics, that state stays, no name gets into the store that is none, and no
// header is injected.
func FuzzServer(f *testing.F) {
	for _, seed := range []struct{ method, path, query, condition, md5, body string }{
		{"GET", "/prod", "", "", "", ""},
		{"GET", "/prod", "lock", "", "", ""},
		{"GET", "/", "", "", "", ""},
		{"HEAD", "/prod", "", "", "", ""},
		{"POST", "/other", "", "*", "", "state"},
		{"POST", "/prod", "ID=42", `"b25l"`, "Vhx8rNyJzmA4s5VcJZrBeQ==", "state"},
		{"PUT", "/%2e%2e%2Fprod", "ID=%0d%0a", "W/\"b25l\"", "", "state"},
		{"DELETE", "/prod", "ID=holder2", "*", "", ""},
		{"LOCK", "/other", "", "", "", record},
		{"LOCK", "/prod", "renew&ID=holder2", "", "", ""},
		{"UNLOCK", "/prod", "", "", "", `{"ID":"holder2"}`},
		{"UNLOCK", "/prod", "", "", "", `{"ID":"","TTL":-1}`},
		{"UNLOCK", "/prod", "ID=", "", "", ""},
	} {
		f.Add(seed.method, seed.path, seed.query, seed.condition, seed.md5, seed.body)
	}
	f.Fuzz(func(t *testing.T, method, path, query, condition, md5, body string) {
		if strings.Contains(body+query, "holder-of-prod") {
			t.Skip()
		}
		store := memory.New()
		rev, err := store.Write(t.Context(), "prod", []byte("one"), backend.Condition{})
		if err != nil {
			t.Fatal(err)
		}
		holder, err := store.Lock(t.Context(), "prod", lock.Info{ID: "holder-of-prod"})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/", strings.NewReader(body))
		r.Method = method
		if r.URL, err = url.Parse("http://host" + path); err != nil {
			r.URL = &url.URL{Path: path, RawPath: path}
		}
		r.URL.RawQuery = query
		r.Header = http.Header{"If-Match": {condition}, "Content-Md5": {md5}, "Statelatch-Call": {md5}}
		if condition == "*" {
			r.Header = http.Header{"If-None-Match": {condition}}
		}
		w := httptest.NewRecorder()
		serve(t, store, server.Options{MaxSize: 1 << 16}).ServeHTTP(w, r)

		st, err := store.Read(t.Context(), "prod")
		if err != nil || string(st.Data) != "one" || st.Revision != rev {
			t.Errorf("the state is %q, %v", st.Data, err)
		}
		if now, err := store.Holder(t.Context(), "prod"); err != nil || now.ID != holder.ID {
			t.Errorf("the holder is %v, %v", now, err)
		}
		for name, err := range store.List(t.Context()) {
			if err = errors.Join(err, backend.CheckWorkspace(name)); err != nil {
				t.Errorf("there is a state %q: %v", name, err)
			}
		}
		for name, values := range w.Header() {
			if strings.ContainsAny(name+strings.Join(values, ""), "\r\n") {
				t.Errorf("header %q: %q", name, values)
			}
		}
		if w.Code < 200 || w.Code == 500 {
			t.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
	})
}
