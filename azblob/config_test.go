package azblob_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/statelatch/statelatch/azblob"
	"github.com/statelatch/statelatch/backend"
)

// noEnv takes away all variables that settings fall back to.
func noEnv(t *testing.T) {
	t.Helper()
	for _, f := range reflect.VisibleFields(reflect.TypeFor[azblob.Config]()) {
		for name := range strings.SplitSeq(f.Tag.Get("env"), ",") {
			if name != "" {
				t.Setenv(name, "")
			}
		}
	}
	t.Setenv("AZURE_FEDERATED_TOKEN_FILE", "")
}

// defaults is what is decoded from the three settings that are required.
func defaults() azblob.Config {
	c := azblob.Config{StorageAccountName: "account", ContainerName: "container", Key: "key", Environment: "public", TimeoutSeconds: 300}
	c.UseCLI = true
	return c
}

var required = backend.Settings{"storage_account_name": "account", "container_name": "container", "key": "key"}

func with(s backend.Settings) backend.Settings {
	all := backend.Settings{}
	for _, from := range []backend.Settings{required, s} {
		maps.Copy(all, from)
	}
	return all
}

// TestSettings has each setting under its name, and each of its variables.
func TestSettings(t *testing.T) {
	noEnv(t)
	for _, test := range []struct {
		setting string
		env     string // separated by commas
		value   any
		set     func(*azblob.Config)
	}{
		{"access_key", "ARM_ACCESS_KEY", "s", func(c *azblob.Config) { c.AccessKey = "s" }},
		{"sas_token", "ARM_SAS_TOKEN", "s", func(c *azblob.Config) { c.SASToken = "s" }},
		{"use_azuread_auth", "ARM_USE_AZUREAD", "true", func(c *azblob.Config) { c.UseAzureADAuth = true }},
		{"snapshot", "ARM_SNAPSHOT", "true", func(c *azblob.Config) { c.Snapshot = true }},
		{"environment", "ARM_ENVIRONMENT", "china", func(c *azblob.Config) { c.Environment = "china" }},
		{"metadata_host", "ARM_METADATA_HOSTNAME,ARM_METADATA_HOST", "s", func(c *azblob.Config) { c.MetadataHost = "s" }},
		{"customer_provided_key", "ARM_CUSTOMER_PROVIDED_KEY", "s", func(c *azblob.Config) { c.CustomerProvidedKey = "s" }},
		{"encryption_scope", "ARM_ENCYRPTION_SCOPE,ARM_ENCRYPTION_SCOPE", "s", func(c *azblob.Config) { c.EncryptionScope = "s" }}, //nolint:misspell // the first is OpenTofu's own spelling
		{"timeout_seconds", "ARM_TIMEOUT_SECONDS", "7", func(c *azblob.Config) { c.TimeoutSeconds = 7 }},
		{"endpoint", "", "s", func(c *azblob.Config) { c.Endpoint = "s" }},
		{"blob_endpoint", "", "s", func(c *azblob.Config) { c.BlobEndpoint = "s" }},
		{"max_size", "", "7", func(c *azblob.Config) { c.MaxSize = 7 }},
		{"resource_group_name", "", "s", func(c *azblob.Config) { c.ResourceGroupName = "s" }},
		{"subscription_id", "ARM_SUBSCRIPTION_ID", "s", func(c *azblob.Config) { c.SubscriptionID = "s" }},
		{"tenant_id", "ARM_TENANT_ID", "s", func(c *azblob.Config) { c.TenantID = "s" }},
		{"client_id", "ARM_CLIENT_ID", "s", func(c *azblob.Config) { c.ClientID = "s" }},
		{"client_id_file_path", "ARM_CLIENT_ID_FILE_PATH", "s", func(c *azblob.Config) { c.ClientIDFile = "s" }},
		{"client_secret", "ARM_CLIENT_SECRET", "s", func(c *azblob.Config) { c.ClientSecret = "s" }},
		{"client_secret_file_path", "ARM_CLIENT_SECRET_FILE_PATH", "s", func(c *azblob.Config) { c.ClientSecretFile = "s" }},
		{"client_certificate", "ARM_CLIENT_CERTIFICATE", "s", func(c *azblob.Config) { c.ClientCertificate = "s" }},
		{"client_certificate_path", "ARM_CLIENT_CERTIFICATE_PATH", "s", func(c *azblob.Config) { c.ClientCertificatePath = "s" }},
		{"client_certificate_password", "ARM_CLIENT_CERTIFICATE_PASSWORD", "s", func(c *azblob.Config) { c.ClientCertificatePassword = "s" }},
		{"use_oidc", "ARM_USE_OIDC", "1", func(c *azblob.Config) { c.UseOIDC = true }},
		{"oidc_token", "ARM_OIDC_TOKEN", "s", func(c *azblob.Config) { c.OIDCToken = "s" }},
		{"oidc_token_file_path", "ARM_OIDC_TOKEN_FILE_PATH", "s", func(c *azblob.Config) { c.OIDCTokenFile = "s" }},
		{"oidc_request_url", "ARM_OIDC_REQUEST_URL,ACTIONS_ID_TOKEN_REQUEST_URL,SYSTEM_OIDCREQUESTURI", "s", func(c *azblob.Config) { c.OIDCRequestURL = "s" }},
		{"oidc_request_token", "ARM_OIDC_REQUEST_TOKEN,ACTIONS_ID_TOKEN_REQUEST_TOKEN,SYSTEM_ACCESSTOKEN", "s", func(c *azblob.Config) { c.OIDCRequestToken = "s" }},
		{"ado_pipeline_service_connection_id", "ARM_ADO_PIPELINE_SERVICE_CONNECTION_ID,ARM_OIDC_AZURE_SERVICE_CONNECTION_ID", "s", func(c *azblob.Config) { c.ADOServiceConnection = "s" }},
		{"ado_service_connection_id", "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID", "s", func(c *azblob.Config) { c.ADOServiceConnection2 = "s" }},
		{"use_msi", "ARM_USE_MSI", "true", func(c *azblob.Config) { c.UseMSI = true }},
		{"msi_endpoint", "ARM_MSI_ENDPOINT", "s", func(c *azblob.Config) { c.MSIEndpoint = "s" }},
		{"use_cli", "ARM_USE_CLI", "false", func(c *azblob.Config) { c.UseCLI = false }},
		{"use_aks_workload_identity", "ARM_USE_AKS_WORKLOAD_IDENTITY", "true", func(c *azblob.Config) { c.UseAKSWorkloadIdentity = true }},
		{"lookup_blob_endpoint", "ARM_USE_DNS_ZONE_ENDPOINT", "true", func(c *azblob.Config) { c.LookupBlobEndpoint = true }},
	} {
		want := defaults()
		test.set(&want)
		decoded := func(how string, s backend.Settings) {
			t.Helper()
			var got azblob.Config
			if err := with(s).Decode(&got); err != nil {
				t.Errorf("%s: %v", how, err)
			} else if !reflect.DeepEqual(got, want) {
				t.Errorf("%s (-want +got):\n%s", how, cmp.Diff(fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got)))
			}
		}
		decoded(test.setting, backend.Settings{test.setting: test.value})
		for name := range strings.SplitSeq(test.env, ",") {
			if name == "" {
				continue
			}
			t.Setenv(name, fmt.Sprint(test.value))
			decoded(name, nil)
			t.Setenv(name, "")
		}
	}
	var all []string
	for _, f := range backend.Fields(reflect.TypeFor[azblob.Config]()) {
		all = append(all, f.Name)
	}
	if len(all) != 37 { // those of the table, and the three that are required
		t.Errorf("there are %d settings, and the table does not have them all: %q", len(all), all)
	}
}

