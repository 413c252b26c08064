package all_test

import (
	"context"
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
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/statelatch/statelatch/all"
	"github.com/statelatch/statelatch/azblob"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/consul"
	"github.com/statelatch/statelatch/gcs"
	"github.com/statelatch/statelatch/httpbackend"
	"github.com/statelatch/statelatch/local"
	"github.com/statelatch/statelatch/memory"
	"github.com/statelatch/statelatch/s3"
	"github.com/statelatch/statelatch/tfconfig"
)

// errSeen is what a recorder answers with, in place of a Backend.
var errSeen = errors.New("seen")

// A recorder is a driver that keeps what it was to be opened with.
type recorder struct {
	backend.Driver
	seen *any
}

func (r recorder) Open(ctx context.Context, decode func(any) error) (backend.Backend, error) {
	return r.Driver.Open(ctx, func(config any) error {
		if err := decode(config); err != nil {
			return err
		}
		*r.seen = config
		return errSeen
	})
}

// recording returns a Mux like all.Mux, and where it keeps what it was to open.
func recording() (mux *backend.Mux, seen *any) {
	seen = new(any)
	var drivers []backend.Driver
	for _, d := range []backend.Driver{local.Driver, s3.Driver, gcs.Driver, azblob.Driver, consul.Driver, httpbackend.Driver, memory.Driver} {
		drivers = append(drivers, recorder{d, seen})
	}
	return backend.NewMux(drivers...), seen
}

// isolate hides what the environment says to the services.
func isolate(t *testing.T) {
	t.Helper()
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if slices.ContainsFunc([]string{"AWS_", "GOOGLE_", "ARM_", "AZURE", "CONSUL_", "TF_", "ACTIONS_", "SYSTEM_"}, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			t.Setenv(name, "") // restores it
			os.Unsetenv(name)
		}
	}
}

// TestAttributes sets each attribute of each block in every way that there is, and
// looks at the configuration that the driver gets: the one field is different, and
// no other.
func TestAttributes(t *testing.T) {
	for _, b := range blocks {
		for _, a := range b.attributes {
			t.Run(b.typ+"/"+a.name, func(t *testing.T) {
				isolate(t)
				b.inBlock(t, a)
				b.inOption(t, a)
				b.inFile(t, a)
				b.inURL(t, a)
				b.inEnvironment(t, a)
			})
		}
	}
}

// check compares what the driver got with the base and the attribute.
func (b block) check(t *testing.T, how string, a attribute, want any, open func(*backend.Mux) error) {
	t.Helper()
	mux, seen := recording()
	if err := open(mux); !errors.Is(err, errSeen) {
		t.Errorf("%s: %v", how, err)
		return
	}
	base := reflect.New(reflect.TypeOf(b.config))
	if err := asSettings(b.base).Decode(base.Interface()); err != nil {
		t.Fatal(err)
	}
	fields := flatten(base.Elem(), "")
	if _, ok := fields[a.field]; !ok {
		t.Fatalf("%T has no field %s", b.config, a.field)
	}
	fields[a.field] = plain(reflect.ValueOf(want))
	if diff := cmp.Diff(fields, flatten(reflect.ValueOf(*seen).Elem(), "")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", how, diff)
	}
}

func (b block) inBlock(t *testing.T, a attribute) {
	b.check(t, "block", a, a.value, b.directory(t, b.with(a, a.value)))
}

func (b block) inOption(t *testing.T, a attribute) {
	outer, _, _ := strings.Cut(a.name, ".")
	set := b.with(a, a.value)
	text, ok := set[outer].(string)
	if !ok {
		text = hcl(set[outer])
	}
	b.check(t, "-backend-config pair", a, a.value, b.directory(t, b.base, outer+"="+text))
}

func (b block) inFile(t *testing.T, a attribute) {
	outer, _, _ := strings.Cut(a.name, ".")
	file := filepath.Join(t.TempDir(), "x.tfbackend")
	write(t, file, body(m{outer: b.with(a, a.value)[outer]}))
	b.check(t, "-backend-config file", a, a.value, b.directory(t, b.base, file))
}

func (b block) inURL(t *testing.T, a attribute) {
	for _, typ := range b.types() {
		formatted, err := all.Mux().FormatURL(typ, asSettings(b.with(a, a.value)))
		if err != nil {
			t.Error(err)
		}
		for _, rawURL := range []string{formatted, asURL(typ, b.with(a, a.value), b.places), asURL(typ, b.with(a, a.value), nil)} {
			b.check(t, "URL "+rawURL, a, a.value, func(mux *backend.Mux) error {
				_, err := mux.OpenURL(t.Context(), rawURL)
				return err
			})
		}
	}
}

// inEnvironment sets each variable alone, with all after it set to something else,
// and then beside the attribute, which goes before all of them.
func (b block) inEnvironment(t *testing.T, a attribute) {
	variables := strings.Fields(a.env)
	text := plain(reflect.ValueOf(a.value))
	if list, ok := a.value.(l); ok {
		text = fmt.Sprint(list[0]) // such a variable names one
	}
	unset := b.with(a, nil)
	for _, name := range slices.Backward(variables) {
		t.Setenv(name, text)
		b.check(t, name, a, a.value, b.settings(unset))
		t.Setenv(name, otherwise(a.value))
		b.check(t, "beside "+name, a, a.value, b.settings(b.with(a, a.value)))
	}
}

