package httpbackend_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend"
	"github.com/statelatch/statelatch/internal/testservice"
)

// TestSettings: every attribute, from a block and from its variable.
func TestSettings(t *testing.T) {
	two, half, nine := 2, 0.5, 9.0
	want := httpbackend.Config{
		Address: "https://host/p", UpdateMethod: "PUT",
		LockAddress: "https://host/l", LockMethod: "POST", UnlockAddress: "https://host/u", UnlockMethod: "DELETE",
		Username: "ann", Password: "secret",
		ClientCACertificatePEM: "ca", ClientCertificatePEM: "cert", ClientPrivateKeyPEM: "key",
		RetryMax: &two, RetryWaitMin: &half, RetryWaitMax: &nine,
	}
	settings := backend.Settings{
		"address": "https://host/p", "update_method": "PUT",
		"lock_address": "https://host/l", "lock_method": "POST", "unlock_address": "https://host/u", "unlock_method": "DELETE",
		"username": "ann", "password": "secret",
		"client_ca_certificate_pem": "ca", "client_certificate_pem": "cert", "client_private_key_pem": "key",
		"retry_max": "2", "retry_wait_min": "0.5", "retry_wait_max": "9",
	}
	equal := func(got httpbackend.Config) {
		t.Helper()
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(httpbackend.Config{}, "Client")); diff != "" {
			t.Error(diff)
		}
	}
	for name, value := range settings {
		t.Setenv("TF_HTTP_"+strings.ToUpper(name), value.(string))
	}
	var fromEnv httpbackend.Config
	if err := (backend.Settings{}).Decode(&fromEnv); err != nil {
		t.Fatal(err)
	}
	equal(fromEnv)
	for name := range settings {
		t.Setenv("TF_HTTP_"+strings.ToUpper(name), "77")
	}
	more := maps.Clone(settings)
	more["skip_cert_verification"] = true
	more["headers"] = map[string]any{"X-Token": "canary"}
	more["max_size"] = 1000
	want.SkipCertVerification, want.Headers, want.MaxSize = true, map[string]backend.Secret{"X-Token": "canary"}, 1000
	var fromBlock httpbackend.Config
	if err := more.Decode(&fromBlock); err != nil {
		t.Fatal(err)
	}
	equal(fromBlock)
	if text := strings.Join([]string{cmp.Diff(1, 1), strings.ReplaceAll(strings.TrimSpace(sprint(fromBlock)), "\n", " ")}, ""); strings.Contains(text, "canary") || strings.Contains(text, "secret") {
		t.Errorf("a secret is printed: %s", text)
	}
}

func TestOpenURL(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		b, err := backend.NewMux(httpbackend.Driver).OpenURL(t.Context(), scheme+"://127.0.0.1:1/state/{workspace}?retry_max=0")
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.Read(t.Context(), "prod")
		if !errors.Is(err, backend.ErrTransient) || !strings.Contains(err.Error(), scheme+"://127.0.0.1:1/state/prod") {
			t.Errorf("%v", err)
		}
	}
}