// TestRules: each mistake is named by its setting, and shows no value that is secret.
func TestRules(t *testing.T) {
	noEnv(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("content\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const key = "c2VjcmV0LXRoYXQtbm8tdGV4dC1tYXktc2hvdw=="
	entra := func(more backend.Settings) backend.Settings {
		s := backend.Settings{"use_azuread_auth": true, "tenant_id": "t", "client_id": "c"}
		maps.Copy(s, more)
		return s
	}
	for _, test := range []struct {
		name     string
		settings backend.Settings
		wrong    string // the settings that are named, separated by spaces
	}{
		{"key", backend.Settings{"access_key": key}, ""},
		{"SAS", backend.Settings{"sas_token": "?sv=1&sig=" + key}, ""},
		{"CLI", backend.Settings{"use_azuread_auth": true}, ""},
		{"SAS in two lines", backend.Settings{"sas_token": "sv=1\nsig=" + key}, "sas_token"},
		{"SAS with a half escape", backend.Settings{"sas_token": "sv=1&sig=%zz" + key}, "sas_token"},
		{"no way in", nil, "access_key"},
		{"key not base64", backend.Settings{"access_key": "secret!"}, "access_key"},
		{"account too short", backend.Settings{"access_key": key, "storage_account_name": "ab"}, "storage_account_name"},
		{"account in capitals", backend.Settings{"access_key": key, "storage_account_name": "Account"}, "storage_account_name"},
		{"container in capitals", backend.Settings{"access_key": key, "container_name": "Container"}, "container_name"},
		{"container with two hyphens", backend.Settings{"access_key": key, "container_name": "a--b"}, "container_name"},
		{"container with a hyphen at the end", backend.Settings{"access_key": key, "container_name": "ab-"}, "container_name"},
		{"container too short", backend.Settings{"access_key": key, "container_name": "ab"}, "container_name"},
		{"container", backend.Settings{"access_key": key, "container_name": "a-b-1"}, ""},
		{"key with a slash in front", backend.Settings{"access_key": key, "key": "/a"}, "key"},
		{"environments", backend.Settings{"access_key": key, "environment": "USGovernmentL4"}, ""},
		{"unknown environment", backend.Settings{"access_key": key, "environment": "german"}, "environment"},
		{"metadata URL", backend.Settings{"access_key": key, "metadata_host": "https://host"}, "metadata_host"},
		{"endpoint without scheme", backend.Settings{"access_key": key, "blob_endpoint": "host"}, "blob_endpoint"},
		{"endpoint of Terraform", backend.Settings{"access_key": key, "endpoint": "whatever"}, ""},
		{"customer key", backend.Settings{"access_key": key, "customer_provided_key": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="}, ""},
		{"customer key too short", backend.Settings{"access_key": key, "customer_provided_key": key}, "customer_provided_key"},
		{"customer key and scope", backend.Settings{"access_key": key, "customer_provided_key": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "encryption_scope": "s"}, "customer_provided_key"},
		{"negative timeout", backend.Settings{"access_key": key, "timeout_seconds": -1}, "timeout_seconds"},
		{"timeout that is no number", backend.Settings{"access_key": key, "timeout_seconds": "soon"}, "timeout_seconds"},
		{"negative size", backend.Settings{"access_key": key, "max_size": -1}, "max_size"},
		{"lookup of the key", backend.Settings{"resource_group_name": "g", "use_cli": false}, "subscription_id"},
		{"lookup of the endpoint", backend.Settings{"access_key": key, "lookup_blob_endpoint": true, "use_msi": true}, "resource_group_name subscription_id"},
		{"secret", entra(backend.Settings{"client_secret": key}), ""},
		{"secret without tenant", backend.Settings{"use_azuread_auth": true, "client_secret": key, "client_id": "c"}, "tenant_id"},
		{"secret without client", backend.Settings{"use_azuread_auth": true, "client_secret": key, "tenant_id": "t"}, "client_id"},
		{"secret and file agree", entra(backend.Settings{"client_secret": "content", "client_secret_file_path": path}), ""},
		{"secret and file differ", entra(backend.Settings{"client_secret": key, "client_secret_file_path": path}), "client_secret_file_path"},
		{"client and file differ", entra(backend.Settings{"client_id_file_path": path}), "client_id_file_path"},
		{"token and file differ", entra(backend.Settings{"use_oidc": true, "oidc_token": key, "oidc_token_file_path": path}), "oidc_token_file_path"},
		{"missing file", entra(backend.Settings{"client_secret_file_path": filepath.Join(dir, "none")}), "client_secret_file_path"},
		{"OIDC without a token", entra(backend.Settings{"use_oidc": true}), "oidc_request_url oidc_request_token"},
		{"OIDC", entra(backend.Settings{"use_oidc": true, "oidc_token": key}), ""},
		{"certificate that is none", entra(backend.Settings{"client_certificate": key}), "client_certificate"},
		{"certificate not base64", entra(backend.Settings{"client_certificate": "secret!"}), "client_certificate"},
		{"missing certificate", entra(backend.Settings{"client_certificate_path": filepath.Join(dir, "none")}), "client_certificate_path"},
		{"two connections agree", entra(backend.Settings{"ado_service_connection_id": "a", "ado_pipeline_service_connection_id": "a"}), ""},
		{"two connections", entra(backend.Settings{"ado_service_connection_id": "a", "ado_pipeline_service_connection_id": "b"}), "ado_service_connection_id"},
		{"two connections, and nobody logs in", backend.Settings{"access_key": key, "ado_service_connection_id": "a", "ado_pipeline_service_connection_id": "b"}, ""},
		{"nothing to log in with", backend.Settings{"use_azuread_auth": true, "use_cli": false}, "client_certificate"},
		{"unknown setting", backend.Settings{"access_key": key, "acces_key": "x"}, "acces_key"},
	} {
		b, err := azblob.Driver.Open(t.Context(), with(test.settings).Decode)
		if err == nil {
			b.Close()
		}
		switch {
		case test.wrong == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.wrong != "" && !errors.Is(err, backend.ErrInvalid):
			t.Errorf("%s: got error %v, want one that matches ErrInvalid", test.name, err)
		case err != nil:
			for name := range strings.FieldsSeq(test.wrong) {
				if !strings.Contains(err.Error(), name) {
					t.Errorf("%s: the error does not name %s: %v", test.name, name, err)
				}
			}
			if strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "secret!") {
				t.Errorf("%s: a secret is shown in: %v", test.name, err)
			}
			if errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v matches fs.ErrNotExist", test.name, err)
			}
		}
	}
}

func TestRequiredSettings(t *testing.T) {
	noEnv(t)
	for name := range required {
		s := with(backend.Settings{"access_key": "a2V5"})
		delete(s, name)
		var setting *backend.SettingError
		if _, err := azblob.Driver.Open(t.Context(), s.Decode); !errors.As(err, &setting) || setting.Name != name {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// TestServiceConnection: the connection that is set goes before those of variables, and
// OpenTofu's variable comes last.
func TestServiceConnection(t *testing.T) {
	noEnv(t)
	const ours, ours2, tofu = "ARM_ADO_PIPELINE_SERVICE_CONNECTION_ID", "ARM_OIDC_AZURE_SERVICE_CONNECTION_ID", "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"
	for _, test := range []struct {
		first, second string // as they are set
		env           map[string]string
		want          string
	}{
		{"set", "", map[string]string{tofu: "variable"}, "set"},
		{"", "set", map[string]string{ours: "variable"}, "set"},
		{"", "set", map[string]string{ours2: "variable"}, "set"},
		{"", "set", map[string]string{ours: "variable", tofu: "another"}, "set"},
		{"", "", map[string]string{ours: "variable", tofu: "another"}, "variable"},
		{"", "", map[string]string{tofu: "variable"}, "variable"},
	} {
		for name, value := range test.env {
			t.Setenv(name, value)
		}
		s := with(backend.Settings{"use_azuread_auth": true, "use_oidc": true, "oidc_token": "t", "tenant_id": "t", "client_id": "c",
			"ado_pipeline_service_connection_id": test.first, "ado_service_connection_id": test.second})
		b, err := azblob.Driver.Open(t.Context(), s.Decode)
		for name := range test.env {
			t.Setenv(name, "")
		}
		if err != nil {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		b.Close()
		if got := b.(*azblob.Backend).Config().ADOServiceConnection; got != test.want {
			t.Errorf("%+v: got %q", test, got)
		}
	}
}

// TestSASToken: what is around the token, in a file or a portal, is no part of it.
func TestSASToken(t *testing.T) {
	noEnv(t)
	for _, sas := range []string{"sv=1&sig=a%2Bb", "?sv=1&sig=a%2Bb", " ?sv=1&sig=a%2Bb\r\n"} {
		b, err := azblob.Driver.Open(t.Context(), with(backend.Settings{"sas_token": sas}).Decode)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if got := string(b.(*azblob.Backend).Config().SASToken); got != "sv=1&sig=a%2Bb" {
			t.Errorf("of %q it takes %q", sas, got)
		}
	}
}

func TestURL(t *testing.T) {
	noEnv(t)
	for _, scheme := range []string{"azurerm", "azblob"} {
		b, err := backend.NewMux(azblob.Driver).OpenURL(context.Background(), scheme+"://container/dir/key?storage_account_name=account&access_key=a2V5")
		if err != nil {
			t.Fatal(err)
		}
		b.Close()
	}
}

// TestEmptySettings: a setting that is "" is taken from its variable or default, as in
// Terraform. A variable that is not asked for may be anything.
func TestEmptySettings(t *testing.T) {
	noEnv(t)
	s := with(backend.Settings{"access_key": "", "environment": "", "timeout_seconds": 7})
	t.Setenv("ARM_ACCESS_KEY", "a2V5")
	t.Setenv("ARM_TIMEOUT_SECONDS", "rubbish")
	for environment, suffix := range map[string]string{"": "core.windows.net", "china": "core.chinacloudapi.cn"} {
		t.Setenv("ARM_ENVIRONMENT", environment)
		b, err := azblob.Driver.Open(t.Context(), s.Decode)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if got, want := b.(*azblob.Backend).URL(), "https://account.blob."+suffix; !strings.HasPrefix(got, want) {
			t.Errorf("in environment %q it is at %s, want %s", environment, got, want)
		}
	}
	delete(s, "timeout_seconds")
	if _, err := azblob.Driver.Open(t.Context(), s.Decode); err == nil || !strings.Contains(err.Error(), `setting "timeout_seconds"`) {
		t.Error(err)
	}
}