// otherwise returns what a variable holds that is not to be asked.
func otherwise(value any) string {
	switch value := value.(type) {
	case bool:
		return fmt.Sprint(!value)
	case int:
		return fmt.Sprint(value + 1)
	}
	return "something else"
}

// types are the names that the driver answers to.
func (b block) types() []string {
	for _, d := range []backend.Driver{local.Driver, s3.Driver, gcs.Driver, azblob.Driver, consul.Driver, httpbackend.Driver} {
		if slices.Contains(d.Types(), b.typ) {
			return d.Types()
		}
	}
	return nil
}

// with returns the base, and the attribute with that value.
func (b block) with(a attribute, value any) m {
	set := maps.Clone(b.base)
	outer, inner, nested := strings.Cut(a.name, ".")
	if !nested {
		set[outer] = value
		return set
	}
	within, _ := set[outer].(m)
	if within = maps.Clone(within); within == nil {
		within = m{}
	}
	within[inner] = value
	set[outer] = within
	return set
}

// directory opens a directory with a block of these attributes.
func (b block) directory(t *testing.T, set m, backendConfig ...string) func(*backend.Mux) error {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.tf"), fmt.Sprintf("terraform {\n  backend %q {\n%s  }\n}\n", b.typ, body(set)))
	return func(mux *backend.Mux) error {
		_, _, err := tfconfig.Open(t.Context(), mux, dir, tfconfig.Options{BackendConfig: backendConfig})
		return err
	}
}

func (b block) settings(set m) func(*backend.Mux) error {
	return func(mux *backend.Mux) error {
		_, err := mux.Open(context.Background(), b.typ, asSettings(set).Decode)
		return err
	}
}

func asSettings(set m) backend.Settings { return set }

// body writes attributes in HCL.
func body(set m) string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if set[name] != nil {
			fmt.Fprintf(&text, "    %s = %s\n", name, hcl(set[name]))
		}
	}
	return text.String()
}

// hcl writes a value in HCL.
func hcl(value any) string {
	switch value := value.(type) {
	case string:
		return fmt.Sprintf("%q", value)
	case l:
		var items []string
		for _, item := range value {
			items = append(items, hcl(item))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case m:
		var items []string
		for _, key := range slices.Sorted(maps.Keys(value)) {
			items = append(items, fmt.Sprintf("%q = %s", key, hcl(value[key])))
		}
		return "{" + strings.Join(items, ", ") + "}"
	}
	return fmt.Sprint(value)
}

// asURL writes attributes as a URL by hand, those of places where they belong.
func asURL(typ string, set m, places map[string]string) string {
	set = maps.Clone(set)
	in := map[string]string{}
	for place, name := range places {
		in[place], _ = set[name].(string)
		delete(set, name)
	}
	u := url.URL{Scheme: typ, Host: in["host"]}
	switch {
	case in["url"] != "":
		whole, err := url.Parse(in["url"])
		if err != nil {
			panic(err)
		}
		u = *whole
	case in["file"] != "":
		u.Path = in["file"]
	case in["path"] != "":
		u.Path = "/" + in["path"]
	}
	query := url.Values{}
	addTo(query, "", set)
	u.RawQuery = query.Encode()
	return u.String()
}

func addTo(query url.Values, prefix string, set m) {
	for name, value := range set {
		switch value := value.(type) {
		case m:
			addTo(query, prefix+name+".", value)
		case l:
			for _, item := range value {
				query.Add(prefix+name, fmt.Sprint(item))
			}
		case nil:
		default:
			query.Set(prefix+name, fmt.Sprint(value))
		}
	}
}

// flatten returns the fields of a configuration that are settings, and their values.
func flatten(config reflect.Value, prefix string) map[string]string {
	fields := map[string]string{}
	for _, f := range backend.Fields(config.Type()) {
		value := config.FieldByIndex(f.Index)
		if value.Kind() == reflect.Pointer && !value.IsNil() {
			value = value.Elem()
		}
		if value.Kind() == reflect.Struct {
			maps.Copy(fields, flatten(value, prefix+f.Name+"."))
		} else {
			fields[prefix+f.Name] = plain(value)
		}
	}
	return fields
}

// plain returns a value in one form, of whatever type it is.
func plain(value reflect.Value) string {
	switch {
	case value.Kind() == reflect.String:
		return value.String() // a Secret too
	case value.Type() == reflect.TypeFor[time.Duration]():
		return time.Duration(value.Int()).String()
	case value.Kind() == reflect.Interface:
		return plain(value.Elem())
	case value.Kind() == reflect.Map:
		var items []string
		for _, key := range value.MapKeys() {
			items = append(items, key.String()+"="+plain(value.MapIndex(key)))
		}
		slices.Sort(items)
		return strings.Join(items, ",")
	}
	return fmt.Sprint(value)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
