// Package azurecloud is a cloud of its own in front of Azurite, for tests that have the
// real programs use their azurerm backend. That backend takes no endpoint: it asks a
// metadata host over HTTPS which names the cloud has, and puts the account in front of one.
//
//	cloud := azurecloud.Start(t, azurite.Endpoint)
//	… // a backend block with metadata_host = azurecloud.MetadataHost
//	dir := program.Dir(t, config, cloud.Env...)
//
// The names exist nowhere else: they lead, through a CONNECT proxy that leads nowhere
// else, to a proxy with a certificate for them.
//
// Terraform enters with a SAS: with a key it signs for the emulator's account in a way of
// its own. OpenTofu enters with the key: it would show its SAS to everybody, in the lock's
// record.
package azurecloud

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/testservice"
)

// The names of the cloud. What the login and the management API answer is up to the test
// ([faultproxy.Proxy.Use]); a blob service is at ACCOUNT.blob.[Suffix].
const (
	domain         = ".statelatch.test"
	MetadataHost   = "metadata" + domain
	LoginHost      = "login" + domain
	ManagementHost = "management" + domain
	Suffix         = "storage" + domain
)

// A Cloud lasts for the length of a test.
type Cloud struct {
	Proxy  *faultproxy.Proxy // all requests pass it
	Tunnel string            // the URL of the CONNECT proxy that leads to it
	CAFile string            // who vouches for it, in PEM
	Env    []string          // says both to a program
}

// Start starts a cloud in front of an endpoint of Azurite, which ends in the account:
// "http://127.0.0.1:10000/devstoreaccount1". The options are the proxy's.
func Start(t testing.TB, endpoint string, opts ...faultproxy.Option) *Cloud {
	t.Helper()
	slash := strings.LastIndex(endpoint, "/")
	upstream, account := endpoint[:slash], endpoint[slash+1:] // the account is in the host name
	ca, err := testservice.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := ca.Issue(MetadataHost, LoginHost, ManagementHost, account+".blob."+Suffix)
	if err != nil {
		t.Fatal(err)
	}
	c := &Cloud{
		Proxy:  faultproxy.New(t, upstream, append(opts, faultproxy.WithCertificate(certificate))...),
		CAFile: filepath.Join(t.TempDir(), "ca.pem"),
	}
	c.Proxy.Use(metadata)
	if err := os.WriteFile(c.CAFile, ca.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	tunnel := httptest.NewServer(tunnel(strings.TrimPrefix(c.Proxy.URL(), "https://")))
	t.Cleanup(tunnel.Close)
	c.Tunnel = tunnel.URL
	c.Env = []string{"HTTPS_PROXY=" + c.Tunnel, "SSL_CERT_FILE=" + c.CAFile}
	return c
}

// metadata describes the cloud, as a cloud's own management endpoint does.
func metadata(w http.ResponseWriter, r *http.Request, forward http.Handler) {
	if r.Host != MetadataHost {
		forward.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"name":                     "statelatch",
		"resourceManager":          "https://" + ManagementHost + "/",
		"portal":                   "https://portal" + domain,
		"graphAudience":            "https://graph" + domain + "/",
		"microsoftGraphResourceId": "https://graph" + domain + "/",
		"authentication": map[string]any{
			"loginEndpoint": "https://" + LoginHost + "/", "tenant": "common", "identityProvider": "AAD",
			"audiences": []string{"https://" + ManagementHost + "/"},
		},
		"suffixes": map[string]any{"storage": Suffix, "keyVaultDns": "vault" + domain},
	})
}

// tunnel leads everybody who asks for a name of the cloud to one address.
func tunnel(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || !strings.HasSuffix(r.Host, domain+":443") {
			http.Error(w, "no such place", http.StatusForbidden)
			return
		}
		there, err := new(net.Dialer).DialContext(r.Context(), "tcp", to)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer there.Close()
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer here.Close()
		_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			_, _ = io.Copy(there, here)
			there.Close()
		}()
		_, _ = io.Copy(here, there)
	}
}
