package s3_test

import (
	"cmp"
	"maps"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/s3"
)

const (
	roleARN   = "arn:aws:iam::123456789012:role/states"
	policyARN = "arn:aws:iam::aws:policy/ReadOnlyAccess"
	sseKey    = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=" // of 32 digits
	kmsKeyID  = "1234abcd-12ab-34cd-56ef-1234567890ab"
)

// An attribute is one of the block's, and where New puts it.
type attribute struct {
	value any
	want  any            // in the field with that name; nil = value
	with  map[string]any // what it needs beside it
}

var (
	yes     = true
	role    = map[string]any{"assume_role.role_arn": roleARN}
	webRole = map[string]any{"assume_role_with_web_identity.role_arn": roleARN, "assume_role_with_web_identity.web_identity_token_file": "/token"}
	keys    = map[string]any{"access_key": "AKIA", "secret_key": "secret"}
	oldRole = map[string]any{"role_arn": roleARN}
)

var attributes = map[string]attribute{
	"bucket":                             {value: "other"},
	"key":                                {value: "a/b.tfstate"},
	"region":                             {value: "us-gov-west-1"},
	"workspace_key_prefix":               {value: ""},
	"use_lockfile":                       {value: true},
	"dynamodb_table":                     {value: "locks"},
	"encrypt":                            {value: true},
	"kms_key_id":                         {value: kmsKeyID},
	"sse_customer_key":                   {value: sseKey, want: backend.Secret(sseKey)},
	"acl":                                {value: "bucket-owner-full-control"},
	"state_tags":                         {value: map[string]any{"a": "1", "b": "2"}, want: map[string]string{"a": "1", "b": "2"}},
	"lock_tags":                          {value: map[string]any{"a": "1"}, want: map[string]string{"a": "1"}},
	"skip_s3_checksum":                   {value: true},
	"max_size":                           {value: 1000, want: int64(1000)},
	"conditions":                         {value: "honoured"},
	"access_key":                         {value: "AKIA", with: map[string]any{"secret_key": "secret"}},
	"secret_key":                         {value: "secret", want: backend.Secret("secret"), with: map[string]any{"access_key": "AKIA"}},
	"token":                              {value: "session", want: backend.Secret("session"), with: keys},
	"profile":                            {value: "states"},
	"shared_config_files":                {value: []any{"~/a", "/b"}, want: []string{"~/a", "/b"}},
	"shared_credentials_files":           {value: []any{"/a", "/b"}, want: []string{"/a", "/b"}},
	"allowed_account_ids":                {}, // see TestAccountLists
	"forbidden_account_ids":              {},
	"sts_region":                         {value: "us-east-1"},
	"skip_metadata_api_check":            {value: true, want: &yes},
	"ec2_metadata_service_endpoint":      {value: "http://127.0.0.1:1"},
	"ec2_metadata_service_endpoint_mode": {value: "ipv6"},
	"skip_credentials_validation":        {value: true},
	"skip_requesting_account_id":         {value: true},
	"skip_region_validation":             {value: true},
	"use_path_style":                     {value: true},
	"use_fips_endpoint":                  {value: true, want: &yes},
	"use_dualstack_endpoint":             {value: true, want: &yes},
	"custom_ca_bundle":                   {}, // see TestCustomCABundle
	"insecure":                           {value: true},
	"http_proxy":                         {value: "http://u:p@proxy:3128", want: backend.Secret("http://u:p@proxy:3128")},
	"https_proxy":                        {value: "proxy:3128", want: backend.Secret("proxy:3128")},
	"no_proxy":                           {value: ".internal,10.0.0.0/8"},
	"max_retries":                        {value: 7},
	"retry_mode":                         {value: "adaptive"},

	"endpoints.s3":       {value: "http://127.0.0.1:9000"},
	"endpoints.dynamodb": {value: "dynamo:8000", want: "https://dynamo:8000"},
	"endpoints.iam":      {value: "https://iam"},
	"endpoints.sts":      {value: "https://sts"},
	"endpoints.sso":      {value: "https://sso"},

	"assume_role.role_arn":            {value: roleARN},
	"assume_role.duration":            {value: "1h30m", want: 90 * time.Minute, with: role},
	"assume_role.external_id":         {value: "ext:1/2", with: role},
	"assume_role.policy":              {value: `{"Version":"2012-10-17"}`, with: role},
	"assume_role.policy_arns":         {value: []any{policyARN, policyARN + "2"}, want: []string{policyARN, policyARN + "2"}, with: role},
	"assume_role.session_name":        {value: "me@work", with: role},
	"assume_role.source_identity":     {value: "source", with: role},
	"assume_role.tags":                {value: map[string]any{"a": "1"}, want: map[string]string{"a": "1"}, with: role},
	"assume_role.transitive_tag_keys": {value: []any{"a", "b"}, want: []string{"a", "b"}, with: role},

	"assume_role_with_web_identity.role_arn":                {value: roleARN + "2", with: webRole},
	"assume_role_with_web_identity.duration":                {value: "15m", want: 15 * time.Minute, with: webRole},
	"assume_role_with_web_identity.policy":                  {value: `{}`, with: webRole},
	"assume_role_with_web_identity.policy_arns":             {value: []any{policyARN, policyARN}, want: []string{policyARN, policyARN}, with: webRole},
	"assume_role_with_web_identity.session_name":            {value: "me", with: webRole},
	"assume_role_with_web_identity.web_identity_token":      {value: "a token", want: backend.Secret("a token"), with: map[string]any{"assume_role_with_web_identity.role_arn": roleARN}},
	"assume_role_with_web_identity.web_identity_token_file": {value: "~/token", with: webRole},
}

