package backend_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/memory"
)

// Configurations with each of the places that a URL has.
type (
	fileConfig struct {
		Path string            `setting:"path" url:"file"`
		Tags map[string]string `setting:"tags"`
	}
	webConfig struct {
		Address string `setting:"address,required" url:"url"`
		Method  string `setting:"method"`
	}
)

func driverOf[C any](types ...string) backend.Driver {
	return backend.NewDriver(func(context.Context, C) (backend.Backend, error) { return memory.New(), nil }, types...)
}

var placed = backend.NewMux(memory.Driver, driverOf[config]("test", "also"), driverOf[fileConfig]("file"), driverOf[webConfig]("http", "https"))

// TestURLs has settings, the URL that says them, and other URLs that say the same.
func TestURLs(t *testing.T) {
	for _, test := range []struct {
		typ      string
		settings backend.Settings
		urls     []string
	}{
		{"memory", backend.Settings{}, []string{"memory:"}},
		{"test", backend.Settings{"bucket": "b", "key": "a b/c"}, []string{"test://b/a%20b/c", "test://b?key=a+b/c", "test:?bucket=b&key=a+b%2fc", "test:///a b/c?bucket=b"}},
		{"also", backend.Settings{"bucket": "b"}, []string{"also://b", "also://b/"}},
		{"test", backend.Settings{"key": "/k"}, []string{"test:////k"}},
		{"test", backend.Settings{"bucket": "host:80", "key": "/k/"}, []string{"test://host:80//k/"}},
		{"test", backend.Settings{"bucket": "unix:///socket", "key": "k"}, []string{"test:///k?bucket=unix%3A%2F%2F%2Fsocket"}},
		{"test", backend.Settings{"bucket": "", "key": ""}, []string{"test:?bucket=&key="}},
		{"test", backend.Settings{"allowed_account_ids": []string{"1", "2"}, "region": "x&y=z"}, []string{"test:?allowed_account_ids=1&allowed_account_ids=2&region=x%26y%3Dz"}},
		{"test", backend.Settings{"assume_role": backend.Settings{"role_arn": "a", "duration": "1h"}}, []string{"test:?assume_role.duration=1h&assume_role.role_arn=a"}},
		{"test", backend.Settings{"state_tags": backend.Settings{"a.b": "1", "c": "2"}}, []string{"test:?state_tags.a.b=1&state_tags.c=2"}},
		{"test", backend.Settings{"bucket": []string{"a", "b"}}, []string{"test:?bucket=a&bucket=b"}},
		{"file", backend.Settings{"path": "dir/x?#%.tfstate"}, []string{"file:dir/x%3F%23%25.tfstate"}},
		{"file", backend.Settings{"path": "/dir/x.tfstate"}, []string{"file:///dir/x.tfstate", "file:/dir/x.tfstate"}},
		{"file", backend.Settings{"path": "//dir"}, []string{"file:////dir"}},
		{"file", backend.Settings{"path": `C:\dir\x`}, []string{"file:C:%5Cdir%5Cx"}},
		{"http", backend.Settings{"address": "http://host:8080/a%2Fb", "method": "PUT"}, []string{"http://host:8080/a%2Fb?method=PUT"}},
		{"http", backend.Settings{"address": "http://host/{workspace}"}, []string{"http:?address=http%3A%2F%2Fhost%2F%7Bworkspace%7D", "http://host/{workspace}"}},
		{"https", backend.Settings{"address": "https://[::1]/"}, []string{"https://[::1]/"}},
		{"https", backend.Settings{"address": "https://host"}, []string{"https://host"}},
		{"http", backend.Settings{"address": "http://host/a?b=c"}, []string{"http:?address=http%3A%2F%2Fhost%2Fa%3Fb%3Dc"}},
		{"http", backend.Settings{"address": "http://user:pass@host/"}, []string{"http:?address=http%3A%2F%2Fuser%3Apass%40host%2F"}},
		{"http", backend.Settings{"address": "ftp://host/"}, []string{"http:?address=ftp%3A%2F%2Fhost%2F"}},
	} {
		if got, err := placed.FormatURL(test.typ, test.settings); err != nil || got != test.urls[0] {
			t.Errorf("FormatURL(%v) = %s, %v; want %s", test.settings, got, err, test.urls[0])
		}
		for _, rawURL := range test.urls {
			typ, got, err := placed.ParseURL(rawURL)
			if diff := cmp.Diff(test.settings, got); err != nil || typ != test.typ || diff != "" {
				t.Errorf("ParseURL(%s): %q, %v (-want +got):\n%s", rawURL, typ, err, diff)
			}
		}
	}
	// The scheme of the address is that of the URL.
	if got, err := placed.FormatURL("http", backend.Settings{"address": "https://host/a"}); got != "https://host/a" {
		t.Errorf("%s, %v", got, err)
	}
}

