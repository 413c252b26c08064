package gcs_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/gcs"
)

// isolate hides the environment and the home directory from a test.
func isolate(t *testing.T) (home string) {
	t.Helper()
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if upper := strings.ToUpper(name); strings.HasPrefix(upper, "GOOGLE_") || strings.HasPrefix(upper, "STORAGE_") || strings.HasSuffix(upper, "_PROXY") {
			t.Setenv(name, "") // restores it
			os.Unsetenv(name)
		}
	}
	home = t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	return home
}

// write makes a file in the home directory.
func write(t *testing.T, home, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(home, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var driver = backend.NewMux(gcs.Driver)

// with returns the settings that make a Backend without asking anybody, and others.
func with(others map[string]any) backend.Settings {
	s := backend.Settings{"bucket": "b", "access_token": "token", "storage_custom_endpoint": "http://127.0.0.1:1/storage/v1/b"}
	maps.Copy(s, others)
	return s
}

// open opens a Backend by its settings.
func open(t *testing.T, settings backend.Settings) (*gcs.Backend, error) {
	t.Helper()
	b, err := driver.Open(t.Context(), "gcs", settings.Decode)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { b.Close() })
	return b.(*gcs.Backend), nil
}

var csek = base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))

const kmsKey = "projects/p/locations/l/keyRings/r/cryptoKeys/k"

// authorizedUser is a file of credentials that takes no request to be read.
const authorizedUser = `{"type":"authorized_user","client_id":"id","client_secret":"client-secret","refresh_token":"refresh-token"}`

// attributes are all of the block's, with the fields of Config and the variables
// that they are taken from, in this order.
var attributes = []struct {
	name, field string
	value       any
	variables   []string
}{
	{"bucket", "Bucket", "states", nil},
	{"prefix", "Prefix", "a/b/", nil},
	{"credentials", "Credentials", authorizedUser, []string{"GOOGLE_BACKEND_CREDENTIALS", "GOOGLE_CREDENTIALS"}},
	{"access_token", "AccessToken", "ya29.x", []string{"GOOGLE_OAUTH_ACCESS_TOKEN"}},
	{"impersonate_service_account", "ImpersonateServiceAccount", "a@p.iam.gserviceaccount.com",
		[]string{"GOOGLE_BACKEND_IMPERSONATE_SERVICE_ACCOUNT", "GOOGLE_IMPERSONATE_SERVICE_ACCOUNT"}},
	{"impersonate_service_account_delegates", "ImpersonateServiceAccountDelegates", []string{"d@p", "e@p"}, nil},
	{"encryption_key", "EncryptionKey", csek, []string{"GOOGLE_ENCRYPTION_KEY"}},
	{"kms_encryption_key", "KMSEncryptionKey", kmsKey, []string{"GOOGLE_KMS_ENCRYPTION_KEY"}},
	{"storage_custom_endpoint", "StorageCustomEndpoint", "https://host/storage/v1/b",
		[]string{"GOOGLE_BACKEND_STORAGE_CUSTOM_ENDPOINT", "GOOGLE_STORAGE_CUSTOM_ENDPOINT"}},
	{"universe_domain", "UniverseDomain", "example.goog", []string{"GOOGLE_BACKEND_UNIVERSE_DOMAIN"}},
	{"max_size", "MaxSize", 12345, nil},
}

