package backend

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// assign converts value to the type of field.
func assign(field reflect.Value, value any, name string) []error {
	if field.Kind() == reflect.Pointer {
		field.Set(reflect.New(field.Type().Elem()))
		field = field.Elem()
	}
	if field.Kind() == reflect.Struct {
		nested, ok := asMap(value)
		if !ok {
			return []error{&SettingError{name, errors.New("it takes an object")}}
		}
		return nested.decode(field, name+".")
	}
	if err := assignValue(field, value); err != nil {
		return []error{&SettingError{name, err}}
	}
	return nil
}

func assignValue(field reflect.Value, value any) error {
	switch field.Kind() {
	case reflect.Slice:
		return assignList(field, value)
	case reflect.Map:
		return assignMap(field, value)
	}
	text, ok := asString(value)
	if !ok {
		return errors.New("it takes one value, not a list or an object")
	}
	switch {
	case field.Type() == reflect.TypeFor[time.Duration]():
		d, err := time.ParseDuration(text)
		if err != nil {
			return errors.New(`it takes a duration, such as "15m"`)
		}
		field.SetInt(int64(d))
	case field.Kind() == reflect.String:
		field.SetString(text)
	case field.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("it takes true or false")
		}
		field.SetBool(b)
	case field.CanInt():
		n, err := strconv.ParseInt(text, 10, field.Type().Bits())
		if err != nil {
			return errors.New("it takes a whole number")
		}
		field.SetInt(n)
	case field.CanFloat():
		n, err := strconv.ParseFloat(text, field.Type().Bits())
		if err != nil {
			return errors.New("it takes a number")
		}
		field.SetFloat(n)
	default:
		return fmt.Errorf("a field of type %s cannot be a setting", field.Type())
	}
	return nil
}

func assignList(field reflect.Value, value any) error {
	var items []any
	switch v := value.(type) {
	case []any:
		items = v
	case []string:
		for _, s := range v {
			items = append(items, s)
		}
	default:
		items = []any{value}
	}
	list := reflect.MakeSlice(field.Type(), len(items), len(items))
	for i, item := range items {
		if err := assignValue(list.Index(i), item); err != nil {
			return fmt.Errorf("item %d: %w", i+1, err)
		}
	}
	field.Set(list)
	return nil
}

func assignMap(field reflect.Value, value any) error {
	items, ok := asMap(value)
	if !ok {
		return errors.New("it takes a map")
	}
	m := reflect.MakeMapWithSize(field.Type(), len(items))
	for key, item := range items {
		v := reflect.New(field.Type().Elem()).Elem()
		if err := assignValue(v, item); err != nil {
			return fmt.Errorf("key %q: %w", key, err)
		}
		m.SetMapIndex(reflect.ValueOf(key), v)
	}
	field.Set(m)
	return nil
}

func asMap(value any) (Settings, bool) {
	switch v := value.(type) {
	case Settings:
		return v, true
	case map[string]any:
		return v, true
	}
	return nil, false
}

func asString(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case Secret:
		return string(v), true
	case bool:
		return strconv.FormatBool(v), true
	case int:
		return strconv.Itoa(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return "", false
}

// unknownSetting names the nearest of the known names, or all of them.
func unknownSetting(name string, known []string) error {
	best, distance := "", 1+len(name)/3
	for _, k := range known {
		if d := editDistance(name, k); d <= distance {
			best, distance = k, d-1
		}
	}
	if best != "" {
		return fmt.Errorf("there is no such setting; did you mean %q?", best)
	}
	return fmt.Errorf("there is no such setting; there are %s", strings.Join(known, ", "))
}

// editDistance counts the insertions, deletions and replacements from a to b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := diagonal
			if a[i] != b[j] {
				next = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
