package backend

import (
	"os"
	"reflect"
	"slices"
	"strings"
)

// A Field is a field of a driver's configuration struct that is a setting, as its tags
// have it. [Settings.Decode] says what they mean.
type Field struct {
	reflect.StructField
	Setting string   // its name
	options []string // that follow it in the tag
	orUnset bool     // "" counts as not set
}

// Fields returns the settings of a configuration struct; those of embedded structs are
// among them, with the Index that leads there, and those of nested ones are not.
func Fields(config reflect.Type) []Field {
	var fields []Field
	orUnset := false
	for _, f := range reflect.VisibleFields(config) {
		name, options, _ := strings.Cut(f.Tag.Get("setting"), ",")
		field := Field{StructField: f, Setting: name, options: strings.Split(options, ",")}
		switch {
		case f.Name == "_":
			orUnset = field.Has("unsetempty")
		case name != "":
			fields = append(fields, field)
		}
	}
	for i := range fields {
		fields[i].orUnset = orUnset && fields[i].Type.Kind() == reflect.String
	}
	return fields
}

// Has reports whether the tag has an option, such as "required".
func (f Field) Has(option string) bool { return slices.Contains(f.options, option) }

// Unset reports whether a value counts as not set: nil, and for some drivers "".
func (f Field) Unset(value any) bool { return value == nil || f.orUnset && value == "" }

// Fallback returns what holds where the setting is not set, and which variable of the
// environment says so; "" if it is the default. ok is false if there is neither.
func (f Field) Fallback() (value, variable string, ok bool) {
	for name := range strings.SplitSeq(f.Tag.Get("env"), ",") {
		if value := os.Getenv(name); value != "" {
			return value, name, true
		}
	}
	value, ok = f.Tag.Lookup("default")
	return value, "", ok
}
