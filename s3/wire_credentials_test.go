package s3_test

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	diff "github.com/google/go-cmp/cmp"

	"github.com/statelatch/statelatch/backend"
)

// TestWireCredentials: where credentials come from, by the key that a request is
// signed with and the requests that were made for it.
func TestWireCredentials(t *testing.T) {
	const (
		assume, web = "AssumeRole", "AssumeRoleWithWebIdentity"
		token       = "PUT /latest/api/token"
		list        = "GET /latest/meta-data/iam/security-credentials/"
		get         = "GET /b/k"
	)
	none := map[string]any{"access_key": nil, "secret_key": nil}
	webToken := map[string]any{"assume_role_with_web_identity.role_arn": roleARN, "assume_role_with_web_identity.web_identity_token": "a token"}
	chained := merge(webToken, role)
	off := map[string]any{"skip_metadata_api_check": true}
	startURL := "https://example.awsapps.com/start"
	cached := sha1.Sum([]byte(startURL))
	files := map[string]string{
		".aws/config": "[profile chain]\nrole_arn = " + roleARN + "\nsource_profile = source\n" +
			"[profile web]\nrole_arn = " + roleARN + "\nweb_identity_token_file = TOKEN\n" +
			"[profile sso]\nsso_start_url = " + startURL + "\nsso_region = eu-central-1\nsso_account_id = 1\nsso_role_name = r\n",
		".aws/credentials": "[source]\naws_access_key_id = SOURCE\naws_secret_access_key = s\n",
		".aws/sso/cache/" + hex.EncodeToString(cached[:]) + ".json": `{"accessToken":"bearer","expiresAt":"` + never + `"}`,
		"token": "a token",
	}
	for name, test := range map[string]struct {
		env    map[string]string
		others map[string]any
		key    string // access key; "" = no request could be signed
		want   []string
	}{
		"static":                {nil, nil, "AKIA", []string{get}},
		"role":                  {nil, role, assume, []string{assume, get}},
		"deprecated role":       {nil, oldRole, assume, []string{assume, get}},
		"web identity":          {nil, merge(none, webToken), web, []string{web, get}},
		"web identity, file":    {nil, merge(none, map[string]any{"assume_role_with_web_identity.role_arn": roleARN, "assume_role_with_web_identity.web_identity_token_file": "~/token"}), web, []string{web, get}},
		"web identity, chained": {nil, merge(none, chained), assume, []string{web, assume, get}},
		"web identity, pod":     {map[string]string{"AWS_ROLE_ARN": roleARN, "AWS_WEB_IDENTITY_TOKEN_FILE": "~/token"}, none, web, []string{web, get}},
		"role of a profile":     {nil, merge(none, map[string]any{"profile": "chain"}), assume, []string{assume, get}},
		"web of a profile":      {nil, merge(none, map[string]any{"profile": "web"}), web, []string{web, get}},
		"SSO":                   {nil, merge(none, map[string]any{"profile": "sso"}), "SSO", []string{"GET /federation/credentials", get}},
		"metadata":              {nil, none, "Metadata", []string{token, list, list + "machine", get}},
		"metadata off":          {nil, merge(none, off), "", nil},
		"metadata off, env":     {map[string]string{"AWS_EC2_METADATA_DISABLED": "true"}, none, "", nil},
		"metadata on":           {map[string]string{"AWS_EC2_METADATA_DISABLED": "true"}, merge(none, map[string]any{"skip_metadata_api_check": false}), "Metadata", []string{token, list, list + "machine", get}},
	} {
		t.Run(name, func(t *testing.T) {
			home := isolate(t)
			t.Setenv("AWS_PROFILE", "")
			for file, text := range files {
				write(t, home, file, strings.ReplaceAll(text, "TOKEN", home+"/token"))
			}
			for variable, value := range test.env {
				t.Setenv(variable, strings.Replace(value, "~", home, 1))
			}
			r := record(t)
			b := r.opened(t, r.direct(), map[string]any{"ec2_metadata_service_endpoint": r.URL}, test.others)
			_, err := b.Read(t.Context(), "default")
			requests := r.take()
			var got []string
			for _, request := range requests {
				got = append(got, request.what())
			}
			if d := diff.Diff(test.want, got); d != "" {
				t.Errorf("requests (-want +got):\n%s", d)
			}
			if test.key == "" {
				if !errors.Is(err, backend.ErrPermission) {
					t.Errorf("without credentials: %v", err)
				}
				return
			}
			if key, _, _ := requests[len(requests)-1].scope(); key != test.key || !errors.Is(err, backend.ErrNotExist) {
				t.Errorf("signed with %q, want %q; %v", key, test.key, err)
			}
		})
	}
}

