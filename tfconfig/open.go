package tfconfig

import (
	"context"
	"errors"
	"reflect"
	"slices"

	"github.com/statelatch/statelatch/backend"
)

// Open opens the backend with the driver that mux has for its type. Its error joins
// an [*Error] for each mistake, or is an [*UnsupportedError].
func (c *Config) Open(ctx context.Context, mux *backend.Mux) (backend.Backend, error) {
	if types := mux.Types(); !slices.Contains(types, c.Type) {
		return nil, &UnsupportedError{c.Type, types, c.Origin}
	}
	var t reflect.Type
	b, err := mux.Open(ctx, c.Type, func(config any) error {
		t = reflect.TypeOf(config).Elem()
		return c.Decode(config)
	})
	if err != nil {
		return nil, c.locate(err, t)
	}
	return b, nil
}

// A Setting is one value as the driver sees it.
type Setting struct {
	Name   string // dots lead into nested settings
	Value  any    // of the driver's field; a [backend.Secret] does not print
	Origin Origin
}

// errDescribed stops a driver before it opens anything.
var errDescribed = errors.New("described")

// Settings returns the settings that the driver is opened with, in the order of its
// fields, and where each comes from. Those that nothing sets are left out.
func (c *Config) Settings(mux *backend.Mux) ([]Setting, error) {
	var settings []Setting
	describe := func(config any) error {
		if err := c.Decode(config); err != nil {
			return err
		}
		settings = c.describe(reflect.ValueOf(config).Elem(), "")
		return errDescribed
	}
	if types := mux.Types(); !slices.Contains(types, c.Type) {
		return nil, &UnsupportedError{c.Type, types, c.Origin}
	}
	_, err := mux.Open(context.Background(), c.Type, describe)
	if errors.Is(err, errDescribed) {
		err = nil
	}
	return settings, err
}

func (c *Config) describe(config reflect.Value, prefix string) (settings []Setting) {
	for _, f := range backend.Fields(config.Type()) {
		name := prefix + f.Setting
		value, err := config.FieldByIndexErr(f.Index)
		if value = reflect.Indirect(value); err != nil || !value.IsValid() {
			continue
		}
		if value.Kind() == reflect.Struct {
			settings = append(settings, c.describe(value, name+".")...)
		} else if prefix != "" && value.IsZero() {
			continue // of a pair, whose expression is not kept
		} else if c.has(name, f) {
			settings = append(settings, Setting{name, value.Interface(), c.origin(name)})
		} else if at, ok := fallback(f); ok {
			settings = append(settings, Setting{name, value.Interface(), at})
		}
	}
	return settings
}
