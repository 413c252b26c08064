package s3_test

import (
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/s3"
)

const planted = "CANARY"

// TestRules breaks each rule. No message repeats a secret.
func TestRules(t *testing.T) {
	const web = "assume_role_with_web_identity"
	for _, test := range []struct {
		name   string
		others map[string]any
		want   string
	}{
		{"no bucket", map[string]any{"bucket": nil}, `"bucket": it is required`},
		{"blank bucket", map[string]any{"bucket": " "}, `"bucket": it is required`},
		{"no key", map[string]any{"key": nil}, `"key": it is required`},
		{"empty key", map[string]any{"key": ""}, `"key": it is required`},
		{"key with a slash in front", map[string]any{"key": "/k"}, `"key": it must not start or end with a slash`},
		{"key with a slash behind", map[string]any{"key": "k/"}, `"key": it must not start or end with a slash`},
		{"key with two slashes", map[string]any{"key": "a//b"}, `"key": it must not contain //`},
		{"key with two dots in front", map[string]any{"key": "../prod/k"}, `"key": it must not contain //, nor . or .. as a part`},
		{"key with two dots", map[string]any{"key": "a/../k"}, `"key": it must not contain //, nor . or .. as a part`},
		{"key of two dots", map[string]any{"key": ".."}, `"key": it must not contain //, nor . or .. as a part`},
		{"key with a dot in front", map[string]any{"key": "./k"}, `"key": it must not contain //, nor . or .. as a part, with which workspaces share an object or are never found; write it like prod/terraform.tfstate`},
		{"key of a dot", map[string]any{"key": "."}, `"key": it must not contain //, nor . or .. as a part`},
		{"prefix with two slashes", map[string]any{"workspace_key_prefix": "a//b"}, `"workspace_key_prefix": it must not contain //`},
		{"prefix with two dots", map[string]any{"workspace_key_prefix": "a/../b"}, `"workspace_key_prefix": it must not contain //, nor . or .. as a part`},
		{"prefix of a dot", map[string]any{"workspace_key_prefix": "."}, `"workspace_key_prefix": it must not contain //, nor . or .. as a part, with which workspaces share an object or are never found; write it like team/env`},
		{"prefix with a slash in front", map[string]any{"workspace_key_prefix": "/p"}, `"workspace_key_prefix": it must not start or end with a slash`},
		{"prefix with a slash behind", map[string]any{"workspace_key_prefix": "p/"}, `"workspace_key_prefix": it must not start or end with a slash`},
		{"no region", map[string]any{"region": nil}, `"region": it is required (or AWS_REGION or AWS_DEFAULT_REGION in the environment`},
		{"empty region", map[string]any{"region": ""}, `"region": it is required (or AWS_REGION or AWS_DEFAULT_REGION in the environment`},
		{"odd region", map[string]any{"region": "eu_central_1"}, `"region": "eu_central_1" is no region of AWS; for another service set skip_region_validation`},
		{"unknown", map[string]any{"use_lock_file": true}, `"use_lock_file": there is no such setting; did you mean "use_lockfile"?`},
		{"unknown inside", map[string]any{"endpoints.s4": "x"}, `"endpoints.s4": there is no such setting; did you mean "s3"?`},
		{"wrong type", map[string]any{"max_retries": "many"}, `"max_retries": it takes a whole number`},
		{"conditions", map[string]any{"conditions": "maybe"}, `"conditions": it is "honoured" or "ignored"`},
		{"size", map[string]any{"max_size": -1}, `"max_size": it is a number of bytes`},
		{"retries", map[string]any{"max_retries": -1}, `"max_retries": it is the number of attempts`},
		{"retry mode", map[string]any{"retry_mode": "legacy"}, `"retry_mode": it is standard or adaptive`},

		{"KMS and SSE-C", map[string]any{"kms_key_id": kmsKeyID, "sse_customer_key": sseKey}, `"kms_key_id": it excludes sse_customer_key (or AWS_SSE_CUSTOMER_KEY in the environment)`},
		{"KMS key", map[string]any{"kms_key_id": "my key"}, `"kms_key_id": it is the ID, the alias (alias/…) or the ARN`},
		{"KMS ARN", map[string]any{"kms_key_id": "arn:aws:kms:eu-central-1:123456789012:" + kmsKeyID}, `"kms_key_id": it is the ID`},
		{"SSE-C key of 31 bytes", map[string]any{"sse_customer_key": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MA=="}, `"sse_customer_key": it is a key of 32 bytes in base64: 44 characters`},
		{"SSE-C key with a line end", map[string]any{"sse_customer_key": sseKey + "\n"}, `"sse_customer_key": it is a key of 32 bytes`},
		{"SSE-C key", map[string]any{"sse_customer_key": planted}, `"sse_customer_key": it is a key of 32 bytes`},

		{"both account lists", map[string]any{"allowed_account_ids": []any{"1"}, "forbidden_account_ids": []any{"2"}}, `"allowed_account_ids": it excludes forbidden_account_ids; set one of them`},
		{"access key alone", map[string]any{"access_key": "AKIA"}, `"access_key": it and secret_key go together`},
		{"secret key alone", map[string]any{"secret_key": planted}, `"access_key": it and secret_key go together`},
		{"token alone", map[string]any{"token": planted}, `"token": it belongs to access_key and secret_key`},
		{"both credentials files", map[string]any{"shared_credentials_file": "/a", "shared_credentials_files": []any{"/b"}}, `"shared_credentials_file": it excludes shared_credentials_files`},
		{"metadata mode", map[string]any{"ec2_metadata_service_endpoint_mode": "IPv5"}, `"ec2_metadata_service_endpoint_mode": it is IPv4 or IPv6`},
		{"metadata endpoint", map[string]any{"ec2_metadata_service_endpoint": "169.254.169.254"}, `"ec2_metadata_service_endpoint": it is a URL such as`},

		{"endpoint", map[string]any{"endpoints.s3": "https://u:" + planted + "@host"}, `"endpoints.s3": it is a URL such as https://host:port, without user and password`},
		{"endpoint without host", map[string]any{"endpoints.sts": "https:///x"}, `"endpoints.sts": it is a URL`},
		{"endpoint of a strange scheme", map[string]any{"endpoints.dynamodb": "ftp://x"}, `"endpoints.dynamodb": it is a URL`},
		{"incomplete endpoint of SSO", map[string]any{"endpoints.sso": "host"}, `"endpoints.sso": it is a URL`},
		{"deprecated endpoint", map[string]any{"endpoint": "%zz"}, `"endpoint": it is a URL`},
		{"endpoint twice", map[string]any{"endpoint": "https://a", "endpoints.s3": "https://b"}, `"endpoint": it excludes endpoints.s3; set one of them`},
		{"DynamoDB's endpoint twice", map[string]any{"dynamodb_endpoint": "https://a", "endpoints.dynamodb": "https://a"}, `"dynamodb_endpoint": it excludes endpoints.dynamodb`},
		{"IAM's endpoint twice", map[string]any{"iam_endpoint": "https://a", "endpoints.iam": "https://b"}, `"iam_endpoint": it excludes endpoints.iam`},
		{"STS's endpoint twice", map[string]any{"sts_endpoint": "https://a", "endpoints.sts": "https://b"}, `"sts_endpoint": it excludes endpoints.sts`},
		{"path style twice", map[string]any{"force_path_style": true, "use_path_style": true}, `"force_path_style": it excludes use_path_style`},
		{"FIPS and an endpoint", map[string]any{"use_fips_endpoint": true, "endpoints.s3": "https://a"}, `"use_fips_endpoint": it excludes endpoints`},
		{"dual stack and an endpoint", map[string]any{"use_dualstack_endpoint": true, "dynamodb_table": "t", "endpoints.dynamodb": "https://a"}, `"use_dualstack_endpoint": it excludes endpoints`},
		{"http_proxy", map[string]any{"http_proxy": "http://u:" + planted + "@%zz"}, `"http_proxy": it is a URL such as http://host:port`},
		{"https_proxy", map[string]any{"https_proxy": "http://u:" + planted + "@h:port"}, `"https_proxy": it is a URL such as http://host:port`},
		{"no CA bundle", map[string]any{"custom_ca_bundle": "/does/not/exist"}, `"custom_ca_bundle": open /does/not/exist`},

		{"role", map[string]any{"assume_role.role_arn": "states"}, `"assume_role.role_arn": it is the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME`},
		{"no role", map[string]any{"assume_role.session_name": "me"}, `"assume_role.role_arn": it is required`},
		{"user as a role", map[string]any{"assume_role.role_arn": "arn:aws:iam::1:user/x"}, `"assume_role.role_arn": it is the ARN of a role`},
		{"short duration", with(role, "assume_role.duration", "14m59s"), `"assume_role.duration": it is between 15m and 12h`},
		{"long duration", with(role, "assume_role.duration", "12h1s"), `"assume_role.duration": it is between 15m and 12h`},
		{"no duration", with(role, "assume_role.duration", "900"), `"assume_role.duration": it takes a duration`},
		{"policy", with(role, "assume_role.policy", "[]"), `"assume_role.policy": it is a JSON object`},
		{"policy ARN", with(role, "assume_role.policy_arns", []any{policyARN, roleARN}), `"assume_role.policy_arns": each is the ARN of a policy`},
		{"session name", with(role, "assume_role.session_name", "a b"), `"assume_role.session_name": it has 2 to 64 characters`},
		{"long session name", with(role, "assume_role.session_name", strings.Repeat("a", 65)), `"assume_role.session_name": it has 2 to 64 characters`},
		{"source identity", with(role, "assume_role.source_identity", "x"), `"assume_role.source_identity": it has 2 to 64 characters`},
		{"external ID", with(role, "assume_role.external_id", "a?b"), `"assume_role.external_id": it has 2 to 1224 characters`},

		{"role of OpenTofu", map[string]any{"role_arn": "x"}, `"role_arn": it is the ARN of a role`},
		{"its duration", map[string]any{"role_arn": roleARN, "assume_role_duration_seconds": 1}, `"assume_role_duration_seconds": it is between`},
		{"its policy", map[string]any{"role_arn": roleARN, "assume_role_policy": "x"}, `"assume_role_policy": it is a JSON object`},
		{"its policy ARN", map[string]any{"role_arn": roleARN, "assume_role_policy_arns": "x"}, `"assume_role_policy_arns": each is the ARN`},
		{"its session name", map[string]any{"role_arn": roleARN, "session_name": "?"}, `"session_name": it has 2 to 64 characters`},
		{"its external ID", map[string]any{"role_arn": roleARN, "external_id": "?"}, `"external_id": it has 2 to 1224 characters`},
		{"role_arn beside", with(role, "role_arn", roleARN), `"role_arn": it excludes assume_role, which has a place for it`},
		{"session_name beside", with(role, "session_name", "me"), `"session_name": it excludes assume_role`},
		{"external_id beside", with(role, "external_id", "me"), `"external_id": it excludes assume_role`},
		{"assume_role_duration_seconds beside", with(role, "assume_role_duration_seconds", 900), `"assume_role_duration_seconds": it excludes assume_role`},
		{"assume_role_policy beside", with(role, "assume_role_policy", "{}"), `"assume_role_policy": it excludes assume_role`},
		{"assume_role_policy_arns beside", with(role, "assume_role_policy_arns", policyARN), `"assume_role_policy_arns": it excludes assume_role`},
		{"assume_role_tags beside", with(role, "assume_role_tags", map[string]any{"a": "b"}), `"assume_role_tags": it excludes assume_role`},
		{"assume_role_transitive_tag_keys beside", with(role, "assume_role_transitive_tag_keys", "a"), `"assume_role_transitive_tag_keys": it excludes assume_role`},

		{"no role of the web identity", map[string]any{web + ".web_identity_token": "a token"}, `"` + web + `.role_arn": it is required (or AWS_ROLE_ARN in the environment)`},
		{"role of the web identity", with(webRole, web+".role_arn", "x"), `"` + web + `.role_arn": it is the ARN of a role`},
		{"its duration too", with(webRole, web+".duration", "1m"), `"` + web + `.duration": it is between 15m and 12h`},
		{"no token", map[string]any{web + ".role_arn": roleARN}, `"` + web + `.web_identity_token": it or web_identity_token_file is required (or AWS_WEB_IDENTITY_TOKEN`},
		{"two tokens", with(webRole, web+".web_identity_token", planted), `"` + web + `.web_identity_token": it excludes web_identity_token_file`},
		{"short token", map[string]any{web + ".role_arn": roleARN, web + ".web_identity_token": "abc"}, `"` + web + `.web_identity_token": it, or web_identity_token_file, has 4 to 20000 characters`},
	} {
		t.Run(test.name, func(t *testing.T) {
			isolate(t)
			_, err := open(t, test.others)
			invalid(t, err, "setting "+test.want)
		})
	}
}

// with returns a copy of settings with one more.
func with(others map[string]any, name string, value any) map[string]any {
	all := maps.Clone(others)
	all[name] = value
	return all
}

// invalid checks an error of opening.
func invalid(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, backend.ErrInvalid) || strings.Contains(err.Error(), planted) {
		t.Errorf("%v\nwant %s", err, want)
	}
}

// TestEveryMistake: the error names them all.
func TestEveryMistake(t *testing.T) {
	isolate(t)
	_, err := open(t, map[string]any{"key": "/", "retry_mode": "x", "access_key": "x", "kms_key_id": "x"})
	for _, name := range []string{"key", "retry_mode", "access_key", "kms_key_id"} {
		invalid(t, err, `setting "`+name+`": `)
	}
}

// TestAccepted: what a stricter rule would refuse.
func TestAccepted(t *testing.T) {
	isolate(t)
	for _, others := range []map[string]any{
		{"region": "eusc-de-east-1"}, {"region": "us-isob-east-1"}, {"region": "cn-north-1"}, {"region": "mx-central-1"},
		{"region": "here", "skip_region_validation": true},
		{"key": ".terraform/..k/k."}, {"key": "a b:c/terraform.tfstate"}, {"workspace_key_prefix": ""}, {"workspace_key_prefix": "a.b/..c"},
		{"kms_key_id": "mrk-" + strings.Repeat("a", 32)}, {"kms_key_id": "alias/a/b_c-d"},
		{"kms_key_id": "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/" + kmsKeyID}, {"kms_key_id": "arn:aws:kms:eu-central-1:123456789012:alias/x"},
		{"kms_key_id": "", "sse_customer_key": sseKey}, // as in OpenTofu
		{"force_path_style": false, "use_path_style": true},
		with(role, "assume_role.duration", "12h"), with(role, "assume_role.duration", "15m"),
		{"session_name": "me"}, // without a role, OpenTofu does not look at it
		{"skip_metadata_api_check": "true"}, {"allowed_account_ids": nil},
		{"ec2_metadata_service_endpoint_mode": ""},
	} {
		if _, err := open(t, others); err != nil {
			t.Errorf("%v: %v", others, err)
		}
	}
}

// TestVariableRules: what comes from the environment is checked as well.
func TestVariableRules(t *testing.T) {
	for _, test := range []struct {
		variable, value string
		others          map[string]any
		want            string
	}{
		{"AWS_SSE_CUSTOMER_KEY", sseKey, map[string]any{"kms_key_id": kmsKeyID}, `setting "kms_key_id": it excludes sse_customer_key (or AWS_SSE_CUSTOMER_KEY`},
		{"AWS_SSE_CUSTOMER_KEY", planted, nil, `setting "sse_customer_key": it is a key of 32 bytes`},
		{"AWS_S3_ENDPOINT", "https://u:" + planted + "@h", nil, `setting "AWS_S3_ENDPOINT": it is a URL`},
		{"AWS_METADATA_URL", "host", nil, `setting "ec2_metadata_service_endpoint": it is a URL`},
		{"AWS_PROFILE", "missing", nil, "failed to get shared config profile, missing"},
		{"AWS_RETRY_MODE", "often", nil, "loading the AWS configuration"},
		{"AWS_USE_FIPS_ENDPOINT", "1", nil, "AWS_USE_FIPS_ENDPOINT"},
		{"AWS_CA_BUNDLE", "/does/not/exist", nil, "/does/not/exist"},
	} {
		t.Run(test.variable, func(t *testing.T) {
			isolate(t)
			t.Setenv(test.variable, test.value)
			_, err := open(t, test.others)
			invalid(t, err, test.want)
		})
	}
}

func TestCustomCABundle(t *testing.T) {
	home := isolate(t)
	_, err := open(t, map[string]any{"custom_ca_bundle": write(t, home, "bad.pem", planted)})
	invalid(t, err, `setting "custom_ca_bundle": `+home+"/bad.pem holds no certificate in PEM form")
}

// TestNoSecretInErrors: what is in the files of a profile, or printed by what they
// name, is in no error.
func TestNoSecretInErrors(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil || runtime.GOOS == "windows" {
		t.Skip("a credential_process here is a shell script")
	}
	for name, profile := range map[string]string{
		"half a pair":        "aws_access_key_id = " + planted,
		"other half":         "aws_secret_access_key = " + planted,
		"no line of a file":  planted,
		"section in pieces":  "[" + planted,
		"printed rubbish":    "credential_process = sh -c \"echo " + planted + "\"",
		"printed half":       `credential_process = sh -c "echo '{\"Version\": 1, \"SecretAccessKey\": \"` + planted + `\"}'"`,
		"printed and failed": "credential_process = sh -c \"echo " + planted + " >&2; exit 1\"",
		"role of rubbish":    "role_arn = " + roleARN + "\nsource_profile = process\n[profile process]\ncredential_process = sh -c \"echo " + planted + "\"",
	} {
		t.Run(name, func(t *testing.T) {
			home := isolate(t)
			write(t, home, ".aws/config", "[profile states]\n"+profile+"\n")
			b, err := open(t, map[string]any{"profile": "states", "skip_metadata_api_check": true, "endpoints.s3": "http://127.0.0.1:1", "max_retries": 1})
			if err == nil {
				_, err = b.Read(t.Context(), "default")
			}
			if err == nil || strings.Contains(err.Error(), planted) {
				t.Error(err)
			}
			t.Log(err)
		})
	}
	if c := (s3.Config{SecretKey: planted, Token: planted, SSECustomerKey: planted, HTTPProxy: planted}); strings.Contains(fmt.Sprintf("%+v", c), planted) {
		t.Errorf("%+v", c)
	}
}
