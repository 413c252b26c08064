package gcs_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"cloud.google.com/go/storage"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/gcs"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/respawn"
	"github.com/statelatch/statelatch/internal/testservice"
	"github.com/statelatch/statelatch/lock"
)

// ready returns a client of the vendor's, behind a proxy with these rules.
func (n *namespace) ready(t *testing.T, rules ...faultproxy.Rule) *storage.Client {
	t.Helper()
	p := n.proxy(t)
	for _, rule := range rules {
		p.Add(rule)
	}
	client, err := storage.NewClient(t.Context(), option.WithEndpoint(p.URL()+"/storage/v1/"), option.WithoutAuthentication())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// everything makes each kind of request once.
func everything(t *testing.T, b *gcs.Backend) {
	t.Helper()
	ctx, ws := t.Context(), backend.DefaultWorkspace
	held, err := b.Lock(ctx, ws, lock.NewInfo("test"))
	if err != nil {
		t.Fatal(err)
	}
	rev, err := b.Write(ctx, ws, []byte("x"), backend.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(ctx, ws); err != nil {
		t.Error(err)
	}
	if _, err := b.Stat(ctx, ws); err != nil {
		t.Error(err)
	}
	if _, err := b.Holder(ctx, ws); err != nil {
		t.Error(err)
	}
	for _, err := range b.List(ctx) {
		if err != nil {
			t.Error(err)
		}
	}
	if err := b.Delete(ctx, ws, backend.Condition{Revision: rev}); err != nil {
		t.Error(err)
	}
	if err := b.Unlock(ctx, ws, held.ID); err != nil {
		t.Error(err)
	}
}

// TestEncryption looks at what no emulator honours: which requests carry the
// customer's key (CSEK) or the name of one in KMS (CMEK).
func TestEncryption(t *testing.T) {
	t.Parallel()
	raw, _ := base64.StdEncoding.DecodeString(csek)
	sum := sha256.Sum256(raw)
	headers := "AES256 " + csek + " " + base64.StdEncoding.EncodeToString(sum[:])
	for name, test := range map[string]struct {
		change func(*gcs.Config)
		want   []string // of "POST lock", "POST state", "GET state" (twice), "GET lock", "GET list", "DELETE state", "DELETE lock"
	}{
		"none": {func(*gcs.Config) {}, []string{"", "", "", "", "", "", "", ""}},
		"CSEK": {func(c *gcs.Config) { c.EncryptionKey = backend.Secret(csek) }, []string{"", headers, headers, headers, "", "", "", ""}},
		"CMEK": {func(c *gcs.Config) { c.KMSEncryptionKey = kmsKey }, []string{"", kmsKey, "", "", "", "", "", ""}},
	} {
		c := fakegcs.open(t).client(t, nil, test.change)
		defer c.Close()
		everything(t, c.Backend)
		var got []string
		for _, q := range c.proxy.Requests() {
			query, err := url.ParseQuery(q.Query)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, strings.TrimSpace(strings.Join([]string{query.Get("kmsKeyName"), q.Header.Get("X-Goog-Encryption-Algorithm"),
				q.Header.Get("X-Goog-Encryption-Key"), q.Header.Get("X-Goog-Encryption-Key-Sha256")}, " ")))
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestUpload looks at the whole of an upload.
func TestUpload(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	c := n.client(t, n.proxy(t, faultproxy.WithBodies()))
	defer c.Close()
	if _, err := c.Write(t.Context(), backend.DefaultWorkspace, []byte("a state"), backend.Condition{}); err != nil {
		t.Fatal(err)
	}
	q := c.proxy.Requests()[0]
	query, err := url.ParseQuery(q.Query)
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{"alt": {"json"}, "ifGenerationMatch": {"0"}, "name": {n.object("default.tfstate")}, "prettyPrint": {"false"}, "projection": {"full"}, "uploadType": {"multipart"}}
	if diff := cmp.Diff(want, query); diff != "" || q.Header.Get("Authorization") != "Bearer "+canary || !strings.Contains(q.Header.Get("User-Agent"), strings.ReplaceAll(lock.Version, " ", "/")) {
		t.Errorf("%v\n%s", q.Header, diff)
	}
	parts := bytes.Split(q.Body, []byte("\r\n\r\n"))
	if len(parts) != 3 || !bytes.Contains(parts[1], []byte("text/plain; charset=utf-8")) || !bytes.HasPrefix(parts[2], []byte("a state\r\n")) {
		t.Fatalf("%s", q.Body)
	}
	text, _, _ := bytes.Cut(parts[1], []byte("\r\n"))
	var attrs map[string]any
	if err := json.Unmarshal(text, &attrs); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	delete(attrs["metadata"].(map[string]any), "statelatch-call")
	if diff := cmp.Diff(map[string]any{"bucket": n.config.Bucket, "contentType": "text/plain; charset=utf-8", "crc32c": "MozKBQ==", "metadata": map[string]any{}, "name": n.object("default.tfstate")}, attrs); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOtherAuth: a variable that has the vendor's client pass over the credentials that
// it is given does not do so here.
func TestOtherAuth(t *testing.T) {
	n := fakegcs.open(t)
	t.Setenv("GOOGLE_API_GO_EXPERIMENTAL_DISABLE_NEW_AUTH_LIB", "true")
	c := n.client(t, nil)
	defer c.Close()
	everything(t, c.Backend)
	for _, q := range c.proxy.Requests() {
		if q.Header.Get("Authorization") != "Bearer "+canary {
			t.Errorf("%s %s with %q", q.Method, q.Path, q.Header.Get("Authorization"))
		}
	}
}

// TestEndpoints has each form of a custom endpoint get to all parts of the API.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/storage/v1/b", "/storage/v1/", "/storage/v1/b/", "", "/"} {
		c := fakegcs.open(t).client(t, nil, func(c *gcs.Config) {
			c.StorageCustomEndpoint = strings.TrimSuffix(c.StorageCustomEndpoint, "/storage/v1/b") + path
		})
		defer c.Close()
		everything(t, c.Backend)
	}
}

// A google is what stands for Google's servers of tokens: it notes what it was asked
// for, and gives tokens.
type google struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

// serve gives a token for a service account's assertion, or one that impersonates.
func (g *google) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	g.mu.Lock()
	defer g.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/refuse" {
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`)
		return
	}
	if values, err := url.ParseQuery(string(body)); err == nil && values.Has("assertion") {
		claims, _ := base64.RawURLEncoding.DecodeString(strings.Split(values.Get("assertion"), ".")[1])
		var claim struct{ Iss, Scope string }
		json.Unmarshal(claims, &claim) // what is not there, is not found
		g.asked = append(g.asked, claim.Iss+" "+claim.Scope)
		io.WriteString(w, `{"access_token":"exchanged","token_type":"Bearer","expires_in":3600}`)
		return
	}
	g.asked = append(g.asked, fmt.Sprintf("%s %s %s %s", r.Host, r.URL.Path, r.Header.Get("Authorization"), body))
	io.WriteString(w, `{"accessToken":"impersonated","expireTime":"2099-01-01T00:00:00Z"}`)
}

// serviceAccount returns the credentials of one that gets its tokens at tokenURI.
func serviceAccount(t *testing.T, tokenURI string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "robot@p.iam.gserviceaccount.com", "token_uri": tokenURI,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestServiceAccount has a service account's credentials exchanged for a token of the
// scope that Terraform asks for; with those of the environment it is the same.
func TestServiceAccount(t *testing.T) {
	fakegcs.start(t) // which needs the home directory
	home := isolate(t)
	g := &google{}
	g.Server = httptest.NewServer(http.HandlerFunc(g.serve))
	defer g.Close()
	account := serviceAccount(t, g.URL)
	for name, change := range map[string]func(*gcs.Config){
		"credentials": func(c *gcs.Config) { c.Credentials = backend.Secret(account) },
		"default credentials": func(*gcs.Config) {
			t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", write(t, home, "credentials", account))
		},
	} {
		n := fakegcs.open(t)
		n.config.AccessToken, g.asked = "", nil
		c := n.client(t, nil, change)
		defer c.Close()
		everything(t, c.Backend)
		if diff := cmp.Diff([]string{"robot@p.iam.gserviceaccount.com https://www.googleapis.com/auth/devstorage.read_write"}, g.asked); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		for _, q := range c.proxy.Requests() {
			if q.Header.Get("Authorization") != "Bearer exchanged" {
				t.Errorf("%s: %s %s with %q", name, q.Method, q.Path, q.Header.Get("Authorization"))
			}
		}
	}
	n := fakegcs.open(t)
	n.config.AccessToken = ""
	c := n.client(t, nil, func(c *gcs.Config) { c.Credentials = backend.Secret(serviceAccount(t, g.URL+"/refuse")) })
	defer c.Close()
	for _, m := range methods {
		isOnly(t, m.name+" without a token", m.call(t.Context(), c), backend.ErrPermission)
	}
}

// TestImpersonation has another process, which takes its proxy and whom it trusts
// from its environment, impersonate a service account by way of two others.
func TestImpersonation(t *testing.T) {
	if os.Getenv("STATELATCH_IMPERSONATE") != "" {
		impersonate(t)
		return
	}
	n := fakegcs.open(t)
	p := n.proxy(t)
	isolate(t)
	g := &google{}
	proxy, caFile := g.behindProxy(t, g.serve)
	cmd := respawn.Command(t.Context(), []string{"-test.run=^TestImpersonation$", "-test.v"},
		"STATELATCH_IMPERSONATE="+p.URL(), "STATELATCH_BUCKET="+n.config.Bucket, "HTTPS_PROXY="+proxy, "NO_PROXY=127.0.0.1", "SSL_CERT_FILE="+caFile)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := []string{"iamcredentials.googleapis.com /v1/projects/-/serviceAccounts/target@p:generateAccessToken Bearer " + canary +
		` {"delegates":["projects/-/serviceAccounts/first@p","projects/-/serviceAccounts/second@p"],"lifetime":"3600s","scope":["https://www.googleapis.com/auth/devstorage.read_write"]}`}
	if diff := cmp.Diff(want, g.asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, q := range p.Requests() {
		if q.Header.Get("Authorization") != "Bearer impersonated" {
			t.Errorf("%s %s with %q", q.Method, q.Path, q.Header.Get("Authorization"))
		}
	}
}

// impersonate is what the other process does.
func impersonate(t *testing.T) {
	b, err := gcs.New(context.Background(), gcs.Config{
		Bucket: os.Getenv("STATELATCH_BUCKET"), StorageCustomEndpoint: os.Getenv("STATELATCH_IMPERSONATE"), AccessToken: canary,
		ImpersonateServiceAccount: "target@p", ImpersonateServiceAccountDelegates: []string{"first@p", "second@p"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	everything(t, b)
}

// TestUniverse has another process ask another universe's servers.
func TestUniverse(t *testing.T) {
	if os.Getenv("STATELATCH_UNIVERSE") != "" {
		b, err := gcs.New(context.Background(), gcs.Config{Bucket: "b", AccessToken: canary, UniverseDomain: "example.goog"})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if _, err := b.Stat(t.Context(), backend.DefaultWorkspace); err == nil {
			t.Error("a reply that makes no sense was taken")
		}
		return
	}
	isolate(t)
	g := &google{}
	proxy, caFile := g.behindProxy(t, g.serve)
	cmd := respawn.Command(t.Context(), []string{"-test.run=^TestUniverse$", "-test.v"},
		"STATELATCH_UNIVERSE=1", "HTTPS_PROXY="+proxy, "SSL_CERT_FILE="+caFile)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if diff := cmp.Diff([]string{"storage.example.goog /storage/v1/b/b/o/default.tfstate Bearer " + canary + " "}, g.asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// behindProxy puts g behind an HTTP proxy, as the https server of any name. It
// returns the proxy's URL, and the file of the CA that vouches for g.
func (g *google) behindProxy(t *testing.T, serve http.HandlerFunc) (proxy, caFile string) {
	t.Helper()
	ca, err := testservice.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue("iamcredentials.googleapis.com", "storage.example.goog")
	if err != nil {
		t.Fatal(err)
	}
	g.Server = httptest.NewUnstartedServer(serve)
	g.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	g.StartTLS()
	t.Cleanup(g.Close)
	tunnel := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		server, err := net.Dial("tcp", g.Listener.Addr().String())
		if r.Method != http.MethodConnect || err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer server.Close()
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			io.Copy(server, client)
			server.Close()
		}()
		io.Copy(client, server)
	}))
	t.Cleanup(tunnel.Close)
	return tunnel.URL, write(t, t.TempDir(), "ca.pem", string(ca.PEM))
}
