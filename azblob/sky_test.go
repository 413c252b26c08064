package azblob_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statelatch/statelatch/azblob"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/testservice"
)

// The names of a cloud that exists in these tests only.
const (
	metadataHost   = "metadata.statelatch.test"
	loginHost      = "login.statelatch.test"
	managementHost = "management.statelatch.test"
	suffix         = "storage.statelatch.test"
)

// A sky is a cloud of its own: the names above lead, through a CONNECT proxy, to a
// proxy with a certificate for them, in front of Azurite.
type sky struct {
	*namespace
	proxy  *faultproxy.Proxy
	env    []string
	caFile string
	tunnel string
}

func newSky(t testing.TB) *sky {
	t.Helper()
	return skyOver(t, newNamespace(t, false))
}

func skyOver(t testing.TB, n *namespace) *sky {
	t.Helper()
	ca, err := testservice.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := ca.Issue(metadataHost, loginHost, managementHost, n.server.AccessKey+".blob."+suffix)
	if err != nil {
		t.Fatal(err)
	}
	upstream, _, _ := strings.Cut(n.server.Endpoint, "/"+n.server.AccessKey) // the account is in the host name
	opts := []faultproxy.Option{faultproxy.WithCertificate(certificate), faultproxy.WithBodies()}
	if n.server.CA != nil {
		opts = append(opts, faultproxy.WithRootCAs(n.server.CA.Pool()))
	}
	s := &sky{namespace: n, proxy: faultproxy.New(t, upstream, opts...)}
	s.proxy.Use(metadata)
	s.tunnel = tunnel(t, s.proxy.URL())
	s.caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(s.caFile, ca.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	s.env = []string{"HTTPS_PROXY=" + s.tunnel, "SSL_CERT_FILE=" + s.caFile}
	return s
}

// metadata describes the cloud, as a cloud's own management endpoint does.
func metadata(w http.ResponseWriter, r *http.Request, forward http.Handler) {
	if r.Host != metadataHost {
		forward.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{
		"name":                     "statelatch",
		"resourceManager":          "https://management.statelatch.test/",
		"portal":                   "https://portal.statelatch.test",
		"graphAudience":            "https://graph.statelatch.test/",
		"microsoftGraphResourceId": "https://graph.statelatch.test/",
		"authentication": map[string]any{
			"loginEndpoint": "https://login.statelatch.test/", "tenant": "common", "identityProvider": "AAD",
			"audiences": []string{"https://management.statelatch.test/"},
		},
		"suffixes": map[string]any{"storage": suffix, "keyVaultDns": "vault.statelatch.test"},
	})
}

// tunnel starts a CONNECT proxy that leads everybody to one place.
func tunnel(t testing.TB, to string) string {
	to = strings.TrimPrefix(to, "https://")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || !strings.HasSuffix(r.Host, ".statelatch.test:443") {
			http.Error(w, "no such place", http.StatusForbidden)
			return
		}
		there, err := net.Dial("tcp", to)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			there.Close()
			return
		}
		io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			io.Copy(there, here)
			there.Close()
		}()
		io.Copy(here, there)
		here.Close()
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return "http://" + listener.Addr().String()
}

// open opens a Backend that finds the service by way of the metadata.
func (s *sky) open(t testing.TB, change func(*azblob.Config)) (*azblob.Backend, error) {
	t.Helper()
	config := s.config(nil)
	config.BlobEndpoint, config.MetadataHost = "", metadataHost
	if change != nil {
		change(&config)
	}
	b, err := azblob.Open(context.Background(), config, s.tunnel, s.caFile)
	if err == nil {
		t.Cleanup(func() { b.Close() })
	}
	return b, err
}