// TestWireAssumeRole: what STS is told about a role.
func TestWireAssumeRole(t *testing.T) {
	isolate(t)
	r := record(t)
	b := r.opened(t, r.direct(), map[string]any{
		"token": "session", "sts_region": "us-east-1",
		"assume_role.role_arn": roleARN, "assume_role.duration": "1h", "assume_role.external_id": "ext", "assume_role.policy": "{}",
		"assume_role.policy_arns": policyARN, "assume_role.session_name": "me", "assume_role.source_identity": "source",
		"assume_role.tags": map[string]any{"team": "states"}, "assume_role.transitive_tag_keys": "team",
		"assume_role_with_web_identity.role_arn": roleARN + "-web", "assume_role_with_web_identity.duration": "30m",
		"assume_role_with_web_identity.policy": `{"a":1}`, "assume_role_with_web_identity.policy_arns": policyARN + "-web",
		"assume_role_with_web_identity.session_name": "web", "assume_role_with_web_identity.web_identity_token": "a token",
	})
	if _, err := b.Read(t.Context(), "default"); !errors.Is(err, backend.ErrNotExist) {
		t.Error(err)
	}
	requests := r.take()
	for action, want := range map[string]map[string]string{
		"AssumeRole": {"RoleArn": roleARN, "DurationSeconds": "3600", "ExternalId": "ext", "Policy": "{}", "PolicyArns.member.1.arn": policyARN,
			"RoleSessionName": "me", "SourceIdentity": "source", "Tags.member.1.Key": "team", "Tags.member.1.Value": "states", "TransitiveTagKeys.member.1": "team"},
		"AssumeRoleWithWebIdentity": {"RoleArn": roleARN + "-web", "DurationSeconds": "1800", "Policy": `{"a":1}`, "PolicyArns.member.1.arn": policyARN + "-web",
			"RoleSessionName": "web", "WebIdentityToken": "a token"},
	} {
		found := find(requests, action)
		if len(found) != 1 {
			t.Fatalf("%d times %s", len(found), action)
		}
		got := map[string]string{}
		for name := range found[0].Form {
			if name != "Action" && name != "Version" {
				got[name] = found[0].Form.Get(name)
			}
		}
		if d := diff.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", action, d)
		}
	}
	key, region, service := find(requests, "AssumeRole")[0].scope()
	if key != "AssumeRoleWithWebIdentity" || region != "us-east-1" || service != "sts" {
		t.Errorf("AssumeRole is signed with %s for %s in %s", key, service, region)
	}
	if token := find(requests, "GET /b/k")[0].Header.Get("X-Amz-Security-Token"); token != "of AssumeRole" {
		t.Errorf("the session token of the role is %q", token)
	}
}

// TestWireSessionToken: the one that is set goes with static keys.
func TestWireSessionToken(t *testing.T) {
	isolate(t)
	r := record(t)
	use(t, r.opened(t, r.direct(), map[string]any{"token": "session", "dynamodb_table": "locks"}))
	for _, request := range r.take() {
		if got := request.Header.Get("X-Amz-Security-Token"); got != "session" {
			t.Errorf("%s has the session token %q", request.what(), got)
		}
	}
}

// TestWireExpired: credentials that a service calls expired are fetched anew, once.
func TestWireExpired(t *testing.T) {
	isolate(t)
	for _, test := range []struct {
		refusals int
		want     []string
		kind     error
	}{
		{1, []string{"AssumeRole", "GET /b/k", "AssumeRole", "GET /b/k"}, backend.ErrNotExist},
		{9, []string{"AssumeRole", "GET /b/k", "AssumeRole", "GET /b/k"}, backend.ErrPermission},
	} {
		r := record(t)
		b := r.opened(t, r.direct(), role)
		r.refuse = func(q recorded) (int, string) {
			if q.Method != "GET" || test.refusals == 0 {
				return 0, ""
			}
			test.refusals--
			return 400, "<Error><Code>ExpiredToken</Code></Error>"
		}
		if _, err := b.Read(t.Context(), "default"); !errors.Is(err, test.kind) {
			t.Errorf("%v; want %v", err, test.kind)
		}
		if d := diff.Diff(test.want, r.order()); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
}
