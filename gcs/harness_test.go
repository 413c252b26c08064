package gcs_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/statelatch/statelatch/gcs"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/testservice"
)

func TestMain(m *testing.M) { testservice.Main(m) }

// The servers of this package's tests. Each lacks a part of Cloud Storage, for which
// a strict proxy makes up.
var (
	fakegcs  = &store{kind: testservice.FakeGCS, strict: strictFakeGCS}
	emulator = &store{kind: testservice.GCSEmulator, strict: strictEmulator}
)

const (
	bucketPrefix = "test-" // every other bucket is missing
	canary       = "ya29.canary-7f3c1d"
)

// A store is a server that starts when it is first used.
type store struct {
	kind   testservice.Kind
	strict func(*testservice.Server) faultproxy.Middleware

	mu      sync.Mutex
	service *testservice.Service
}

// start returns the running server.
func (s *store) start(t testing.TB) *testservice.Server {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.service == nil {
		s.service = testservice.New(s.kind)
	}
	return s.service.Start(t)
}

// proxy puts a proxy before the server that makes it strict.
func (s *store) proxy(t testing.TB, opts ...faultproxy.Option) *faultproxy.Proxy {
	server := s.start(t)
	p := faultproxy.New(t, server.Endpoint, opts...)
	p.Use(s.strict(server))
	return p
}

// send makes a request past the package and the proxies.
func send(t testing.TB, method, url string, body io.Reader) (status int, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	reply, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	data, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply.StatusCode, string(data)
}

const (
	api    = "/storage/v1/b/"
	upload = "/upload/storage/v1/b/"
)

// target is the bucket and the object that a request is about.
func target(r *http.Request) (bucket, object string, isXML bool) {
	path := r.URL.EscapedPath()
	for _, prefix := range []string{api, upload} {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			bucket, object, _ = strings.Cut(rest, "/o")
			object, _ = url.PathUnescape(strings.TrimPrefix(object, "/"))
			return bucket, object, false
		}
	}
	bucket, object, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
	object, _ = url.PathUnescape(object)
	return bucket, object, true
}

// strictFakeGCS makes up for what fake-gcs-server lacks: it ignores the condition of
// a DELETE, does not tell a missing bucket from a missing object, and lists any
// number of objects at once.
func strictFakeGCS(server *testservice.Server) faultproxy.Middleware {
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		r.Host = server.Addr // by which it knows a request of the XML API
		bucket, object, isXML := target(r)
		if !strings.HasPrefix(bucket, bucketPrefix) {
			noSuchBucket(w, isXML)
			return
		}
		if r.Method == "GET" && object == "" && !r.URL.Query().Has("maxResults") {
			r.URL.RawQuery += "&maxResults=1000"
		}
		match := r.URL.Query().Get("ifGenerationMatch")
		if r.Method != "DELETE" || match == "" {
			forward.ServeHTTP(w, r)
			return
		}
		// It does delete just the one generation that this asks for.
		r.URL.RawQuery += "&generation=" + match
		reply := httptest.NewRecorder()
		forward.ServeHTTP(reply, r)
		if reply.Code != http.StatusNotFound {
			w.WriteHeader(reply.Code)
			return
		}
		if exists(r, server, bucket, object) {
			refuse(w, http.StatusPreconditionFailed, "At least one of the pre-conditions you specified did not hold.")
			return
		}
		refuse(w, http.StatusNotFound, "No such object: "+bucket+"/"+object)
	}
}

// strictEmulator makes up for what gcsemulator lacks: its reply to an upload has no
// checksum.
func strictEmulator(*testservice.Server) faultproxy.Middleware {
	sent := regexp.MustCompile(`"crc32c":"[^"]*"`)
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if r.Method != "POST" {
			forward.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		reply := httptest.NewRecorder()
		forward.ServeHTTP(reply, r)
		w.WriteHeader(reply.Code)
		attrs := reply.Body.Bytes()
		if reply.Code == http.StatusOK {
			attrs = bytes.Replace(attrs, []byte("{"), fmt.Appendf(nil, "{%s,", sent.Find(body)), 1)
		}
		w.Write(attrs)
	}
}

