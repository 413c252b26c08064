package s3_test

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	diff "github.com/google/go-cmp/cmp"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/s3"
)

// merge returns settings with others over them.
func merge(settings ...map[string]any) map[string]any {
	all := map[string]any{}
	for _, some := range settings {
		maps.Copy(all, some)
	}
	return all
}

// opened opens a Backend, which must make no request.
func (r *recorder) opened(t *testing.T, settings ...map[string]any) *s3.Backend {
	t.Helper()
	b := mustOpen(t, merge(settings...))
	if requests := r.order(); requests != nil {
		t.Fatalf("opening made the requests %q", requests)
	}
	return b
}

// use makes one request of each kind, or at least tries to.
func use(t *testing.T, b *s3.Backend) {
	t.Helper()
	if _, err := b.Write(t.Context(), "default", []byte("{}"), backend.Condition{LockID: "x"}); err != nil {
		t.Error(err)
	}
	if _, err := b.Read(t.Context(), "default"); !errors.Is(err, backend.ErrNotExist) {
		t.Error(err)
	}
	info, err := b.Lock(t.Context(), "default", lock.NewInfo("test"))
	if errors.Is(err, errors.ErrUnsupported) {
		return
	}
	if err != nil {
		t.Error(err)
	}
	if err := b.Unlock(t.Context(), "default", info.ID); err != nil {
		t.Error(err)
	}
}

// direct are settings for requests to the recorder's plain server.
func (r *recorder) direct() map[string]any {
	return merge(keys, map[string]any{
		"endpoints.s3": r.URL, "endpoints.dynamodb": r.URL, "endpoints.sts": r.URL, "endpoints.sso": r.URL,
		"use_path_style": true, "conditions": "honoured", "max_retries": 1,
	})
}