// TestAttributes sets each attribute in a block, in a URL and by its variables.
func TestAttributes(t *testing.T) {
	for _, a := range attributes {
		t.Run(a.name, func(t *testing.T) {
			isolate(t)
			check := func(how string, b backend.Backend, err error) {
				t.Helper()
				if err != nil {
					t.Fatalf("%s: %v", how, err)
				}
				defer b.Close()
				got := reflect.ValueOf(b.(*gcs.Backend).Config()).FieldByName(a.field).Interface()
				if diff := cmp.Diff(fmt.Sprintf("%#v", a.value), fmt.Sprintf("%#v", plain(got))); diff != "" {
					t.Errorf("%s (-want +got):\n%s", how, diff)
				}
			}
			b, err := driver.Open(t.Context(), "gcs", with(map[string]any{a.name: a.value}).Decode)
			check("block", b, err)
			b, err = driver.OpenURL(t.Context(), asURL(with(map[string]any{a.name: a.value})))
			check("URL", b, err)
			for i, variable := range a.variables {
				t.Setenv(variable, fmt.Sprint(a.value))
				for _, later := range a.variables[i+1:] {
					t.Setenv(later, "never")
				}
				for how, empty := range map[string]any{"unset": nil, "empty": ""} {
					b, err := driver.Open(t.Context(), "gcs", with(map[string]any{a.name: empty}).Decode)
					check(variable+", attribute "+how, b, err)
				}
				t.Setenv(variable, "never")
				b, err := driver.Open(t.Context(), "gcs", with(map[string]any{a.name: a.value}).Decode)
				check("attribute before "+variable, b, err)
				t.Setenv(variable, "")
			}
		})
	}
	if tagged := len(backend.Fields(reflect.TypeFor[gcs.Config]())); tagged != len(attributes) {
		t.Errorf("there are %d settings, and %d are tested", tagged, len(attributes))
	}
}

// plain returns the value of a setting as it was given.
func plain(v any) any {
	switch v := v.(type) {
	case backend.Secret:
		return string(v)
	case int64:
		return int(v)
	}
	return v
}

// asURL writes settings as a URL.
func asURL(settings backend.Settings) string {
	query := url.Values{}
	u := url.URL{Scheme: "gs"}
	for name, value := range settings {
		switch v := value.(type) {
		case []string:
			query[name] = v
		default:
			query.Set(name, fmt.Sprint(v))
		}
	}
	u.Host, u.Path = query.Get("bucket"), "/"+query.Get("prefix")
	query.Del("bucket")
	query.Del("prefix")
	u.RawQuery = query.Encode()
	return u.String()
}

// TestRules has New refuse what Terraform and OpenTofu refuse, and take what they take.
func TestRules(t *testing.T) {
	home := isolate(t)
	keyFile := write(t, home, "key", csek+"\n")
	credentialsFile := write(t, home, "credentials", authorizedUser)
	if err := os.MkdirAll(filepath.Join(home, ".config", "gcloud"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, home, filepath.Join(".config", "gcloud", "application_default_credentials.json"), "rubbish") // lest the machine be asked whether it is Google's
	for _, test := range []struct {
		name     string
		settings map[string]any
		env      string // NAME=VALUE
		text     string // in the error; "" = none
	}{
		{name: "no bucket", settings: map[string]any{"bucket": nil}, text: `setting "bucket": it is required`},
		{name: "empty bucket", settings: map[string]any{"bucket": ""}, text: `setting "bucket": it is required`},
		{name: "unknown", settings: map[string]any{"buckte": "b"}, text: `did you mean "bucket"`},
		{name: "both keys", settings: map[string]any{"encryption_key": csek, "kms_encryption_key": kmsKey}, text: `excludes "kms_encryption_key"`},
		{name: "both keys, one by a variable", settings: map[string]any{"encryption_key": csek}, env: "GOOGLE_KMS_ENCRYPTION_KEY=" + kmsKey, text: `excludes "kms_encryption_key"`},
		{name: "one key, the other empty", settings: map[string]any{"encryption_key": csek, "kms_encryption_key": ""}},
		{name: "key in a file", settings: map[string]any{"encryption_key": keyFile}},
		{name: "key in a file at home", settings: map[string]any{"encryption_key": "~/key"}},
		{name: "short key", settings: map[string]any{"encryption_key": "c2hvcnQ="}, text: "32 bytes in base64"},
		{name: "no base64", settings: map[string]any{"encryption_key": "secret-key!"}, text: "32 bytes in base64"},
		{name: "key in no file", settings: map[string]any{"encryption_key": "~/none"}, text: "32 bytes in base64"},
		{name: "credentials in a file", settings: map[string]any{"access_token": nil, "credentials": credentialsFile}},
		{name: "credentials in a file at home", settings: map[string]any{"access_token": nil, "credentials": "~/credentials"}},
		{name: "credentials themselves", settings: map[string]any{"access_token": nil, "credentials": authorizedUser}},
		{name: "default credentials", settings: map[string]any{"access_token": nil}, env: "GOOGLE_APPLICATION_CREDENTIALS=" + credentialsFile},
		{name: "credentials that are none", settings: map[string]any{"access_token": nil, "credentials": "~/secret-name"}, text: `setting "credentials": it is neither the path of a readable file nor JSON`},
		{name: "credentials of no kind", settings: map[string]any{"access_token": nil, "credentials": `{"client_secret":"secret-x"}`}, text: `setting "credentials": its JSON is not`},
		{name: "credentials of another kind", settings: map[string]any{"access_token": nil, "credentials": `{"type":"secret-x"}`}, text: `setting "credentials": its JSON is not`},
		{name: "default credentials in no file", settings: map[string]any{"access_token": nil}, env: "GOOGLE_APPLICATION_CREDENTIALS=" + filepath.Join(home, "none"), text: "GOOGLE_APPLICATION_CREDENTIALS does not name a file of credentials: open " + home},
		{name: "default credentials in no file, to impersonate", settings: map[string]any{"access_token": nil, "impersonate_service_account": "a@p"}, env: "GOOGLE_APPLICATION_CREDENTIALS=" + filepath.Join(home, "none"), text: "GOOGLE_APPLICATION_CREDENTIALS does not name"},
		{name: "none", settings: map[string]any{"access_token": nil}, text: "no credentials: set credentials or access_token"},
		{name: "token before credentials", settings: map[string]any{"credentials": "rubbish"}},
		{name: "a delegate that is null", settings: map[string]any{"impersonate_service_account_delegates": []any{nil}}, text: "impersonate_service_account_delegates"},
		{name: "endpoint that is no URL", settings: map[string]any{"storage_custom_endpoint": "127.0.0.1:4443"}, text: "storage_custom_endpoint"},
		{name: "negative size", settings: map[string]any{"max_size": -1}, text: "max_size"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if name, value, ok := strings.Cut(test.env, "="); ok {
				t.Setenv(name, value)
			}
			_, err := open(t, with(test.settings))
			switch {
			case test.text == "" && err != nil:
				t.Error(err)
			case test.text != "" && (err == nil || !strings.Contains(err.Error(), test.text)):
				t.Errorf("%v; want %q in it", err, test.text)
			case err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), csek)):
				t.Errorf("it shows a secret: %v", err)
			case errors.Is(err, fs.ErrNotExist):
				t.Errorf("%v matches fs.ErrNotExist", err)
			}
		})
	}
}

