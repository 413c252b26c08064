package tfconfig

import (
	"errors"
	"fmt"
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
	f, known := field(config, e.Name)
	if c.has(e.Name, f) || config == nil {
		return &Error{at, e}
	}
	if from, ok := fallback(f); known && ok && from.Kind == FromEnvironment {
		return &Error{from, e}
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

// has reports whether the configuration sets a setting, which is that field of the
// driver's.
func (c *Config) has(name string, f backend.Field) bool {
	outer, inner, _ := strings.Cut(name, ".")
	s := c.settings[outer]
	value := s.value
	for inner != "" && !s.raw {
		m, _ := value.(map[string]any)
		outer, inner, _ = strings.Cut(inner, ".")
		value = m[outer]
	}
	return !f.Unset(value)
}

// field returns the field of a setting; dots in its name lead into nested ones.
func field(config reflect.Type, name string) (backend.Field, bool) {
	if config == nil {
		return backend.Field{}, false
	}
	outer, inner, nested := strings.Cut(name, ".")
	for _, f := range backend.Fields(config) {
		switch {
		case f.Setting != outer:
		case !nested:
			return f, true
		case pointed(f.Type).Kind() == reflect.Struct:
			return field(pointed(f.Type), inner)
		}
	}
	return backend.Field{}, false
}

func pointed(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// fallback returns where the value of a field comes from that is not set.
func fallback(f backend.Field) (Origin, bool) {
	_, variable, ok := f.Fallback()
	if variable == "" {
		return Origin{Kind: FromDefault}, ok
	}
	return Origin{Kind: FromEnvironment, Name: variable}, ok
}
