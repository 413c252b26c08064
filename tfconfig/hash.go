package tfconfig

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"
)

// unchanged reports whether hash is what init records of a block with these values
// alone, without those of -backend-config. The schema that this needs is in the
// record, which names every attribute, but not whether an object is a map.
func unchanged(hash uint64, typ string, block, recorded map[string]any) bool {
	for _, maps := range []bool{true, false} {
		value := cty.TupleVal([]cty.Value{cty.StringVal(typ), schema(maps).object(block, recorded)})
		if uint64(value.Hash()) == hash {
			return true
		}
	}
	return false
}

// A schema is a guess: whether the nested objects that have no null are maps.
type schema bool

// object returns values with every name that the record has.
func (s schema) object(values, recorded map[string]any) cty.Value {
	all := map[string]cty.Value{}
	for name, value := range values {
		all[name] = s.like(value, recorded[name])
	}
	for name := range recorded {
		if _, ok := all[name]; !ok {
			all[name] = cty.NullVal(cty.String) // all nulls hash the same
		}
	}
	return cty.ObjectVal(all)
}

func (s schema) nested(values, recorded map[string]any) cty.Value {
	for _, value := range recorded {
		if value == nil {
			return s.object(values, recorded)
		}
	}
	if !bool(s) || recorded == nil {
		return s.object(values, recorded)
	}
	if len(values) == 0 {
		return cty.MapValEmpty(cty.String)
	}
	items := map[string]cty.Value{}
	for name, value := range values {
		text, _ := value.(string)
		items[name] = cty.StringVal(text)
	}
	return cty.MapVal(items)
}

// like converts a value to the type that the recorded one has.
func (s schema) like(value, recorded any) cty.Value {
	switch v := value.(type) {
	case string:
		return primitiveLike(v, recorded)
	case []any:
		return listLike(v, recorded)
	case map[string]any:
		was, _ := recorded.(map[string]any)
		return s.nested(v, was)
	}
	return cty.NullVal(cty.String)
}

func primitiveLike(text string, recorded any) cty.Value {
	switch recorded.(type) {
	case bool:
		if b, err := strconv.ParseBool(text); err == nil {
			return cty.BoolVal(b)
		}
	case json.Number:
		if n, err := cty.ParseNumberVal(text); err == nil {
			return n
		}
	}
	return cty.StringVal(text)
}

// listLike sorts what may be a set: a record has sets sorted.
func listLike(items []any, recorded any) cty.Value {
	if len(items) == 0 {
		return cty.ListValEmpty(cty.String)
	}
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i], _ = item.(string)
	}
	was, _ := recorded.([]any)
	if slices.IsSortedFunc(was, func(a, b any) int {
		x, _ := a.(string)
		y, _ := b.(string)
		return strings.Compare(x, y)
	}) {
		slices.Sort(texts)
	}
	list := make([]cty.Value, len(texts))
	for i, text := range texts {
		list[i] = cty.StringVal(text)
	}
	return cty.ListVal(list)
}