// TestNames tells where states and locks are, for each form of prefix.
func TestNames(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	root := n.config.Prefix
	for _, test := range []struct{ prefix, object string }{
		{root, root + "/default.tfstate"},
		{root + "/", root + "/default.tfstate"},
		{"//" + root + "//", root + "/default.tfstate"},
		{root + "//deeper", root + "/deeper/default.tfstate"},
		{"./" + root + "/x/../y", root + "/y/default.tfstate"},
	} {
		c := n.client(t, nil, func(c *gcs.Config) { c.Prefix = test.prefix })
		defer c.Close()
		rev, err := c.Write(t.Context(), backend.DefaultWorkspace, []byte("x"), backend.Condition{})
		if err != nil {
			t.Fatalf("%s: %v", test.prefix, err)
		}
		if status, _ := send(t, "GET", n.url(n.start(t).Endpoint, test.object), nil); status != 200 {
			t.Errorf("with prefix %q it is not %s", test.prefix, test.object)
		}
		var names []string
		for name, err := range c.List(t.Context()) {
			if names = append(names, name); err != nil {
				t.Error(err)
			}
		}
		if diff := cmp.Diff([]string{backend.DefaultWorkspace}, names); diff != "" {
			t.Errorf("with prefix %q (-want +got):\n%s", test.prefix, diff)
		}
		if err := c.Delete(t.Context(), backend.DefaultWorkspace, backend.Condition{Revision: rev}); err != nil {
			t.Error(err)
		}
	}
}

// TestReadyClient leaves a client open that it was given.
func TestReadyClient(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	config := n.config
	config.Client = n.ready(t)
	for range 2 {
		b, err := gcs.New(context.Background(), config)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Write(t.Context(), backend.DefaultWorkspace, []byte("x"), backend.Condition{Revision: backend.AnyRevision}); err != nil {
			t.Error(err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}
