package tfconfig

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/statelatch/statelatch/backend"
)

// locate adds its place to each mistake in a setting that err joins. The type is that
// of the driver's configuration.
func (c *Config) locate(err error, config reflect.Type) error {
	switch e := err.(type) { //nolint:errorlint // the tree is walked by hand
	case nil, *Error:
		return err
	case *backend.SettingError:
		return c.located(e, config)
	case *backend.Error:
		located := *e
		located.Err = c.locate(e.Err, config)
		return &located
	case interface{ Unwrap() []error }:
		var errs []error
		for _, err := range e.Unwrap() {
			errs = append(errs, c.locate(err, config))
		}
		return errors.Join(errs...)
	}
	return err
}

func (c *Config) located(e *backend.SettingError, config reflect.Type) error {
	at := c.origin(e.Name)
	if c.has(e.Name) || config == nil {
		return &Error{at, e}
	}
	if f, ok := field(config, e.Name); ok {
		if from, ok := fallback(f); ok && from.Kind == FromEnvironment {
			return &Error{from, e}
		}
	}
	if at == c.Origin && c.Source == Block {
		return &Error{at, fmt.Errorf("%w; nothing sets it in the block or with -backend-config", e)}
	}
	return &Error{at, e}
}

// origin returns where a setting comes from, or what it is within; the place of the
// whole configuration if nothing sets it.
func (c *Config) origin(name string) Origin {
	outer, inner, _ := strings.Cut(name, ".")
	s, ok := c.settings[outer]
	if !ok {
		return c.Origin
	}
	for ; inner != ""; inner = inner[:max(0, strings.LastIndexByte(inner, '.'))] {
		if at, ok := s.nested[inner]; ok {
			at.Via = s.origin.Via
			return at
		}
	}
	return s.origin
}

// has reports whether the configuration sets a setting.
func (c *Config) has(name string) bool {
	outer, inner, _ := strings.Cut(name, ".")
	s := c.settings[outer]
	value := s.value
	for inner != "" && !s.raw {
		m, _ := value.(map[string]any)
		outer, inner, _ = strings.Cut(inner, ".")
		value = m[outer]
	}
	return value != nil
}

// field returns the field of a setting; dots in its name lead into nested ones.
func field(config reflect.Type, name string) (reflect.StructField, bool) {
	outer, inner, nested := strings.Cut(name, ".")
	for _, f := range reflect.VisibleFields(config) {
		if tagged, _, _ := strings.Cut(f.Tag.Get("setting"), ","); tagged != outer {
			continue
		}
		if !nested {
			return f, true
		}
		if t := pointed(f.Type); t.Kind() == reflect.Struct {
			return field(t, inner)
		}
	}
	return reflect.StructField{}, false
}

func pointed(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// fallback returns where the value of a field comes from that is not set.
func fallback(f reflect.StructField) (Origin, bool) {
	for name := range strings.SplitSeq(f.Tag.Get("env"), ",") {
		if os.Getenv(name) != "" {
			return Origin{Kind: FromEnvironment, Name: name}, true
		}
	}
	_, ok := f.Tag.Lookup("default")
	return Origin{Kind: FromDefault}, ok
}
