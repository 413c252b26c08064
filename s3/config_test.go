package s3_test

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	diff "github.com/google/go-cmp/cmp"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/s3"
)

// isolate hides the environment, the home directory and its profiles from a test.
func isolate(t *testing.T) (home string) {
	t.Helper()
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if upper := strings.ToUpper(name); strings.HasPrefix(upper, "AWS_") || strings.HasSuffix(upper, "_PROXY") {
			t.Setenv(name, "") // restores it
			os.Unsetenv(name)
		}
	}
	home = t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	// The SDK has looked for the home directory before.
	for files, name := range map[*[]string]string{&config.DefaultSharedConfigFiles: "config", &config.DefaultSharedCredentialsFiles: "credentials"} {
		saved := *files
		*files = []string{filepath.Join(home, ".aws", name)}
		t.Cleanup(func() { *files = saved })
	}
	return home
}

// write makes a file in the home directory.
func write(t *testing.T, home, name, text string) string {
	t.Helper()
	path := filepath.Join(home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var driver = backend.NewMux(s3.Driver)

// settings returns those that every block needs, and others; a dot in a name leads
// into a nested one.
func settings(others map[string]any) backend.Settings {
	s := backend.Settings{"bucket": "b", "key": "k", "region": "eu-central-1"}
	for name, value := range others {
		outer, inner, nested := strings.Cut(name, ".")
		if !nested {
			s[name] = value
			continue
		}
		if s[outer] == nil {
			s[outer] = backend.Settings{}
		}
		s[outer].(backend.Settings)[inner] = value
	}
	return s
}

// open opens a Backend by its settings.
func open(t *testing.T, others map[string]any) (*s3.Backend, error) {
	t.Helper()
	b, err := driver.Open(t.Context(), "s3", settings(others).Decode)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { b.Close() })
	return b.(*s3.Backend), nil
}

func mustOpen(t *testing.T, others map[string]any) *s3.Backend {
	t.Helper()
	b, err := open(t, others)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// asURL writes settings as a URL.
func asURL(others map[string]any) string {
	u := url.URL{Scheme: "s3", Host: "b", Path: "/k"}
	query := url.Values{"region": {"eu-central-1"}}
	for name, value := range others {
		switch v := value.(type) {
		case []any:
			for _, item := range v {
				query.Add(name, fmt.Sprint(item))
			}
		case map[string]any:
			for key, item := range v {
				query.Set(name+"."+key, fmt.Sprint(item))
			}
		default:
			query.Set(name, fmt.Sprint(v))
		}
		switch name {
		case "bucket":
			u.Host = fmt.Sprint(value)
			query.Del(name)
		case "key":
			u.Path = "/" + fmt.Sprint(value)
			query.Del(name)
		}
	}
	u.RawQuery = query.Encode()
	return u.String()
}

func TestDefaults(t *testing.T) {
	isolate(t)
	got := mustOpen(t, nil).Config()
	client := got.Client.Options()
	got.Client = nil
	want := s3.Config{Bucket: "b", Key: "k", Region: "eu-central-1", WorkspaceKeyPrefix: "env:", MaxRetries: 5}
	if d := diff.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if client.Region != "eu-central-1" || client.BaseEndpoint != nil || client.UsePathStyle || client.Retryer.MaxAttempts() != 5 {
		t.Errorf("the client has region %q, endpoint %v, path style %v, %d attempts", client.Region, client.BaseEndpoint, client.UsePathStyle, client.Retryer.MaxAttempts())
	}
}

// TestVariables sets each variable, alone and beside the attribute, which goes
// before it.
func TestVariables(t *testing.T) {
	for _, test := range []struct{ variable, value, attribute, want string }{
		{"AWS_SSE_CUSTOMER_KEY", sseKey, "sse_customer_key", sseKey},
		{"AWS_SHARED_CONFIG_FILE", "/a", "shared_config_files", "[/a]"},
		{"AWS_SHARED_CREDENTIALS_FILE", "/a", "shared_credentials_files", "[/a]"},
		{"AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://m", "ec2_metadata_service_endpoint", "http://m"},
		{"AWS_METADATA_URL", "http://m", "ec2_metadata_service_endpoint", "http://m"},
		{"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6", "ec2_metadata_service_endpoint_mode", "IPv6"},
		{"AWS_ENDPOINT_URL_S3", "http://s3", "endpoints.s3", "http://s3"},
		{"AWS_S3_ENDPOINT", "s3", "endpoints.s3", "https://s3"},
		{"AWS_ENDPOINT_URL_DYNAMODB", "http://d", "endpoints.dynamodb", "http://d"},
		{"AWS_DYNAMODB_ENDPOINT", "http://d", "endpoints.dynamodb", "http://d"},
		{"AWS_ENDPOINT_URL_IAM", "http://i", "endpoints.iam", "http://i"},
		{"AWS_IAM_ENDPOINT", "http://i", "endpoints.iam", "http://i"},
		{"AWS_ENDPOINT_URL_STS", "http://s", "endpoints.sts", "http://s"},
		{"AWS_STS_ENDPOINT", "http://s", "endpoints.sts", "http://s"},
		{"AWS_ENDPOINT_URL_SSO", "http://s", "endpoints.sso", "http://s"},
		{"AWS_ROLE_ARN", roleARN, "assume_role_with_web_identity.role_arn", roleARN},
		{"AWS_ROLE_SESSION_NAME", "me", "assume_role_with_web_identity.session_name", "me"},
		{"AWS_WEB_IDENTITY_TOKEN", "a token", "assume_role_with_web_identity.web_identity_token", "a token"},
		{"AWS_WEB_IDENTITY_TOKEN_FILE", "/file", "assume_role_with_web_identity.web_identity_token_file", "/file"},
	} {
		t.Run(test.variable, func(t *testing.T) {
			isolate(t)
			t.Setenv(test.variable, test.value)
			beside := map[string]any{}
			if strings.HasPrefix(test.attribute, "assume_role_with_web_identity.") {
				maps.Copy(beside, webRole)
				if strings.Contains(test.attribute, "token") {
					delete(beside, "assume_role_with_web_identity.web_identity_token_file")
				}
			}
			delete(beside, test.attribute)
			value := func() string {
				v := tags(reflect.ValueOf(mustOpen(t, beside).Config()), "")[test.attribute]
				if v.Kind() == reflect.String {
					return v.String() // a Secret too
				}
				return fmt.Sprint(v)
			}
			if got := value(); got != test.want {
				t.Errorf("%s = %q; want %q", test.attribute, got, test.want)
			}
			a := attributes[test.attribute]
			beside[test.attribute] = a.value
			want := a.value
			if a.want != nil {
				want = a.want
			}
			if got := value(); got != fmt.Sprint(want) && got != fmt.Sprint(a.value) {
				t.Errorf("beside the attribute, %s = %q; want %v", test.attribute, got, want)
			}
		})
	}
}

// TestOrder: the attribute goes before the deprecated one, that before the variable,
// that before the deprecated variable.
func TestOrder(t *testing.T) {
	isolate(t)
	t.Setenv("AWS_S3_ENDPOINT", "https://deprecated-variable")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/variable")
	t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/variable") // as both are in pods of EKS
	t.Setenv("AWS_ROLE_ARN", roleARN)
	check := func(want string, others map[string]any) {
		t.Helper()
		if got := mustOpen(t, others).Config().Endpoints.S3; got != want {
			t.Errorf("endpoint %s, want %s", got, want)
		}
	}
	check("https://deprecated-variable", nil)
	t.Setenv("AWS_ENDPOINT_URL_S3", "https://variable")
	check("https://variable", nil)
	check("https://deprecated", map[string]any{"endpoint": "https://deprecated"})
	check("https://attribute", map[string]any{"endpoints.s3": "https://attribute"})
	if got := mustOpen(t, map[string]any{"shared_credentials_file": "/deprecated"}).Config().SharedCredentialsFiles; !slices.Equal(got, []string{"/deprecated"}) {
		t.Errorf("shared_credentials_files = %v", got)
	}
	literal := map[string]any{"assume_role_with_web_identity.role_arn": roleARN, "assume_role_with_web_identity.web_identity_token": "a token"}
	if w := mustOpen(t, literal).Config().AssumeRoleWithWebIdentity; w.WebIdentityTokenFile != "" {
		t.Errorf("the token's file = %q", w.WebIdentityTokenFile)
	}
}

// TestSDKVariables: what the SDK reads itself is effective, and attributes go before
// it.
func TestSDKVariables(t *testing.T) {
	fips := func(o sdk.Options) any { return o.EndpointOptions.UseFIPSEndpoint }
	dual := func(o sdk.Options) any { return o.EndpointOptions.UseDualStackEndpoint }
	endpoint := func(o sdk.Options) any { return aws.ToString(o.BaseEndpoint) }
	credentials := func(o sdk.Options) any {
		c, err := o.Credentials.Retrieve(t.Context())
		return fmt.Sprintf("access_key %s, secret_key %s, token %s, %v", c.AccessKeyID, c.SecretAccessKey, c.SessionToken, err)
	}
	for name, test := range map[string]struct {
		env    map[string]string
		others map[string]any
		effect func(sdk.Options) any
		want   any
	}{
		"region":                 {map[string]string{"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, map[string]any{"region": nil}, func(o sdk.Options) any { return o.Region }, "eu-west-1"},
		"default region":         {map[string]string{"AWS_DEFAULT_REGION": "eu-west-2"}, map[string]any{"region": nil}, func(o sdk.Options) any { return o.Region }, "eu-west-2"},
		"region, attribute":      {map[string]string{"AWS_REGION": "eu-west-1"}, nil, func(o sdk.Options) any { return o.Region }, "eu-central-1"},
		"region of the profile":  {map[string]string{"AWS_PROFILE": "states"}, map[string]any{"region": nil}, func(o sdk.Options) any { return o.Region }, "sa-east-1"},
		"region odd, variable":   {map[string]string{"AWS_REGION": "lab"}, map[string]any{"region": nil}, func(o sdk.Options) any { return o.Region }, "lab"},
		"FIPS":                   {map[string]string{"AWS_USE_FIPS_ENDPOINT": "true"}, nil, fips, aws.FIPSEndpointStateEnabled},
		"FIPS, attribute":        {map[string]string{"AWS_USE_FIPS_ENDPOINT": "true"}, map[string]any{"use_fips_endpoint": false}, fips, aws.FIPSEndpointStateDisabled},
		"dual stack":             {map[string]string{"AWS_USE_DUALSTACK_ENDPOINT": "true"}, nil, dual, aws.DualStackEndpointStateEnabled},
		"dual stack, attribute":  {map[string]string{"AWS_USE_DUALSTACK_ENDPOINT": "true"}, map[string]any{"use_dualstack_endpoint": false}, dual, aws.DualStackEndpointStateDisabled},
		"retry mode":             {map[string]string{"AWS_RETRY_MODE": "adaptive"}, nil, func(o sdk.Options) any { return o.RetryMode }, aws.RetryModeAdaptive},
		"retry mode, attribute":  {map[string]string{"AWS_RETRY_MODE": "adaptive"}, map[string]any{"retry_mode": "standard"}, func(o sdk.Options) any { return o.RetryMode }, aws.RetryModeStandard},
		"attempts":               {map[string]string{"AWS_MAX_ATTEMPTS": "9"}, nil, func(o sdk.Options) any { return o.Retryer.MaxAttempts() }, 5}, // as in Terraform
		"every endpoint":         {map[string]string{"AWS_ENDPOINT_URL": "https://all"}, nil, endpoint, "https://all"},
		"endpoint, attribute":    {map[string]string{"AWS_ENDPOINT_URL": "https://all"}, map[string]any{"endpoints.s3": "https://s3"}, endpoint, "https://s3"},
		"keys":                   {map[string]string{"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}, nil, credentials, "access_key AKIAENV, secret_key s, token t, <nil>"},
		"keys, attributes":       {map[string]string{"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}, keys, credentials, "access_key AKIA, secret_key secret, token , <nil>"},
		"profile":                {map[string]string{"AWS_PROFILE": "states"}, nil, credentials, "access_key AKIASTATES, secret_key s, token , <nil>"},
		"profile, attribute":     {map[string]string{"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "s"}, map[string]any{"profile": "states"}, credentials, "access_key AKIASTATES, secret_key s, token , <nil>"},
		"credentials file":       {nil, map[string]any{"profile": "elsewhere", "shared_credentials_files": []any{"~/elsewhere"}}, credentials, "access_key AKIAELSEWHERE, secret_key s, token , <nil>"},
		"config file":            {nil, map[string]any{"profile": "elsewhere", "shared_config_files": []any{"~/elsewhere-config"}, "region": nil}, func(o sdk.Options) any { return o.Region }, "ca-west-1"},
		"credentials, old name":  {nil, map[string]any{"profile": "elsewhere", "shared_credentials_file": "~/elsewhere"}, credentials, "access_key AKIAELSEWHERE, secret_key s, token , <nil>"},
		"credentials, variable":  {map[string]string{"AWS_SHARED_CREDENTIALS_FILE": "~/elsewhere"}, map[string]any{"profile": "elsewhere"}, credentials, "access_key AKIAELSEWHERE, secret_key s, token , <nil>"},
		"path style, deprecated": {nil, map[string]any{"force_path_style": true}, func(o sdk.Options) any { return o.UsePathStyle }, true},
	} {
		t.Run(name, func(t *testing.T) {
			home := isolate(t)
			write(t, home, ".aws/config", "[profile states]\nregion = sa-east-1\n[profile elsewhere]\nregion = eu-south-1\n")
			write(t, home, ".aws/credentials", "[states]\naws_access_key_id = AKIASTATES\naws_secret_access_key = s\n")
			write(t, home, "elsewhere", "[elsewhere]\naws_access_key_id = AKIAELSEWHERE\naws_secret_access_key = s\n")
			write(t, home, "elsewhere-config", "[profile elsewhere]\nregion = ca-west-1\n")
			for variable, value := range test.env {
				t.Setenv(variable, value)
			}
			if got := test.effect(mustOpen(t, test.others).Config().Client.Options()); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// TestReadyClients: they are used as they are, and what would not be checked is
// refused.
func TestReadyClients(t *testing.T) {
	isolate(t)
	client := sdk.New(sdk.Options{Region: "eu-west-3"})
	b, err := s3.New(t.Context(), s3.Config{Bucket: "b", Key: "k", Client: client})
	if err != nil || b.Config().Client != client || b.Config().Region != "eu-west-3" {
		t.Errorf("%v, %+v", err, b)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	for _, test := range []struct {
		config s3.Config
		want   string
	}{
		{s3.Config{DynamoDBTable: "t"}, `setting "dynamodb_table": beside a ready Client it needs a ready DynamoDB client too`},
		{s3.Config{AllowedAccountIDs: []string{"1"}}, `setting "allowed_account_ids": neither it nor forbidden_account_ids can be checked`},
	} {
		test.config.Bucket, test.config.Key, test.config.Client = "b", "k", client
		if _, err := s3.New(t.Context(), test.config); err == nil || !strings.Contains(err.Error(), test.want) || !errors.Is(err, backend.ErrInvalid) {
			t.Errorf("%v\nwant %s", err, test.want)
		}
	}
}