// A deaf driver asks nobody for settings.
type deaf struct{}

func (deaf) Types() []string { return []string{"deaf"} }

func (deaf) Open(context.Context, func(any) error) (backend.Backend, error) { return memory.New(), nil }

func TestFormatURLErrors(t *testing.T) {
	for want, s := range map[string]backend.Settings{
		`setting "allowed_account_ids": it is empty`:            {"allowed_account_ids": []any{}},
		`setting "state_tags": it is empty`:                     {"state_tags": map[string]any{}},
		`setting "assume_role": it is empty`:                    {"assume_role": backend.Settings{"role_arn": nil}},
		`setting "assume_role.policy_arns": it holds a []strin`: {"assume_role": backend.Settings{"policy_arns": []any{[]string{"CANARY"}}}},
		`setting "assume_role.role_arn": there is no such sett`: {"assume_role.role_arn": "CANARY"},
		`setting "state_tags.a": it takes one value`:            {"state_tags": backend.Settings{"a": map[string]any{"b": "CANARY"}}},
		`setting "key": it holds a struct {}`:                   {"key": struct{}{}},
	} {
		got, err := placed.FormatURL("test", s)
		if got != "" || !errors.Is(err, backend.ErrInvalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%v: %q, %v; want %s", s, got, err, want)
		}
	}
	if _, err := placed.FormatURL("nope", nil); err == nil || !strings.Contains(err.Error(), `no driver for backend type "nope"`) {
		t.Error(err)
	}
	if _, err := backend.NewMux(deaf{}).FormatURL("deaf", nil); !errors.Is(err, backend.ErrInvalid) || !strings.Contains(err.Error(), "takes no settings") {
		t.Error(err)
	}
	if _, _, err := placed.ParseURL("test://b#CANARY"); !errors.Is(err, backend.ErrInvalid) || strings.Contains(err.Error(), "CANARY") {
		t.Error(err)
	}
}

// TestURLRoundTrip formats and parses what comes to a random mind.
func TestURLRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	text := func() string {
		const letters = "ab1:/?#%&=.;+ @[]~\\\"*ä\x00\xff"
		b := make([]byte, r.IntN(6))
		for i := range b {
			b[i] = letters[r.IntN(len(letters))]
		}
		return string(b)
	}
	inPath, all := 0, 20000
	for range all {
		typ, s := "test", backend.Settings{"bucket": text(), "key": text(), "region": text()}
		switch r.IntN(4) {
		case 0:
			s["allowed_account_ids"] = []string{text(), text()}
		case 1:
			s["assume_role"] = backend.Settings{"role_arn": text()}
			s["state_tags"] = backend.Settings{text(): text(), text(): text()}
		case 2:
			typ, s = "file", backend.Settings{"path": text()}
		case 3:
			typ, s = "http", backend.Settings{"address": "http://" + text() + "/" + text()}
		}
		rawURL, err := placed.FormatURL(typ, s)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if !strings.Contains(rawURL, "?") || strings.HasPrefix(rawURL, "test://") {
			inPath++
		}
		got, parsed, err := placed.ParseURL(rawURL)
		if diff := cmp.Diff(s, parsed); err != nil || got != typ || diff != "" {
			t.Fatalf("%s: %q, %v (-want +got):\n%s", rawURL, got, err, diff)
		}
	}
	if inPath < all/4 {
		t.Errorf("of %d URLs only %d have something in its place", all, inPath)
	}
}

// TestURLDecodes: values that are no strings come back as what they are decoded to.
func TestURLDecodes(t *testing.T) {
	s := backend.Settings{"bucket": "b", "key": nil, "region": "r", "token": backend.Secret("CANARY"), "use_lockfile": true, "max_retries": 7, "share": 0.5,
		"allowed_account_ids": []any{int64(1)}, "state_tags": map[string]any{"a": 1}, "assume_role": map[string]any{"role_arn": "arn"}}
	rawURL, err := placed.FormatURL("test", s)
	if err != nil {
		t.Fatal(err)
	}
	var want, got config
	_, parsed, err := placed.ParseURL(rawURL)
	if err := errors.Join(err, s.Decode(&want), parsed.Decode(&got)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" || got.Token != "CANARY" {
		t.Errorf("%s (-want +got):\n%s", rawURL, diff)
	}
}
