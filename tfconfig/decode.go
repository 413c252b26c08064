package tfconfig

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/statelatch/statelatch/backend"
)

// Decode fills a driver's configuration struct, as [backend.Settings.Decode] does. Its
// error joins an [*Error] for each mistake. Relative names of files become absolute:
// they are taken from c.Dir, as Terraform takes them from its working directory.
func (c *Config) Decode(config any) error {
	into := reflect.ValueOf(config).Elem()
	values := backend.Settings{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.settings)) {
		value, err := c.settings[name].typed(into.Type(), name)
		if err != nil {
			errs = append(errs, &Error{c.origin(name), &backend.SettingError{Name: name, Err: err}})
		}
		values[name] = value
	}
	if len(errs) == 0 {
		errs = append(errs, c.locate(values.Decode(config), into.Type()))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	c.files(into)
	return nil
}

// typed returns the value; that of a pair is an expression if the field takes more
// than one value, and else a text.
func (s setting) typed(config reflect.Type, name string) (any, error) {
	if !s.raw || !composite(config, name) {
		return s.value, nil
	}
	text, _ := s.value.(string)
	expr, err := parseExpression(text)
	if err != nil {
		return nil, fmt.Errorf("its value has to be an expression, such as [\"a\"] or { b = \"c\" }: %w", err)
	}
	value, err := literal(expr)
	if err != nil {
		return nil, fmt.Errorf("its value has to be an expression of literal values, such as [\"a\"] or { b = \"c\" }: %w", err)
	}
	return plain(value)
}

func composite(config reflect.Type, name string) bool {
	f, ok := field(config, name)
	if !ok {
		return false
	}
	kind := pointed(f.Type).Kind()
	return kind == reflect.Slice || kind == reflect.Map || kind == reflect.Struct
}

// files makes the names of files absolute, by the tags of their fields.
func (c *Config) files(config reflect.Value) {
	for _, f := range backend.Fields(config.Type()) {
		value, err := config.FieldByIndexErr(f.Index)
		value = reflect.Indirect(value)
		switch {
		case err != nil || !value.IsValid():
		case value.Kind() == reflect.Struct:
			c.files(value)
		case value.Kind() == reflect.String:
			value.SetString(c.file(value.String(), f))
		case value.Kind() == reflect.Slice && value.Type().Elem().Kind() == reflect.String:
			for i := range value.Len() {
				value.Index(i).SetString(c.file(value.Index(i).String(), f))
			}
		}
	}
}

// file returns a value as the tag of its field wants it.
func (c *Config) file(value string, f backend.Field) string {
	path := filepath.Join(c.Dir, value)
	switch {
	case value == "" || filepath.IsAbs(value):
	case f.Has("home") && (value == "~" || strings.HasPrefix(value, "~/")): // the driver's
	case f.Has("file"):
		return path
	case f.Has("contents"):
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return value
}