// TestWireHosts: which of AWS's hosts are asked, and for which region the requests
// are signed. A proxy takes the place of all of them.
func TestWireHosts(t *testing.T) {
	for name, test := range map[string]struct {
		others map[string]any
		want   []string // host/region/service, of the PUT, of the digest, and of STS
	}{
		"defaults": {nil, []string{
			"states.s3.eu-central-1.amazonaws.com/eu-central-1/s3", "dynamodb.eu-central-1.amazonaws.com/eu-central-1/dynamodb", "sts.eu-central-1.amazonaws.com/eu-central-1/sts"}},
		"path style": {map[string]any{"use_path_style": true, "bucket": "with.dot"}, []string{
			"s3.eu-central-1.amazonaws.com/eu-central-1/s3", "dynamodb.eu-central-1.amazonaws.com/eu-central-1/dynamodb", "sts.eu-central-1.amazonaws.com/eu-central-1/sts"}},
		"FIPS": {map[string]any{"use_fips_endpoint": true, "region": "us-east-2"}, []string{
			"states.s3-fips.us-east-2.amazonaws.com/us-east-2/s3", "dynamodb-fips.us-east-2.amazonaws.com/us-east-2/dynamodb", "sts-fips.us-east-2.amazonaws.com/us-east-2/sts"}},
		"dual stack": {map[string]any{"use_dualstack_endpoint": true}, []string{
			"states.s3.dualstack.eu-central-1.amazonaws.com/eu-central-1/s3", "dynamodb.eu-central-1.api.aws/eu-central-1/dynamodb", "sts.eu-central-1.api.aws/eu-central-1/sts"}},
		"both": {map[string]any{"use_fips_endpoint": true, "use_dualstack_endpoint": true, "region": "us-east-2"}, []string{
			"states.s3-fips.dualstack.us-east-2.amazonaws.com/us-east-2/s3", "dynamodb-fips.us-east-2.api.aws/us-east-2/dynamodb", "sts-fips.us-east-2.api.aws/us-east-2/sts"}},
		"China": {map[string]any{"region": "cn-north-1"}, []string{
			"states.s3.cn-north-1.amazonaws.com.cn/cn-north-1/s3", "dynamodb.cn-north-1.amazonaws.com.cn/cn-north-1/dynamodb", "sts.cn-north-1.amazonaws.com.cn/cn-north-1/sts"}},
		"region of STS": {map[string]any{"sts_region": "us-east-1"}, []string{
			"states.s3.eu-central-1.amazonaws.com/eu-central-1/s3", "dynamodb.eu-central-1.amazonaws.com/eu-central-1/dynamodb", "sts.us-east-1.amazonaws.com/us-east-1/sts"}},
		"endpoints": {map[string]any{"endpoints.s3": "s3.internal", "endpoints.dynamodb": "https://dynamo.internal", "endpoints.sts": "sts.internal", "conditions": "honoured"}, []string{
			"states.s3.internal/eu-central-1/s3", "dynamo.internal/eu-central-1/dynamodb", "sts.internal/eu-central-1/sts"}},
	} {
		t.Run(name, func(t *testing.T) {
			isolate(t)
			r := record(t)
			b := mustOpen(t, merge(keys, map[string]any{
				"bucket": "states", "https_proxy": r.Proxy, "custom_ca_bundle": r.CAFile, "dynamodb_table": "locks", "allowed_account_ids": "123456789012"}, test.others))
			use(t, b)
			requests := r.take()
			var got []string
			for _, what := range []string{"PUT ", "PutItem", "GetCallerIdentity"} {
				i := slices.IndexFunc(requests, func(r recorded) bool { return strings.HasPrefix(r.what(), what) })
				if i < 0 || requests[i].Proxy != "CONNECT" {
					t.Fatalf("no %s by the proxy among %v", what, requests)
				}
				accessKey, region, service := requests[i].scope()
				got = append(got, requests[i].Host+"/"+region+"/"+service)
				if agent := requests[i].UserAgent(); accessKey != "AKIA" || !strings.Contains(agent, "statelatch") {
					t.Errorf("%s with access key %q and agent %q", what, accessKey, agent)
				}
			}
			if d := diff.Diff(test.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// TestWireHeaders: the attributes that become headers, on the requests where they
// belong, and on no other.
func TestWireHeaders(t *testing.T) {
	const state, lockFile = "/b/k", "/b/k.tflock"
	customer := map[string]string{
		"X-Amz-Server-Side-Encryption-Customer-Algorithm": "AES256", "X-Amz-Server-Side-Encryption-Customer-Key": sseKey,
		"X-Amz-Server-Side-Encryption-Customer-Key-Md5": "KYvwGXoFFJ42a2u2GDWhwQ==",
	}
	usual := map[string]string{"Content-Type": "application/json"}
	conditional := func(h map[string]string) map[string]string {
		h = maps.Clone(h)
		h["If-None-Match"] = "*"
		return h
	}
	plain := map[string]string{"X-Amz-Checksum-Mode": "ENABLED"}
	sum := map[string]string{"X-Amz-Checksum-Sha256": "RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o="} // of {}
	put := func(more map[string]string) map[string]string {
		h := conditional(usual)
		maps.Copy(h, sum)
		maps.Copy(h, more)
		return h
	}
	get := func(more map[string]string) map[string]string {
		h := maps.Clone(plain)
		maps.Copy(h, more)
		return h
	}
	// looked at: every header that says something about an object
	about := []string{"Acl", "Server-Side-Encryption", "Tagging", "Checksum", "Sdk-Checksum", "Trailer", "Decoded-Content-Length"}
	for name, test := range map[string]struct {
		others          map[string]any
		put, lockPut    map[string]string // lockPut: nil = as put, but for the checksum
		get, lockDelete map[string]string
	}{
		"nothing":        {nil, put(nil), nil, get(nil), nil},
		"encrypt":        {map[string]any{"encrypt": true}, put(map[string]string{"X-Amz-Server-Side-Encryption": "AES256"}), nil, get(nil), nil},
		"KMS":            {map[string]any{"encrypt": true, "kms_key_id": kmsKeyID}, put(map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": kmsKeyID}), nil, get(nil), nil},
		"customer's key": {map[string]any{"encrypt": true, "sse_customer_key": sseKey}, put(customer), nil, get(customer), nil},
		"not encrypted":  {map[string]any{"sse_customer_key": sseKey}, put(nil), nil, get(nil), nil},
		"ACL":            {map[string]any{"acl": "bucket-owner-full-control"}, put(map[string]string{"X-Amz-Acl": "bucket-owner-full-control"}), nil, get(nil), nil},
		"tags": {map[string]any{"state_tags": map[string]any{"a b": "1&2", "c": "3"}, "lock_tags": map[string]any{"l": "4"}},
			put(map[string]string{"X-Amz-Tagging": "a+b=1%262&c=3"}), put(map[string]string{"X-Amz-Tagging": "l=4"}), get(nil), nil},
		"no checksum": {map[string]any{"skip_s3_checksum": true}, conditional(usual), nil, map[string]string{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			isolate(t)
			r := record(t)
			b := r.opened(t, r.direct(), map[string]any{"use_lockfile": true}, test.others)
			use(t, b)
			requests := r.take()
			check := func(what string, want map[string]string, ignoreSum bool) {
				t.Helper()
				found := find(requests, what)
				if len(found) != 1 {
					t.Fatalf("%d requests %s", len(found), what)
				}
				got := map[string]string{}
				for header := range found[0].Header {
					rest, amz := strings.CutPrefix(header, "X-Amz-")
					if header == "Content-Type" || header == "If-None-Match" || header == "Content-Encoding" ||
						amz && slices.ContainsFunc(about, func(name string) bool { return strings.HasPrefix(rest, name) }) {
						got[header] = found[0].Header.Get(header)
					}
				}
				want = maps.Clone(want)
				if _, has := got["X-Amz-Checksum-Sha256"]; ignoreSum && has && want["X-Amz-Checksum-Sha256"] != "" {
					want["X-Amz-Checksum-Sha256"] = got["X-Amz-Checksum-Sha256"] // of a body of its own
				}
				if d := diff.Diff(want, got); d != "" {
					t.Errorf("%s (-want +got):\n%s", what, d)
				}
			}
			if test.lockPut == nil {
				test.lockPut = test.put
			}
			check("PUT "+state, test.put, false)
			check("GET "+state, test.get, false)
			check("PUT "+lockFile, test.lockPut, true)
			check("DELETE "+lockFile, map[string]string{}, false)
		})
	}
}

// TestWorkspaceKeyPrefix: where the other workspaces are, as settings have it.
func TestWorkspaceKeyPrefix(t *testing.T) {
	for prefix, want := range map[any]string{nil: "GET /b/env:/prod/k", "": "GET /b/prod/k", "a b/c": "GET /b/a b/c/prod/k"} {
		isolate(t)
		r := record(t)
		if _, err := r.opened(t, r.direct(), map[string]any{"workspace_key_prefix": prefix}).Read(t.Context(), "prod"); !errors.Is(err, backend.ErrNotExist) {
			t.Error(err)
		}
		if got := r.order(); !slices.Equal(got, []string{want}) {
			t.Errorf("with prefix %v: %q, want %q", prefix, got, want)
		}
	}
}

// TestWorkspaceKeyPrefixOfGo: where they are by a Config that no settings were decoded into.
func TestWorkspaceKeyPrefixOfGo(t *testing.T) {
	for _, test := range []struct {
		config s3.Config
		want   string
	}{
		{s3.Config{}, "GET /b/env:/prod/k"},
		{s3.Config{WorkspaceKeyPrefix: "team"}, "GET /b/team/prod/k"},
		{s3.Config{NoWorkspaceKeyPrefix: true}, "GET /b/prod/k"},
	} {
		isolate(t)
		r := record(t)
		c := test.config
		c.Bucket, c.Key, c.Region, c.UsePathStyle, c.Endpoints.S3 = "b", "k", "us-east-1", true, r.URL
		c.AccessKey, c.SecretKey = "a", "s"
		b, err := s3.New(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Read(t.Context(), "prod"); !errors.Is(err, backend.ErrNotExist) {
			t.Error(err)
		}
		if got := r.order(); !slices.Equal(got, []string{test.want}) {
			t.Errorf("%+v: %q, want %q", test.config, got, test.want)
		}
		b.Close()
	}
	if _, err := s3.New(t.Context(), s3.Config{Bucket: "b", Key: "k", Region: "r", WorkspaceKeyPrefix: "team", NoWorkspaceKeyPrefix: true}); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("a prefix and none: %v", err)
	}
}

// TestAccountLists: opening asks whose credentials these are, if a list is set.
func TestAccountLists(t *testing.T) {
	const ours, other = "123456789012", "210987654321"
	for name, test := range map[string]struct {
		others map[string]any
		status int
		want   string // "" = it opens
		kind   error
	}{
		"allowed":       {map[string]any{"allowed_account_ids": []any{other, ours}}, 0, "", nil},
		"not allowed":   {map[string]any{"allowed_account_ids": []any{other}}, 0, `setting "allowed_account_ids": the credentials are of account 123456789012`, backend.ErrInvalid},
		"forbidden":     {map[string]any{"forbidden_account_ids": []any{other, ours}}, 0, `setting "forbidden_account_ids": the credentials are of account 123456789012`, backend.ErrInvalid},
		"not forbidden": {map[string]any{"forbidden_account_ids": other}, 0, "", nil},
		"not skipped":   {map[string]any{"forbidden_account_ids": ours, "skip_requesting_account_id": true, "skip_credentials_validation": true}, 0, `setting "forbidden_account_ids"`, backend.ErrInvalid},
		"refused":       {map[string]any{"allowed_account_ids": ours}, 403, "allowed_account_ids and forbidden_account_ids need", backend.ErrPermission},
		"down":          {map[string]any{"allowed_account_ids": ours}, 503, "allowed_account_ids and forbidden_account_ids need", backend.ErrTransient},
	} {
		t.Run(name, func(t *testing.T) {
			isolate(t)
			r := record(t)
			r.refuse = func(recorded) (int, string) { return test.status, "" }
			_, err := open(t, merge(r.direct(), test.others))
			if got := r.order(); !slices.Equal(got, []string{"GetCallerIdentity"}) {
				t.Errorf("requests: %q", got)
			}
			if test.want == "" && err == nil {
				return
			}
			if err == nil || test.want == "" || !strings.Contains(err.Error(), test.want) || !errors.Is(err, test.kind) {
				t.Errorf("%v; want %q", err, test.want)
			}
		})
	}
}

// TestWireProxies: which requests go by a proxy. Those past it find no such host.
func TestWireProxies(t *testing.T) {
	const proxied, tunnelled, past = "absolute", "CONNECT", ""
	plain, secure := map[string]any{"endpoints.s3": "http://s3.invalid"}, map[string]any{"endpoints.s3": "https://s3.invalid"}
	for name, test := range map[string]struct {
		env, settings []string // set to the proxy's URL
		noProxy       string
		others        map[string]any
		want          string
	}{
		"none":                          {nil, nil, "", plain, past},
		"http_proxy":                    {nil, []string{"http_proxy"}, "", plain, proxied},
		"http_proxy, https":             {nil, []string{"http_proxy"}, "", secure, tunnelled}, // as in Terraform
		"https_proxy":                   {nil, []string{"https_proxy"}, "", secure, tunnelled},
		"https_proxy, http":             {nil, []string{"https_proxy"}, "", plain, past},
		"HTTP_PROXY":                    {[]string{"HTTP_PROXY"}, nil, "", plain, proxied},
		"HTTP_PROXY, https":             {[]string{"HTTP_PROXY"}, nil, "", secure, past},
		"HTTPS_PROXY":                   {[]string{"HTTPS_PROXY"}, nil, "", secure, tunnelled},
		"no_proxy":                      {nil, []string{"http_proxy", "https_proxy"}, ".invalid", secure, past},
		"no_proxy against the variable": {[]string{"HTTPS_PROXY"}, nil, "s3.invalid", secure, past},
		"no_proxy for others":           {nil, []string{"http_proxy"}, ".internal", plain, proxied},
	} {
		t.Run(name, func(t *testing.T) {
			isolate(t)
			r := record(t)
			for _, variable := range test.env {
				t.Setenv(variable, r.Proxy)
			}
			others := merge(r.direct(), map[string]any{"custom_ca_bundle": r.CAFile}, test.others)
			for _, setting := range test.settings {
				others[setting] = r.Proxy
			}
			if test.noProxy != "" {
				others["no_proxy"] = test.noProxy
			}
			_, err := r.opened(t, others).Read(t.Context(), "default")
			requests := r.take()
			if test.want == past {
				if len(requests) != 0 || !errors.Is(err, backend.ErrTransient) {
					t.Errorf("%d requests came by the proxy; %v", len(requests), err)
				}
				return
			}
			if len(requests) != 1 || requests[0].Proxy != test.want || requests[0].Host != "s3.invalid" || !errors.Is(err, backend.ErrNotExist) {
				t.Errorf("requests by the proxy: %+v; want one by %s; %v", requests, test.want, err)
			}
		})
	}
}

// TestWireTrust: which certificates are trusted.
func TestWireTrust(t *testing.T) {
	for name, test := range map[string]struct {
		setting, variable bool
		others            map[string]any
		trusted           bool
	}{
		"nobody's":           {false, false, nil, false},
		"custom_ca_bundle":   {true, false, nil, true},
		"AWS_CA_BUNDLE":      {false, true, nil, true},
		"insecure":           {false, false, map[string]any{"insecure": true}, true},
		"insecure beside it": {true, false, map[string]any{"insecure": true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			isolate(t)
			r := record(t)
			others := merge(r.direct(), map[string]any{"endpoints.s3": r.TLS}, test.others)
			if test.setting {
				others["custom_ca_bundle"] = r.CAFile
			}
			if test.variable {
				t.Setenv("AWS_CA_BUNDLE", r.CAFile)
			}
			_, err := r.opened(t, others).Read(t.Context(), "default")
			if test.trusted && !errors.Is(err, backend.ErrNotExist) {
				t.Error(err)
			}
			if !test.trusted && (!errors.Is(err, backend.ErrInvalid) || !strings.Contains(err.Error(), "custom_ca_bundle")) {
				t.Error(err)
			}
		})
	}
}

// TestWireRetries: max_retries are the attempts in all.
func TestWireRetries(t *testing.T) {
	isolate(t)
	r := record(t)
	r.refuse = func(recorded) (int, string) { return http.StatusServiceUnavailable, "" }
	b := r.opened(t, r.direct(), map[string]any{"max_retries": 2})
	if _, err := b.Read(t.Context(), "default"); !errors.Is(err, backend.ErrTransient) {
		t.Error(err)
	}
	if got := r.order(); len(got) != 2 {
		t.Errorf("requests: %q", got)
	}
}

// TestCloseConnections: Close leaves no connection of a client that New has made.
func TestCloseConnections(t *testing.T) {
	isolate(t)
	r := record(t)
	b := r.opened(t, r.direct(), role, map[string]any{"dynamodb_table": "locks", "endpoints.s3": r.TLS, "custom_ca_bundle": r.CAFile})
	use(t, b)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	r.closed(t)
}
