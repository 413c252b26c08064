package backend

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// A Secret is a string that does not print. Convert it to a string to use it. In an
// unexported field package fmt asks no method, and shows it: keep it behind a pointer.
type Secret string

// Redacted is what a Secret shows instead of itself.
const redacted = "(redacted)"

// Format implements [fmt.Formatter] for every verb.
func (Secret) Format(f fmt.State, _ rune) { f.Write([]byte(redacted)) }

// MarshalText implements [encoding.TextMarshaler], for JSON among others.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements [slog.LogValuer].
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Settings are what a backend block, a URL or a Go map says: values by the names
// that Terraform uses. A value is a string, a bool, an int, an int64, a float64,
// a list ([]any or []string) or a map (map[string]any or Settings); nil counts as
// not set.
type Settings map[string]any

// A SettingError says which setting is wrong.
type SettingError struct {
	Name string // dots lead into nested settings
	Err  error
}

func (e *SettingError) Error() string { return fmt.Sprintf("setting %q: %v", e.Name, e.Err) }

// Unwrap returns e.Err.
func (e *SettingError) Unwrap() error { return e.Err }

// Decode fills the struct that config points to. Each field that is a setting has
// the tag setting, and may have more:
//
//		Bucket string `setting:"bucket,required" url:"host"`
//		Region string `setting:"region" env:"AWS_REGION,AWS_DEFAULT_REGION"`
//		Prefix string `setting:"workspace_key_prefix" default:"env:"`
//
//	  - setting: its name; with ",required", the error of a missing one is ours. With
//	    ",file" it names a file, and with ",contents" a file or what would be in one: a
//	    relative name is taken from the working directory, or from the one that a
//	    configuration is in (package tfconfig). ",file,home" says that the driver takes
//	    a leading ~/ for the home directory. A blank field (_ struct{}) with ",unsetempty"
//	    says that "" counts as not set, in all strings of the struct.
//	  - env: the variables that are asked, in order, where the setting is not set; an
//	    empty variable counts as not set.
//	  - default: what holds where those are not set either.
//	  - url: the place that it has in a URL beside the parameters: "host"; "path",
//	    without its leading slash; "file", the path with it, or what follows the
//	    scheme directly (local:terraform.tfstate); or "url", scheme, host and path.
//
// Fields are of a string, bool, signed integer or float kind, a time.Duration ("15m"),
// a []string, a map[string]string, or a struct of settings, or a pointer to one of
// those, nil where nothing sets it. Embedded structs count as part of the outer one.
// Strings convert to numbers and booleans and back, as Terraform does it. An unknown
// name is an error that names the nearest known one.
// The error joins one [*SettingError] for each mistake.
func (s Settings) Decode(config any) error {
	return errors.Join(s.decode(reflect.ValueOf(config).Elem(), "")...)
}

func (s Settings) decode(into reflect.Value, prefix string) (errs []error) {
	known := map[string]bool{}
	for _, f := range Fields(into.Type()) {
		known[f.Setting] = true
		value := s[f.Setting]
		if f.Unset(value) {
			value = nil
			if text, _, ok := f.Fallback(); ok {
				value = text
			}
		}
		if value == nil && f.Type.Kind() == reflect.Struct {
			value = Settings{} // what is in it may have a variable or a default
		}
		if value == nil && f.Has("required") {
			errs = append(errs, &SettingError{prefix + f.Setting, errors.New("it is required" + orEnv(f))})
		}
		if value != nil {
			errs = append(errs, assign(into.FieldByIndex(f.Index), value, prefix+f.Setting)...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if !known[name] {
			errs = append(errs, &SettingError{prefix + name, unknownSetting(name, slices.Sorted(maps.Keys(known)))})
		}
	}
	return errs
}

func orEnv(f Field) string {
	if env := f.Tag.Get("env"); env != "" {
		return " (or " + strings.ReplaceAll(env, ",", " or ") + " in the environment)"
	}
	return ""
}
