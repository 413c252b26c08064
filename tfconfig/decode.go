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
	for _, f := range reflect.VisibleFields(config.Type()) {
		field, err := config.FieldByIndexErr(f.Index)
		if err != nil || f.Anonymous || !f.IsExported() {
			continue
		}
		if field.Kind() == reflect.Pointer {
			field = field.Elem()
		}
		tag := strings.Split(f.Tag.Get("setting"), ",")
		switch {
		case tag[0] == "" || !field.IsValid():
		case field.Kind() == reflect.Struct:
			c.files(field)
		case field.Kind() == reflect.String:
			field.SetString(c.file(field.String(), tag[1:]))
		case field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.String:
			for i := range field.Len() {
				field.Index(i).SetString(c.file(field.Index(i).String(), tag[1:]))
			}
		}
	}
}

// file returns a value as the options of its tag want it.
func (c *Config) file(value string, options []string) string {
	path := filepath.Join(c.Dir, value)
	switch {
	case value == "" || filepath.IsAbs(value):
	case slices.Contains(options, "home") && (value == "~" || strings.HasPrefix(value, "~/")): // the driver's
	case slices.Contains(options, "file"):
		return path
	case slices.Contains(options, "contents"):
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return value
}
