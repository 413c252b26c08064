package all_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/statelatch/statelatch/all"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/testservice"
)

// everywhere is where every request ends up, those to other hosts by way of the
// variables for proxies, which Go reads once. It answers none.
var everywhere place

type place struct {
	addr  string
	asked atomic.Pointer[context.CancelFunc] // called with each connection
}

// watch returns a context that ends when somebody asks.
func (p *place) watch(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	p.asked.Store(&cancel)
	return ctx
}

func TestMain(m *testing.M) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	everywhere.addr = listener.Addr().String()
	everywhere.asked.Store(new(context.CancelFunc(func() {})))
	go everywhere.serve(listener)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY"} {
		os.Setenv(name, "http://"+everywhere.addr)
	}
	os.Setenv("GCE_METADATA_HOST", everywhere.addr) // Google's client asks for it late
	testservice.Main(m)
}

func (p *place) serve(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		(*p.asked.Load())()
		conn.Close()
	}
}

// TestQuietOpening opens in each way that might ask somebody, and shows that nobody is
// asked until the first operation, unless a setting wants something to be looked up.
func TestQuietOpening(t *testing.T) {
	here := "http://" + everywhere.addr
	s3 := m{"bucket": "b", "key": "k", "region": "eu-central-1", "max_retries": 1}
	s3Keys := and(s3, m{"access_key": "a", "secret_key": "s", "dynamodb_table": "t", "use_lockfile": true})
	azure := m{"storage_account_name": "account", "container_name": "container", "key": "k"}
	entra := and(azure, m{"use_azuread_auth": true, "tenant_id": "t", "client_id": "c"})
	web := and(s3, m{"assume_role_with_web_identity": m{"role_arn": roleARN, "web_identity_token": "a token"}})
	cases := map[string]struct {
		typ      string
		settings m
		env      m
		asks     bool
	}{
		"AWS":                  {"s3", s3Keys, nil, false},
		"S3 endpoint":          {"s3", and(s3Keys, m{"endpoints": m{"s3": here, "dynamodb": here}}), nil, false},
		"role":                 {"s3", and(s3Keys, m{"assume_role": m{"role_arn": roleARN}}), nil, false},
		"web identity":         {"s3", web, nil, false},
		"EC2":                  {"s3", and(s3, m{"ec2_metadata_service_endpoint": here}), nil, false},
		"account list":         {"s3", and(s3Keys, m{"allowed_account_ids": "1", "endpoints": m{"sts": here}}), nil, true},
		"forbidden account":    {"s3", and(s3Keys, m{"forbidden_account_ids": "1"}), nil, true},
		"Google":               {"gcs", m{"bucket": "b", "access_token": "t"}, nil, false},
		"GCS endpoint":         {"gcs", m{"bucket": "b", "access_token": "t", "storage_custom_endpoint": here}, nil, false},
		"Google user":          {"gcs", m{"bucket": "b", "credentials": `{"type":"authorized_user","client_id":"id","client_secret":"s","refresh_token":"r"}`}, nil, false},
		"Google impersonation": {"gcs", m{"bucket": "b", "access_token": "t", "impersonate_service_account": "a@p"}, nil, false},
		"Google machine":       {"gcs", m{"bucket": "b"}, nil, false},
		"GCS emulator":         {"gcs", m{"bucket": "b"}, m{"STORAGE_EMULATOR_HOST": everywhere.addr}, false},
		"Azure key":            {"azurerm", and(azure, m{"access_key": "a2V5"}), nil, false},
		"Azure SAS":            {"azurerm", and(azure, m{"sas_token": "sig=x", "blob_endpoint": here}), nil, false},
		"Azure secret":         {"azurerm", and(entra, m{"client_secret": "s"}), nil, false},
		"Azure OIDC":           {"azurerm", and(entra, m{"use_oidc": true, "oidc_request_url": here, "oidc_request_token": "t"}), nil, false},
		"Azure machine":        {"azurerm", and(entra, m{"use_msi": true, "msi_endpoint": here}), nil, false},
		"Azure cloud":          {"azurerm", and(azure, m{"access_key": "a2V5", "metadata_host": "cloud.invalid"}), nil, true},
		"Azure account key":    {"azurerm", and(azure, m{"resource_group_name": "g", "subscription_id": "s", "tenant_id": "t", "client_id": "c", "client_secret": "s"}), nil, true},
		"Azure endpoint":       {"azurerm", and(entra, m{"client_secret": "s", "lookup_blob_endpoint": true, "resource_group_name": "g", "subscription_id": "s"}), nil, true},
		"Consul":               {"consul", m{"path": "p", "address": everywhere.addr, "access_token": "t"}, nil, false},
		"Consul, variable":     {"consul", m{"path": "p"}, m{"CONSUL_HTTP_ADDR": everywhere.addr}, false},
		"HTTP":                 {"http", m{"address": here, "lock_address": here, "unlock_address": here, "retry_max": 0}, nil, false},
		"HTTP, variable":       {"http", m{"retry_max": 0}, m{"TF_HTTP_ADDRESS": here}, false},
	}
	opened := map[string]backend.Backend{}
	for name, test := range cases { // before anything is asked, so that no late request of another counts
		if test.asks {
			continue
		}
		t.Run(name, func(t *testing.T) {
			isolate(t)
			t.Setenv("HOME", t.TempDir())
			for name, value := range test.env {
				t.Setenv(name, fmt.Sprint(value))
			}
			ctx := everywhere.watch(t)
			b, err := all.Mux().Open(ctx, test.typ, asSettings(test.settings).Decode)
			if err != nil || ctx.Err() != nil {
				t.Fatalf("somebody was asked (%v), or it failed: %v", ctx.Err(), err)
			}
			opened[name] = b
		})
	}
	for name, b := range opened {
		ctx := everywhere.watch(t)
		if _, err := b.Read(ctx, backend.DefaultWorkspace); !errors.Is(ctx.Err(), context.Canceled) {
			t.Errorf("%s: the first operation asked somebody else: %v", name, err)
		}
		b.Close()
	}
	isolate(t)
	for name, test := range cases {
		if ctx := everywhere.watch(t); test.asks {
			if _, err := all.Mux().Open(ctx, test.typ, asSettings(test.settings).Decode); ctx.Err() == nil || err == nil {
				t.Errorf("%s: nobody was asked (%v); something was to be looked up", name, err)
			}
		}
	}
}

// TestQuietLocal: opening makes no file or directory.
func TestQuietLocal(t *testing.T) {
	dir := t.TempDir()
	rawURL, err := all.Mux().FormatURL("local", backend.Settings{"path": filepath.Join(dir, "a", "x.tfstate")})
	if err != nil {
		t.Fatal(err)
	}
	b, err := all.Mux().OpenURL(t.Context(), rawURL)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

// and returns settings of both.
func and(settings, more m) m {
	both := maps.Clone(settings)
	maps.Copy(both, more)
	return both
}
