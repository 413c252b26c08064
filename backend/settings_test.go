package backend_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/memory"
)

type config struct {
	Bucket   string            `setting:"bucket,required" url:"host"`
	Key      string            `setting:"key" url:"path"`
	Region   string            `setting:"region,required" env:"TEST_REGION,TEST_DEFAULT_REGION"`
	Prefix   string            `setting:"workspace_key_prefix" default:"env:"`
	Token    backend.Secret    `setting:"token"`
	Lockfile bool              `setting:"use_lockfile"`
	Path     *bool             `setting:"use_path_style"`
	Retries  int               `setting:"max_retries" default:"5"`
	Share    float64           `setting:"share"`
	Wait     time.Duration     `setting:"wait"`
	Accounts []string          `setting:"allowed_account_ids"`
	Tags     map[string]string `setting:"state_tags"`
	Role     *role             `setting:"assume_role"`
	Client   any
}

type role struct {
	ARN      string        `setting:"role_arn,required"`
	Duration time.Duration `setting:"duration" default:"1h"`
}

func TestSettingsDecode(t *testing.T) {
	t.Setenv("TEST_DEFAULT_REGION", "from-env")
	yes := true
	for name, test := range map[string]struct {
		settings backend.Settings
		want     config
	}{
		"defaults": {
			backend.Settings{"bucket": "b", "key": nil},
			config{Bucket: "b", Region: "from-env", Prefix: "env:", Retries: 5},
		},
		"everything": {
			backend.Settings{"bucket": "b", "key": "k", "region": "r", "workspace_key_prefix": "", "token": "t", "use_lockfile": true,
				"use_path_style": true, "max_retries": 7, "share": 0.5, "wait": "15m", "allowed_account_ids": []string{"1", "2"},
				"state_tags": map[string]any{"a": 1}, "assume_role": map[string]any{"role_arn": "arn"}},
			config{Bucket: "b", Key: "k", Region: "r", Token: "t", Lockfile: true, Path: &yes, Retries: 7, Share: 0.5, Wait: 15 * time.Minute,
				Accounts: []string{"1", "2"}, Tags: map[string]string{"a": "1"}, Role: &role{"arn", time.Hour}},
		},
		"conversions": {
			backend.Settings{"bucket": 12, "region": false, "use_lockfile": "1", "max_retries": "3", "share": "1.5", "allowed_account_ids": []any{1.0}},
			config{Bucket: "12", Region: "false", Prefix: "env:", Lockfile: true, Retries: 3, Share: 1.5, Accounts: []string{"1"}},
		},
	} {
		var got config
		if err := test.settings.Decode(&got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestSettingsErrors(t *testing.T) {
	for name, test := range map[string]struct {
		settings backend.Settings
		want     string
	}{
		"missing":      {backend.Settings{"bucket": "b"}, `setting "region": it is required (or TEST_REGION or TEST_DEFAULT_REGION in the environment)`},
		"misspelt":     {backend.Settings{"bucket": "b", "region": "r", "use_lokfile": true}, `setting "use_lokfile": there is no such setting; did you mean "use_lockfile"?`},
		"unknown":      {backend.Settings{"bucket": "b", "region": "r", "zzz": true}, `setting "zzz": there is no such setting; there are allowed_account_ids, assume_role, bucket, key, max_retries, region, share, state_tags, token, use_lockfile, use_path_style, wait, workspace_key_prefix`},
		"wrong type":   {backend.Settings{"bucket": "b", "region": []any{"r"}}, `setting "region": it takes one value, not a list or an object`},
		"no number":    {backend.Settings{"bucket": "b", "region": "r", "max_retries": "many"}, `setting "max_retries": it takes a whole number`},
		"no bool":      {backend.Settings{"bucket": "b", "region": "r", "use_lockfile": "yes"}, `setting "use_lockfile": it takes true or false`},
		"no duration":  {backend.Settings{"bucket": "b", "region": "r", "wait": 5}, `setting "wait": it takes a duration, such as "15m"`},
		"no object":    {backend.Settings{"bucket": "b", "region": "r", "assume_role": "arn"}, `setting "assume_role": it takes an object`},
		"nested":       {backend.Settings{"bucket": "b", "region": "r", "assume_role": backend.Settings{}}, `setting "assume_role.role_arn": it is required`},
		"item":         {backend.Settings{"bucket": "b", "region": "r", "allowed_account_ids": []any{"1", []any{}}}, `setting "allowed_account_ids": item 2: it takes one value, not a list or an object`},
		"several":      {backend.Settings{"zzzz": 1}, "setting \"bucket\": it is required\nsetting \"region\": it is required (or TEST_REGION or TEST_DEFAULT_REGION in the environment)\nsetting \"zzzz\": there is no such"},
		"never secret": {backend.Settings{"bucket": "b", "region": "r", "token": []any{"CANARY"}}, `setting "token": it takes one value, not a list or an object`},
	} {
		err := test.settings.Decode(new(config))
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: %v\nwant %s", name, err, test.want)
		}
		var setting *backend.SettingError
		if !errors.As(err, &setting) || setting.Name == "" {
			t.Errorf("%s: not a SettingError", name)
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	secret := backend.Secret("CANARY")
	c := struct{ Token backend.Secret }{secret}
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "token", secret, "config", c)
	for _, text := range []string{fmt.Sprint(secret), fmt.Sprintf("%v %+v %#v %s %q %x %d", c, c, c, secret, secret, secret, secret), string(data), log.String()} {
		if strings.Contains(text, "CANARY") || strings.Contains(text, "43414e415259") || !strings.Contains(text, "redacted") {
			t.Errorf("%q", text)
		}
	}
}

// opened remembers the configuration that it was opened with.
type opened struct {
	*memory.Backend
	config config
}

var drivers = backend.NewMux(memory.Driver, backend.NewDriver(func(_ context.Context, c config) (backend.Backend, error) {
	return &opened{memory.New(), c}, nil
}, "test", "also"))

func TestOpenURL(t *testing.T) {
	b, err := drivers.OpenURL(t.Context(), "test://b/a%2Fb/c?region=r&max_retries=2&allowed_account_ids=1&allowed_account_ids=2&assume_role.role_arn=arn&assume_role.duration=30m")
	if err != nil {
		t.Fatal(err)
	}
	want := config{Bucket: "b", Key: "a/b/c", Region: "r", Prefix: "env:", Retries: 2, Accounts: []string{"1", "2"}, Role: &role{"arn", 30 * time.Minute}}
	if diff := cmp.Diff(want, b.(*opened).config); diff != "" {
		t.Error(diff)
	}
	if _, err := drivers.OpenURL(t.Context(), "memory:"); err != nil {
		t.Error(err)
	}
	for rawURL, want := range map[string]string{
		"nope://b":                          `no driver for backend type "nope"; there are also, memory, test`,
		"b/k":                               `no driver for backend type ""; there are also, memory, test`,
		"test://u:CANARY@b/k?region=r":      "takes no user or password",
		"test://b/k?region=r#CANARY":        "takes no fragment",
		"test://b/k?region=r&a=%zzCANARY":   "parameters of the URL are malformed",
		"test://b/%zzCANARY":                "malformed backend URL",
		"test://b/k?regio=CANARY&region=r":  `setting "regio": there is no such setting; did you mean "region"?`,
		"test://b/k?key=x&region=r":         `setting "key": it is set twice, by the URL's path and by a parameter`,
		"test://b/k?region=r&region.x=1":    `setting "region": it is set both as a value and as an object`,
		"test://b/k?assume_role=x&region=r": `setting "assume_role": it takes an object`,
		"memory://host":                     "takes no host",
		"memory:/path":                      "takes no path",
		"memory:path":                       "takes no path",
	} {
		_, err := drivers.OpenURL(t.Context(), rawURL)
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, backend.ErrInvalid) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v\nwant %s", rawURL, err, want)
		}
	}
}

func TestMuxRefusesDuplicates(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("two drivers of one type are accepted")
		}
	}()
	backend.NewMux(memory.Driver, memory.Driver)
}

func TestDriverWithoutType(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a driver that no block and no URL can name")
		}
	}()
	backend.NewDriver(func(context.Context, config) (backend.Backend, error) { return memory.New(), nil })
}