func TestMistakes(t *testing.T) {
	minus, nan := -1, -0.1
	pair := func(c *httpbackend.Config, cert, key string) {
		c.ClientCertificatePEM, c.ClientPrivateKeyPEM = cert, backend.Secret(key)
	}
	for text, change := range map[string]func(*httpbackend.Config){
		`"address": it is required`:                                     func(c *httpbackend.Config) { c.Address = "" },
		`"address": it must be an HTTP or HTTPS URL`:                    func(c *httpbackend.Config) { c.Address = "ftp://canary/x" },
		`"address": it is not a URL`:                                    func(c *httpbackend.Config) { c.Address = "http://canary:%zz" },
		`"lock_address": it must be an HTTP or HTTPS URL`:               func(c *httpbackend.Config) { c.LockAddress = "canary" },
		`"unlock_address": it must be an HTTP or HTTPS URL`:             func(c *httpbackend.Config) { c.UnlockAddress = "/canary" },
		`"lock_address": {workspace} is to be in all addresses`:         func(c *httpbackend.Config) { c.LockAddress = "http://h/{workspace}" },
		`"address": {workspace} may be in the path, once`:               func(c *httpbackend.Config) { c.Address = "http://h/{workspace}/{workspace}" },
		`"retry_max": it is a number, not below zero`:                   func(c *httpbackend.Config) { c.RetryMax = &minus },
		`"retry_wait_min": it is a number, not below zero`:              func(c *httpbackend.Config) { c.RetryWaitMin = &nan },
		`"max_size": it is a number, not below zero`:                    func(c *httpbackend.Config) { c.MaxSize = -1 },
		`"headers": name "a b" has characters`:                          func(c *httpbackend.Config) { c.Headers = map[string]backend.Secret{"a b": "canary"} },
		`"headers": the value of "a" is blank or not printable ASCII`:   func(c *httpbackend.Config) { c.Headers = map[string]backend.Secret{"a": "canary\n"} },
		`"headers": "Authorization" excludes the setting "username"`:    func(c *httpbackend.Config) { c.Headers = map[string]backend.Secret{"authorization": "canary"} },
		`"headers": "content-md5" is set by the backend`:                func(c *httpbackend.Config) { c.Headers = map[string]backend.Secret{"content-md5": "canary"} },
		`"client_ca_certificate_pem": it holds no certificate`:          func(c *httpbackend.Config) { c.ClientCACertificatePEM = "canary" },
		`"client_private_key_pem": it is required`:                      func(c *httpbackend.Config) { pair(c, "canary", "") },
		`"client_certificate_pem": it is required`:                      func(c *httpbackend.Config) { pair(c, "", "canary") },
		`"client_certificate_pem": it and client_private_key_pem are n`: func(c *httpbackend.Config) { pair(c, "canary", "canary") },
	} {
		config := httpbackend.Config{Address: "http://host/p", Username: "ann"}
		change(&config)
		_, err := httpbackend.New(context.Background(), config)
		var wrong *backend.SettingError
		if !errors.Is(err, backend.ErrInvalid) || !errors.As(err, &wrong) || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v, want %s", err, text)
		}
	}
}

// TestTLS: certificates are checked, unless that is switched off.
func TestTLS(t *testing.T) {
	ca, err := testservice.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	address := listenTLS(t, newPlain(false), ca)
	none := 0
	for name, c := range map[string]struct {
		change func(*httpbackend.Config)
		kind   error
	}{
		"trusted":     {func(c *httpbackend.Config) { c.ClientCACertificatePEM = string(ca.PEM) }, backend.ErrNotExist},
		"not trusted": {func(*httpbackend.Config) {}, backend.ErrInvalid},
		"unchecked":   {func(c *httpbackend.Config) { c.SkipCertVerification = true }, backend.ErrNotExist},
		"no HTTPS": {func(c *httpbackend.Config) {
			c.Address = listen(t, newPlain(false))
			c.Address = "https" + c.Address[4:]
		}, backend.ErrInvalid},
	} {
		config := httpbackend.Config{Address: address, RetryMax: &none}
		c.change(&config)
		b, err := httpbackend.New(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Read(t.Context(), backend.DefaultWorkspace); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
		b.Close()
	}
}

// TestWaits: retry_wait_min doubles up to retry_wait_max, and Retry-After goes before.
func TestWaits(t *testing.T) {
	min, max := 0.1, 0.3
	c := httpbackend.Config{RetryWaitMin: &min, RetryWaitMax: &max}
	for n, want := range []int64{100, 200, 300, 300} {
		if got := httpbackend.Wait(c, n+1); got.Milliseconds() != want {
			t.Errorf("after attempt %d: %s", n+1, got)
		}
	}
	if got := httpbackend.Wait(c, 1000); got != 300*time.Millisecond {
		t.Errorf("after attempt 1000: %s", got)
	}
}