// deprecated attributes end in the place of those that replaced them.
var deprecated = map[string]struct {
	attribute
	instead string
}{
	"endpoint":                        {attribute{value: "https://s3"}, "endpoints.s3"},
	"dynamodb_endpoint":               {attribute{value: "https://dynamo"}, "endpoints.dynamodb"},
	"iam_endpoint":                    {attribute{value: "https://iam"}, "endpoints.iam"},
	"sts_endpoint":                    {attribute{value: "sts", want: "https://sts"}, "endpoints.sts"},
	"force_path_style":                {attribute{value: true}, "use_path_style"},
	"shared_credentials_file":         {attribute{value: "/a", want: []string{"/a"}}, "shared_credentials_files"},
	"role_arn":                        {attribute{value: roleARN}, "assume_role.role_arn"},
	"session_name":                    {attribute{value: "me", with: oldRole}, "assume_role.session_name"},
	"external_id":                     {attribute{value: "ext", with: oldRole}, "assume_role.external_id"},
	"assume_role_duration_seconds":    {attribute{value: 3600, want: time.Hour, with: oldRole}, "assume_role.duration"},
	"assume_role_policy":              {attribute{value: "{}", with: oldRole}, "assume_role.policy"},
	"assume_role_policy_arns":         {attribute{value: []any{policyARN, policyARN}, want: []string{policyARN, policyARN}, with: oldRole}, "assume_role.policy_arns"},
	"assume_role_tags":                {attribute{value: map[string]any{"a": "1"}, want: map[string]string{"a": "1"}, with: oldRole}, "assume_role.tags"},
	"assume_role_transitive_tag_keys": {attribute{value: []any{"a", "b"}, want: []string{"a", "b"}, with: oldRole}, "assume_role.transitive_tag_keys"},
}

// tags returns the names of all settings of a struct, and the field of each.
func tags(v reflect.Value, prefix string) map[string]reflect.Value {
	all := map[string]reflect.Value{}
	for _, f := range backend.Fields(v.Type()) {
		field := v.FieldByIndex(f.Index)
		inner := field
		if f.Type.Kind() == reflect.Pointer {
			if inner = field.Elem(); field.IsNil() {
				inner = reflect.Zero(f.Type.Elem())
			}
		}
		if inner.Kind() == reflect.Struct {
			maps.Copy(all, tags(inner, prefix+f.Setting+"."))
		} else {
			all[prefix+f.Setting] = field
		}
	}
	return all
}

// TestAttributes sets each attribute in each way, and looks where it went.
func TestAttributes(t *testing.T) {
	isolate(t)
	write(t, os.Getenv("HOME"), ".aws/config", "[profile states]\n")
	all := map[string]attribute{}
	maps.Copy(all, attributes)
	places := map[string]string{}
	for name, d := range deprecated {
		all[name], places[name] = d.attribute, d.instead
	}
	names := slices.Sorted(maps.Keys(all))
	if d := diff.Diff(slices.Sorted(maps.Keys(tags(reflect.ValueOf(s3.Config{}), ""))), names); d != "" {
		t.Errorf("attributes (-in Config +in this test):\n%s", d)
	}
	for _, name := range names {
		a := all[name]
		if a.value == nil {
			continue
		}
		set := map[string]any{name: a.value}
		for other, value := range a.with {
			if _, file := a.with["assume_role_with_web_identity.web_identity_token_file"]; !file || other != name {
				set[other] = cmp.Or[any](set[other], value)
			}
		}
		t.Run(name, func(t *testing.T) {
			viaURL, err := driver.OpenURL(t.Context(), asURL(set))
			if err != nil {
				t.Fatalf("by the URL %s: %v", asURL(set), err)
			}
			defer viaURL.Close()
			for way, b := range map[string]*s3.Backend{"settings": mustOpen(t, set), "URL": viaURL.(*s3.Backend)} {
				want := a.want
				if want == nil {
					want = a.value
				}
				got := tags(reflect.ValueOf(b.Config()), "")[cmp.Or(places[name], name)].Interface()
				if d := diff.Diff(want, got); d != "" {
					t.Errorf("by %s (-want +got):\n%s", way, d)
				}
			}
		})
	}
}
