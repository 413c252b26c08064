package consul_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/consul"
	"github.com/statelatch/statelatch/internal/testservice"
)

// noEnv hides what the environment says to Consul's client.
func noEnv(t *testing.T) {
	for _, env := range os.Environ() {
		if name, _, _ := strings.Cut(env, "="); strings.HasPrefix(name, "CONSUL_") {
			t.Setenv(name, "")
		}
	}
}

// A recorder is an agent that has no keys, and keeps the last request.
type recorder struct {
	*httptest.Server
	last *http.Request
}

func record(t *testing.T, start func(http.Handler) *httptest.Server) *recorder {
	r := &recorder{}
	r.Server = start(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.last = req
		w.Header().Set("X-Consul-Index", "1")
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(r.Close)
	return r
}

// seen is what an agent sees of a configuration.
type seen struct{ Path, Token, User, Password, Datacenter, Namespace, Partition string }

func (r *recorder) seen() seen {
	user, password, _ := r.last.BasicAuth()
	q := r.last.URL.Query()
	return seen{r.last.URL.Path, r.last.Header.Get("X-Consul-Token"), user, password, q.Get("dc"), q.Get("ns"), q.Get("partition")}
}

// Each attribute, alone and from the environment, and which comes first.
func TestSettings(t *testing.T) {
	noEnv(t)
	agent := record(t, httptest.NewServer)
	address := strings.TrimPrefix(agent.URL, "http://")
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		settings backend.Settings
		env      map[string]string
		want     seen
	}{
		"path alone": {nil, map[string]string{"CONSUL_HTTP_ADDR": address}, seen{}},
		"all": {backend.Settings{"address": address, "scheme": "http", "access_token": "t", "datacenter": "d", "http_auth": "u:p:w", "gzip": "true", "lock": "false", "max_size": 1000}, nil,
			seen{Token: "t", User: "u", Password: "p:w", Datacenter: "d"}},
		"address with a scheme":        {backend.Settings{"address": agent.URL}, nil, seen{}},
		"address with a path":          {backend.Settings{"address": agent.URL + "/proxied"}, nil, seen{Path: "/proxied/v1/kv/p"}},
		"user alone":                   {backend.Settings{"address": address, "http_auth": "u"}, nil, seen{User: "u"}},
		"token":                        {nil, map[string]string{"CONSUL_HTTP_ADDR": address, "CONSUL_HTTP_TOKEN": "e"}, seen{Token: "e"}},
		"token, attribute first":       {backend.Settings{"access_token": "t"}, map[string]string{"CONSUL_HTTP_ADDR": address, "CONSUL_HTTP_TOKEN": "e"}, seen{Token: "t"}},
		"token, empty attribute":       {backend.Settings{"access_token": ""}, map[string]string{"CONSUL_HTTP_ADDR": address, "CONSUL_HTTP_TOKEN": "e"}, seen{Token: "e"}},
		"token file":                   {nil, map[string]string{"CONSUL_HTTP_ADDR": address, "CONSUL_HTTP_TOKEN": "e", "CONSUL_HTTP_TOKEN_FILE": token}, seen{Token: "from a file"}},
		"token file, attribute first":  {backend.Settings{"access_token": "t"}, map[string]string{"CONSUL_HTTP_ADDR": address, "CONSUL_HTTP_TOKEN_FILE": token}, seen{Token: "t"}},
		"HTTP auth":                    {nil, map[string]string{"CONSUL_HTTP_ADDR": address, "CONSUL_HTTP_AUTH": "u:p"}, seen{User: "u", Password: "p"}},
		"HTTP auth, attribute first":   {backend.Settings{"http_auth": "a:b"}, map[string]string{"CONSUL_HTTP_ADDR": address, "CONSUL_HTTP_AUTH": "u:p"}, seen{User: "a", Password: "b"}},
		"address, attribute first":     {backend.Settings{"address": address}, map[string]string{"CONSUL_HTTP_ADDR": "127.0.0.1:1"}, seen{}},
		"namespace and partition":      {backend.Settings{"address": address}, map[string]string{"CONSUL_NAMESPACE": "n", "CONSUL_PARTITION": "q"}, seen{Namespace: "n", Partition: "q"}},
		"SSL, and a scheme against it": {backend.Settings{"address": address, "scheme": "http"}, map[string]string{"CONSUL_HTTP_SSL": "true"}, seen{}},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range test.env {
				t.Setenv(k, v)
			}
			settings := backend.Settings{"path": "p"}
			maps.Copy(settings, test.settings)
			b, err := consul.Driver.Open(t.Context(), settings.Decode)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if _, err := b.Read(t.Context(), ws); !errors.Is(err, backend.ErrNotExist) {
				t.Fatal(err)
			}
			if test.want.Path == "" {
				test.want.Path = "/v1/kv/p"
			}
			if diff := cmp.Diff(test.want, agent.seen()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Over TLS: who may vouch for the agent, by attribute and by variable.
func TestTrust(t *testing.T) {
	noEnv(t)
	agent := record(t, httptest.NewTLSServer)
	address := strings.TrimPrefix(agent.URL, "https://")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pemOf(agent.Certificate().Raw), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		settings backend.Settings
		env      map[string]string
		trusted  bool
	}{
		"attributes":      {backend.Settings{"scheme": "https", "ca_file": ca}, nil, true},
		"variables":       {nil, map[string]string{"CONSUL_HTTP_SSL": "1", "CONSUL_CACERT": ca}, true},
		"folder":          {backend.Settings{"scheme": "https"}, map[string]string{"CONSUL_CAPATH": filepath.Dir(ca)}, true},
		"not verified":    {backend.Settings{"scheme": "https"}, map[string]string{"CONSUL_HTTP_SSL_VERIFY": "false"}, true},
		"nobody":          {backend.Settings{"scheme": "https"}, nil, false},
		"another name":    {backend.Settings{"scheme": "https", "ca_file": ca}, map[string]string{"CONSUL_TLS_SERVER_NAME": "other.invalid"}, false},
		"HTTP to HTTPS":   {backend.Settings{"scheme": "http"}, nil, false},
		"address decides": {backend.Settings{"address": agent.URL, "ca_file": ca}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range test.env {
				t.Setenv(k, v)
			}
			settings := backend.Settings{"path": "p", "address": address}
			maps.Copy(settings, test.settings)
			b, err := consul.Driver.Open(t.Context(), settings.Decode)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			_, err = b.Read(t.Context(), ws)
			want := backend.ErrNotExist
			if !test.trusted {
				want = backend.ErrInvalid
			}
			if !errors.Is(err, want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A client's certificate, by attribute and by variable.
func TestClientCertificate(t *testing.T) {
	noEnv(t)
	names := make(chan string, 1) // of those who ask
	agent := record(t, func(h http.Handler) *httptest.Server {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			names <- r.TLS.PeerCertificates[0].Subject.CommonName
			h.ServeHTTP(w, r)
		}))
		s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
		s.StartTLS()
		return s
	})
	file := func(data []byte) string {
		path := filepath.Join(t.TempDir(), "x.pem")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := file(pemOf(agent.Certificate().Raw))
	clients, err := testservice.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	files := func(name string) (cert, key string) {
		c, k := pair(t, clients, name)
		return file(c), file(k)
	}
	cert, key := files("attribute")
	envCert, envKey := files("variable")
	for _, test := range []struct {
		want            string
		settings        backend.Settings
		envCert, envKey string
	}{
		{"attribute", backend.Settings{"cert_file": cert, "key_file": key}, envCert, envKey},
		{"attribute", backend.Settings{"cert_file": cert}, "", key},
		{"attribute", backend.Settings{"key_file": key}, cert, ""},
		{"variable", backend.Settings{}, envCert, envKey},
	} {
		want, settings := test.want, test.settings
		t.Setenv("CONSUL_CLIENT_CERT", test.envCert)
		t.Setenv("CONSUL_CLIENT_KEY", test.envKey)
		maps.Copy(settings, backend.Settings{"path": "p", "address": agent.URL, "ca_file": ca})
		b, err := consul.Driver.Open(t.Context(), settings.Decode)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if _, err := b.Read(t.Context(), ws); !errors.Is(err, backend.ErrNotExist) {
			t.Fatal(err)
		}
		if got := <-names; got != want {
			t.Errorf("it has the certificate of the %s, want that of the %s", got, want)
		}
	}
}

// What is wrong is named, all of it at once, and no secret with it.
func TestInvalidSettings(t *testing.T) {
	noEnv(t)
	for name, test := range map[string]struct {
		settings backend.Settings
		says     []string
	}{
		"nothing":       {backend.Settings{}, []string{`"path"`, "required"}},
		"no path":       {backend.Settings{"path": ""}, []string{`"path"`}},
		"slashes":       {backend.Settings{"path": "//"}, []string{`"path"`}},
		"leading slash": {backend.Settings{"path": "/a"}, []string{`"path"`, "slash"}},
		"empty part":    {backend.Settings{"path": "a//b"}, []string{`"path"`}},
		"dots":          {backend.Settings{"path": "a/../b"}, []string{`"path"`}},
		"two mistakes":  {backend.Settings{"path": "p", "scheme": "ftp", "cert_file": "c", "access_token": "secret", "http_auth": "secret"}, []string{`"scheme"`, `"cert_file"`}},
		"user":          {backend.Settings{"path": "p", "address": "http://user:secret@host:8500"}, []string{`"address"`, "http_auth"}},
		"size":          {backend.Settings{"path": "p", "max_size": -1}, []string{`"max_size"`}},
		"unknown":       {backend.Settings{"path": "p", "acces_token": "secret"}, []string{`"access_token"`}},
		"type":          {backend.Settings{"path": "p", "gzip": "secret"}, []string{`"gzip"`, "true or false"}},
		"no CA file":    {backend.Settings{"path": "p", "scheme": "https", "ca_file": filepath.Join(t.TempDir(), "none"), "access_token": "secret"}, []string{"none"}},
		"protocol":      {backend.Settings{"path": "p", "address": "ftp://x", "access_token": "secret"}, []string{"ftp"}},
	} {
		_, err := consul.Driver.Open(t.Context(), test.settings.Decode)
		if !errors.Is(err, backend.ErrInvalid) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
		for _, part := range test.says {
			if !strings.Contains(fmt.Sprint(err), part) {
				t.Errorf("%s: %v; want %q in it", name, err, part)
			}
		}
		if strings.Contains(fmt.Sprintf("%+v %#v", err, err), "secret") {
			t.Errorf("%s: a secret in %+v", name, err)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	config := consul.Config{Path: "p", AccessToken: "secret", HTTPAuth: "secret"}
	if text := fmt.Sprintf("%v %+v %#v", config, config, config); strings.Contains(text, "secret") {
		t.Error(text)
	}
}

func TestURL(t *testing.T) {
	noEnv(t)
	agent := record(t, httptest.NewServer)
	mux := backend.NewMux(consul.Driver)
	b, err := mux.OpenURL(t.Context(), strings.Replace(agent.URL, "http", "consul", 1)+"/some/path?datacenter=d&gzip=true")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	b.Read(t.Context(), "prod")
	if diff := cmp.Diff(seen{Path: "/v1/kv/some/path-env:prod", Datacenter: "d"}, agent.seen()); diff != "" {
		t.Error(diff)
	}
}

// A ready client is used as it is, and stays open.
func TestClient(t *testing.T) {
	noEnv(t)
	agent := record(t, httptest.NewServer)
	config := api.DefaultConfig()
	config.Address, config.Token = agent.URL, "ready"
	client, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	b, err := consul.New(context.Background(), consul.Config{Path: "p", Client: client})
	if err != nil {
		t.Fatal(err)
	}
	b.Read(t.Context(), ws)
	if b.Close(); agent.seen().Token != "ready" {
		t.Errorf("%+v", agent.seen())
	}
}
