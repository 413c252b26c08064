package all_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/statelatch/statelatch/all"
	"github.com/statelatch/statelatch/backend"
)

// TestURLs has the forms that the documentation of OpenURL shows, and what they say.
func TestURLs(t *testing.T) {
	for rawURL, want := range map[string]backend.Settings{
		"s3://bucket/a/key?region=eu-central-1":                             {"bucket": "bucket", "key": "a/key", "region": "eu-central-1"},
		"s3://b/k?assume_role.role_arn=r&endpoints.s3=e&state_tags.a.b=c":   {"bucket": "b", "key": "k", "assume_role": backend.Settings{"role_arn": "r"}, "endpoints": backend.Settings{"s3": "e"}, "state_tags": backend.Settings{"a.b": "c"}},
		"gcs://bucket/a/prefix":                                             {"bucket": "bucket", "prefix": "a/prefix"},
		"gs://bucket":                                                       {"bucket": "bucket"},
		"azurerm://container/a/key?storage_account_name=account":            {"container_name": "container", "key": "a/key", "storage_account_name": "account"},
		"azblob://container/key?storage_account_name=account":               {"container_name": "container", "key": "key", "storage_account_name": "account"},
		"consul://host:8500/a/path":                                         {"address": "host:8500", "path": "a/path"},
		"consul:///path":                                                    {"path": "path"},
		"consul:///path?address=unix%3A%2F%2F%2Frun%2Fconsul.sock":          {"address": "unix:///run/consul.sock", "path": "path"},
		"local:relative/path":                                               {"path": "relative/path"},
		"local:///absolute/path?workspace_dir=w":                            {"path": "/absolute/path", "workspace_dir": "w"},
		"local:":                                                            {},
		"http://host/path":                                                  {"address": "http://host/path"},
		"https://host:8443/path?update_method=PUT":                          {"address": "https://host:8443/path", "update_method": "PUT"},
		"http:?address=https%3A%2F%2Fhost%2F%3Fa%3Db&headers.X-Token=token": {"address": "https://host/?a=b", "headers": backend.Settings{"X-Token": "token"}},
		"memory:": {},
	} {
		scheme, _, _ := strings.Cut(rawURL, ":")
		typ, got, err := all.Mux().ParseURL(rawURL)
		if diff := cmp.Diff(want, got); err != nil || typ != scheme || diff != "" {
			t.Errorf("%s: %q, %v (-want +got):\n%s", rawURL, typ, err, diff)
		}
		if got, err := all.Mux().FormatURL(scheme, want); err != nil || got != rawURL {
			t.Errorf("%v becomes %s, %v; want %s", want, got, err, rawURL)
		}
	}
}

// TestURLMistakes: what no driver takes is refused, and no secret is shown.
func TestURLMistakes(t *testing.T) {
	isolate(t)
	for _, typ := range all.Mux().Types() {
		for rest, want := range map[string]string{
			"//user:CANARY@host/path":     "takes no user or password",
			"//host/path#CANARY":          "takes no fragment",
			"?no_such_setting=CANARY":     `"no_such_setting": there is no such setting`,
			"?a=%zzCANARY":                "malformed",
			"//host/%zzCANARY":            "malformed",
			"?no_such_setting.of=CANARY":  `"no_such_setting": there is no such setting`,
			"?max_size=CANARY&max_size=1": `"max_size"`,
		} {
			_, err := all.Mux().OpenURL(t.Context(), typ+":"+rest)
			if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, backend.ErrInvalid) || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("%s:%s: %v; want %s", typ, rest, err, want)
			}
		}
	}
}
