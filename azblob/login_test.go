package azblob_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/statelatch/statelatch/azblob"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/azurecloud"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
)

const tenant = "11111111-2222-3333-4444-555555555555"

// token is a bearer token of the form that Azurite looks at; it checks no signature.
func token() string {
	part := func(v any) string {
		data, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(data)
	}
	now := time.Now().Unix()
	return part(map[string]any{"alg": "none", "typ": "JWT"}) + "." + part(map[string]any{
		"aud": "https://storage.azure.com", "iss": "https://sts.windows.net/" + tenant + "/",
		"iat": now - 60, "nbf": now - 60, "exp": now + 3600, "oid": tenant, "tid": tenant, "ver": "1.0",
	}) + "." + base64.RawURLEncoding.EncodeToString([]byte("signature"))
}

// entra answers for Entra ID and for the management API. It notes the forms that were
// sent to get tokens.
type entra struct {
	forms []url.Values
	key   string
}

func (e *entra) answer(w http.ResponseWriter, r *http.Request, forward http.Handler) {
	reply := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	}
	switch {
	case r.Host == azurecloud.LoginHost && strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
		reply(map[string]string{
			"issuer":                 "https://" + azurecloud.LoginHost + "/" + tenant + "/v2.0",
			"authorization_endpoint": "https://" + azurecloud.LoginHost + "/" + tenant + "/oauth2/v2.0/authorize",
			"token_endpoint":         "https://" + azurecloud.LoginHost + "/" + tenant + "/oauth2/v2.0/token",
		})
	case r.Host == azurecloud.LoginHost:
		r.ParseForm()
		e.forms = append(e.forms, r.PostForm)
		if r.PostForm.Get("client_secret") == "wrong-secret" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided."}`)
			return
		}
		reply(map[string]any{"token_type": "Bearer", "expires_in": 3600, "access_token": token()})
	case r.Host == azurecloud.ManagementHost && r.Header.Get("Authorization") == "":
		w.WriteHeader(http.StatusUnauthorized)
	case r.Host == azurecloud.ManagementHost && r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/listKeys"):
		reply(map[string]any{"keys": []map[string]string{{"keyName": "key0", "value": "cmVhZA==", "permissions": "Read"}, {"keyName": "key1", "value": e.key, "permissions": "FULL"}}})
	case r.Host == azurecloud.ManagementHost:
		reply(map[string]any{"properties": map[string]any{"primaryEndpoints": map[string]string{"blob": "https://devstoreaccount1.blob." + azurecloud.Suffix + "/"}}})
	default:
		forward.ServeHTTP(w, r)
	}
}

// bundle makes a client certificate with its key, in PEM.
func bundle(t *testing.T) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der2, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der2})...)
}