func exists(r *http.Request, server *testservice.Server, bucket, object string) bool {
	request, err := http.NewRequestWithContext(r.Context(), "GET", server.Endpoint+api+bucket+"/o/"+url.PathEscape(object), nil)
	if err != nil {
		return false
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	reply, err := client.Do(request)
	if err != nil {
		return false
	}
	reply.Body.Close()
	return reply.StatusCode == http.StatusOK
}

// noSuchBucket answers as Cloud Storage does.
func noSuchBucket(w http.ResponseWriter, isXML bool) {
	if !isXML {
		refuse(w, http.StatusNotFound, "The specified bucket does not exist.")
		return
	}
	w.Header().Set("Content-Type", "application/xml; charset=UTF-8")
	w.WriteHeader(http.StatusNotFound)
	io.WriteString(w, "<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist.</Message></Error>")
}

// refuse answers with an error of the JSON API.
func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": status, "message": message}})
}

// A namespace is a bucket of its own, with a configuration for it: fake-gcs-server
// takes the longer the more there is in one.
type namespace struct {
	*store
	config gcs.Config
}

func (s *store) open(t testing.TB) *namespace { return s.bucket(t, false) }

func (s *store) bucket(t testing.TB, versioning bool) *namespace {
	t.Helper()
	bucket := bucketPrefix + strings.ToLower(rand.Text())
	body := strings.NewReader(fmt.Sprintf(`{"name":%q,"versioning":{"enabled":%t}}`, bucket, versioning))
	if status, text := send(t, "POST", s.start(t).Endpoint+"/storage/v1/b?project=test", body); status != http.StatusOK {
		t.Fatalf("create the bucket: %d %s", status, text)
	}
	return &namespace{store: s, config: gcs.Config{
		Bucket:      bucket,
		Prefix:      strings.ToLower(rand.Text()[:16]) + "/states",
		AccessToken: canary,
	}}
}

// A client is a Backend with a proxy that no other uses, unless it was given one.
type client struct {
	*gcs.Backend
	proxy *faultproxy.Proxy
}

// Close implements io.Closer: it closes the proxy too.
func (c *client) Close() error {
	err := c.Backend.Close()
	c.proxy.Close()
	return err
}

// client opens a Backend whose requests go by p; nil is a quiet proxy of its own.
// change may change its configuration.
func (n *namespace) client(t testing.TB, p *faultproxy.Proxy, change ...func(*gcs.Config)) *client {
	t.Helper()
	if p == nil {
		p = n.proxy(t)
	}
	config := n.config
	config.StorageCustomEndpoint = p.URL() + "/storage/v1/b"
	for _, f := range change {
		f(&config)
	}
	b, err := gcs.New(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	return &client{b, p}
}

// object returns the name of an object in the namespace.
func (n *namespace) object(name string) string { return n.config.Prefix + "/" + name }

// url returns the URL of an object's attributes, at the server or a proxy.
func (n *namespace) url(base, object string) string {
	return base + api + n.config.Bucket + "/o/" + url.PathEscape(object)
}

// put stores an object past the package.
func (n *namespace) put(t testing.TB, name, data string) {
	t.Helper()
	query := url.Values{"uploadType": {"media"}, "name": {n.object(name)}}
	status, text := send(t, "POST", n.start(t).Endpoint+upload+n.config.Bucket+"/o?"+query.Encode(), strings.NewReader(data))
	if status != http.StatusOK {
		t.Fatalf("put %s: %d %s", name, status, text)
	}
}

// changes matches the requests that change something.
func changes(r *http.Request) bool { return r.Method == "POST" || r.Method == "DELETE" }