// ci stands for the two CI systems that issue tokens.
func ci(t *testing.T) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer request-token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		q := r.URL.Query()
		switch {
		case r.Method == http.MethodGet && q.Get("audience") == "api://AzureADTokenExchange" && q.Get("run") == "1":
			fmt.Fprint(w, `{"value":"from GitHub"}`)
		case r.Method == http.MethodPost && q.Get("serviceConnectionId") == "connection" && q.Get("api-version") == "7.1":
			fmt.Fprint(w, `{"oidcToken":"from DevOps"}`)
		default:
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// TestLogin logs in in each way that needs nothing but the network, where metadata_host
// says, and works then.
func TestLogin(t *testing.T) {
	dir, pemBundle := t.TempDir(), bundle(t)
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	issuer := ci(t)
	for name, test := range map[string]struct {
		change func(*azblob.Config)
		form   map[string]string // what is sent; "*" stands for anything
	}{
		"secret": {func(c *azblob.Config) { c.ClientSecret = "secret" }, map[string]string{"client_secret": "secret", "client_id": "client"}},
		"secret and ID in files": {func(c *azblob.Config) {
			c.ClientID, c.ClientIDFile, c.ClientSecretFile = "", file("id", "client\n"), file("secret", "secret\n")
		}, map[string]string{"client_secret": "secret", "client_id": "client"}},
		"certificate": {func(c *azblob.Config) {
			c.ClientCertificate = backend.Secret(base64.StdEncoding.EncodeToString(pemBundle))
		}, map[string]string{"client_assertion": "*"}},
		"certificate in file": {func(c *azblob.Config) { c.ClientCertificatePath = file("bundle", string(pemBundle)) }, map[string]string{"client_assertion": "*"}},
		"certificate before secret": {func(c *azblob.Config) {
			c.ClientCertificatePath, c.ClientSecret = file("bundle2", string(pemBundle)), "secret"
		}, map[string]string{"client_assertion": "*", "client_secret": ""}},
		"OIDC token":         {func(c *azblob.Config) { c.UseOIDC, c.OIDCToken = true, "token" }, map[string]string{"client_assertion": "token"}},
		"OIDC token in file": {func(c *azblob.Config) { c.UseOIDC, c.OIDCTokenFile = true, file("token", "token\n") }, map[string]string{"client_assertion": "token"}},
		"OIDC of GitHub": {func(c *azblob.Config) {
			c.UseOIDC, c.OIDCRequestURL, c.OIDCRequestToken = true, issuer.URL+"?run=1", "request-token"
		}, map[string]string{"client_assertion": "from GitHub"}},
		"OIDC of Azure DevOps": {func(c *azblob.Config) {
			c.UseOIDC, c.OIDCRequestURL, c.OIDCRequestToken, c.ADOServiceConnection = true, issuer.URL, "request-token", "connection"
		}, map[string]string{"client_assertion": "from DevOps"}},
		"OIDC of Azure DevOps, as OpenTofu calls it": {func(c *azblob.Config) {
			c.UseOIDC, c.OIDCRequestURL, c.OIDCRequestToken, c.ADOServiceConnection2 = true, issuer.URL, "request-token", "connection"
		}, map[string]string{"client_assertion": "from DevOps"}},
		"AKS": {func(c *azblob.Config) { c.UseAKSWorkloadIdentity = true }, map[string]string{"client_assertion": "kube token"}},
		"the account's key": {func(c *azblob.Config) {
			c.UseAzureADAuth, c.ClientSecret, c.SubscriptionID, c.ResourceGroupName = false, "secret", "sub", "group"
		}, map[string]string{"client_secret": "secret"}},
		"the account's endpoint": {func(c *azblob.Config) {
			c.ClientSecret, c.SubscriptionID, c.ResourceGroupName, c.LookupBlobEndpoint = "secret", "sub", "group", true
		}, map[string]string{"client_secret": "secret"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := skyOver(t, azuriteTLS.namespace(t, false))
			e := &entra{key: s.server.SecretKey}
			s.Proxy.Use(e.answer)
			t.Setenv("AZURE_FEDERATED_TOKEN_FILE", file("kube", "kube token"))
			b, err := s.open(t, func(c *azblob.Config) {
				c.AccessKey, c.UseAzureADAuth, c.TenantID, c.ClientID = "", true, tenant, "client"
				test.change(c)
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.Write(t.Context(), ws, []byte("state"), backend.Condition{}); err != nil {
				t.Error(err)
			}
			if len(e.forms) == 0 {
				t.Fatal("it did not log in")
			}
			for key, want := range test.form {
				if got := e.forms[0].Get(key); got != want && !(want == "*" && got != "") {
					t.Errorf("it sent %s %q, want %q", key, got, want)
				}
			}
		})
	}
}

// TestManagedIdentity asks the endpoint of the setting.
func TestManagedIdentity(t *testing.T) {
	var asked *http.Request
	client := lock.NewID() // the vendor's library keeps the tokens of each for all
	msi := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r
		fmt.Fprintf(w, `{"access_token":%q,"expires_in":"3600","resource":"https://storage.azure.com","token_type":"Bearer"}`, token())
	}))
	defer msi.Close()
	s := skyOver(t, azuriteTLS.namespace(t, false))
	s.Proxy.Use((&entra{}).answer)
	b, err := s.open(t, func(c *azblob.Config) {
		c.AccessKey, c.UseAzureADAuth, c.UseMSI, c.ClientID, c.MSIEndpoint = "", true, true, client, msi.URL+"/token"
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Write(t.Context(), ws, []byte("state"), backend.Condition{}); err != nil {
		t.Error(err)
	}
	if asked == nil || asked.URL.Path != "/token" || asked.URL.Query().Get("client_id") != client {
		t.Errorf("it asked %v", asked)
	}
}

// TestCLI logs in with what the program az prints, and finds the account's key in the
// subscription that is selected there.
func TestCLI(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	az := func(subscription string) {
		script := fmt.Sprintf(`#!/bin/sh
case "$*" in
*get-access-token*) echo '{"accessToken":"%s","expiresOn":"2099-01-01 00:00:00.000000","expires_on":4070908800}' ;;
"account show --query id --output tsv") %s ;;
*) exit 2 ;;
esac
`, token(), subscription)
		if err := os.WriteFile(filepath.Join(dir, "az"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s := skyOver(t, azuriteTLS.namespace(t, false))
	s.Proxy.Use((&entra{key: s.server.SecretKey}).answer)
	open := func(entra bool) (*azblob.Backend, error) {
		return s.open(t, func(c *azblob.Config) {
			c.AccessKey, c.UseAzureADAuth, c.UseCLI, c.ResourceGroupName = "", entra, true, "group"
		})
	}
	for _, entra := range []bool{true, false} {
		az("echo selected")
		b, err := open(entra)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Write(t.Context(), ws, []byte("state"), backend.Condition{Revision: backend.AnyRevision}); err != nil {
			t.Error(err)
		}
	}
	if n := s.Proxy.Count(faultproxy.Path("/subscriptions/selected/resourceGroups/group/providers/Microsoft.Storage/storageAccounts/devstoreaccount1/listKeys")); n != 1 {
		t.Errorf("the key was looked up %d times in the subscription that is selected", n)
	}
	for _, script := range []string{"true", "echo 'Please run az login' >&2; exit 1"} {
		az(script)
		if _, err := open(false); !errors.Is(err, backend.ErrInvalid) || !strings.Contains(err.Error(), "subscription_id") {
			t.Errorf("az does %q: %v", script, err)
		}
	}
}

// TestLoginFails: it is a permission, names what is wrong, and shows no secret.
func TestLoginFails(t *testing.T) {
	s := skyOver(t, azuriteTLS.namespace(t, false))
	e := &entra{}
	s.Proxy.Use(e.answer)
	b, err := s.open(t, func(c *azblob.Config) {
		c.AccessKey, c.UseAzureADAuth, c.TenantID, c.ClientID, c.ClientSecret = "", true, tenant, "client", "wrong-secret"
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		func() error { _, err := b.Read(t.Context(), ws); return err }(),
		func() error { _, err := b.Write(t.Context(), ws, []byte("x"), backend.Condition{}); return err }(),
	} {
		if !errors.Is(err, backend.ErrPermission) || errors.Is(err, backend.ErrUnknown) || !strings.Contains(err.Error(), "logging in failed") {
			t.Errorf("got error %v, want one that matches ErrPermission", err)
		}
		if strings.Contains(err.Error(), "wrong-secret") {
			t.Errorf("the secret is shown in: %v", err)
		}
	}
}

// TestNoAccount: an account that there is not is no state that there is not.
func TestNoAccount(t *testing.T) {
	s := skyOver(t, azuriteTLS.namespace(t, false))
	s.Proxy.Use(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if r.Host != azurecloud.ManagementHost {
			forward.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"error":{"code":"ResourceNotFound","message":"The Resource was not found."}}`)
	})
	s.Proxy.Use((&entra{}).answer)
	_, err := s.open(t, func(c *azblob.Config) {
		c.AccessKey, c.TenantID, c.ClientID, c.ClientSecret, c.SubscriptionID, c.ResourceGroupName = "", tenant, "client", "the-secret", "sub", "group"
	})
	checkError(t, "open", err, backend.ErrInvalid, "looking up the key", "the-secret")
}
