package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// OpenURL opens the Backend that a URL names: the scheme is its type, the
// parameters are its settings, and host and path are the settings that the
// driver's configuration says they are. Of the drivers in this module:
//
//	s3://BUCKET/KEY?region=eu-central-1&assume_role.role_arn=…
//	gcs://BUCKET/PREFIX, or gs:
//	azurerm://CONTAINER/KEY?storage_account_name=…, or azblob:
//	consul://HOST:PORT/PATH, or consul:///PATH: the address is looked for in the environment
//	local:RELATIVE/PATH, or local:///ABSOLUTE/PATH
//	http://HOST/PATH, https://HOST/PATH; if the address has a query itself, http:?address=…
//	memory:
//
// What has no place is a parameter, and what has one may be a parameter instead. A
// parameter that occurs several times is a list; a dot in its name leads into a
// nested setting or a map. User-info, a fragment and unknown parameters are errors.
func (m *Mux) OpenURL(ctx context.Context, rawURL string) (Backend, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	return m.Open(ctx, u.Scheme, func(config any) error {
		settings, err := urlSettings(u, reflect.TypeOf(config).Elem())
		if err != nil {
			return err
		}
		return settings.Decode(config)
	})
}

// ParseURL returns the type and the settings that OpenURL would open. It judges no
// value.
func (m *Mux) ParseURL(rawURL string) (typ string, s Settings, err error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return "", nil, err
	}
	config, err := m.config(u.Scheme)
	if err != nil {
		return "", nil, err
	}
	if s, err = urlSettings(u, config); err != nil {
		return "", nil, &Error{Op: "open", Backend: u.Scheme, Kind: ErrInvalid, Err: err}
	}
	return u.Scheme, s, nil
}

// FormatURL returns the URL that OpenURL takes for those settings. It holds the
// secrets that they hold. Values that are no strings become those, as Decode would
// convert them; an empty list or map, which no URL can say, is an error.
func (m *Mux) FormatURL(typ string, s Settings) (string, error) {
	config, err := m.config(typ)
	if err != nil {
		return "", err
	}
	query := url.Values{}
	if err := s.addTo(query, config, ""); err != nil {
		return "", &Error{Op: "format", Backend: typ, Kind: ErrInvalid, Err: err}
	}
	u := url.URL{Scheme: typ}
	for name, place := range urlPlaces(config) {
		if with, ok := m.with(u, place, query.Get(name)); ok && len(query[name]) == 1 {
			u = with
			query.Del(name)
		}
	}
	u.RawQuery = query.Encode()
	return u.String(), nil
}

func parseURL(rawURL string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The parser's own error repeats the URL, which may hold a secret.
		return nil, &Error{Op: "open", Kind: ErrInvalid, Err: errors.New("malformed backend URL; it begins TYPE: and its parameters are escaped")}
	}
	return u, nil
}

// config returns the type of the configuration struct that a driver decodes into.
func (m *Mux) config(typ string) (reflect.Type, error) {
	var config reflect.Type
	seen := errors.New("seen")
	b, err := m.Open(context.Background(), typ, func(c any) error {
		config = reflect.TypeOf(c).Elem()
		return seen
	})
	switch {
	case config != nil:
		return config, nil
	case err == nil:
		b.Close()
		err = &Error{Op: "open", Backend: typ, Kind: ErrInvalid, Err: errors.New("it takes no settings")}
	}
	return nil, err
}

// urlPlaces yields the settings that have a place in the URL, and where.
func urlPlaces(config reflect.Type) iter.Seq2[string, string] {
	return func(yield func(name, place string) bool) {
		for _, f := range Fields(config) {
			if place := f.Tag.Get("url"); place != "" && !yield(f.Setting, place) {
				return
			}
		}
	}
}

// inPlace returns what a URL has in each place.
func inPlace(u *url.URL) (map[string]string, error) {
	opaque, err := url.PathUnescape(u.Opaque)
	if err != nil {
		return nil, errors.New("the path of the URL is malformed; a % is written %25")
	}
	places := map[string]string{"host": u.Host, "path": strings.TrimPrefix(u.Path, "/"), "file": opaque + u.Path}
	if u.Host != "" {
		// RawPath is set where the path is not written as we would write it.
		places["url"] = (&url.URL{Scheme: u.Scheme, Host: u.Host}).String() + cmp.Or(u.RawPath, u.EscapedPath())
	}
	return places, nil
}

// with returns u with value in that place, and false if it would not be found there.
func (m *Mux) with(u url.URL, place, value string) (url.URL, bool) {
	switch place {
	case "host":
		u.Host = value
	case "path":
		u.Path = "/" + value
	case "file":
		if strings.HasPrefix(value, "/") {
			u.Path = value
		} else {
			u.Opaque = (&url.URL{Path: value}).EscapedPath()
		}
	case "url":
		whole, err := url.Parse(value)
		if err != nil || !slices.Contains(m.drivers[u.Scheme].Types(), whole.Scheme) {
			return u, false
		}
		u = *whole
	}
	read, err := url.Parse(u.String())
	if err != nil || value == "" {
		return u, false
	}
	places, err := inPlace(read)
	return u, err == nil && places[place] == value
}

// urlSettings reads a URL for a configuration struct.
func urlSettings(u *url.URL, config reflect.Type) (Settings, error) {
	if u.User != nil {
		return nil, errors.New("a backend URL takes no user or password; give credentials as settings or in the environment")
	}
	if u.Fragment != "" {
		return nil, errors.New("a backend URL takes no fragment (#…); escape the # as %23")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("the parameters of the URL are malformed; they are NAME=VALUE, escaped, joined by &")
	}
	s := Settings{}
	for name, values := range query {
		if err := s.set(config, name, values); err != nil {
			return nil, err
		}
	}
	places, err := inPlace(u)
	if err != nil {
		return nil, err
	}
	var used []string
	for name, place := range urlPlaces(config) {
		if places[place] == "" {
			continue
		}
		if s[name] != nil {
			return nil, &SettingError{name, fmt.Errorf("it is set twice, by the URL's %s and by a parameter", place)}
		}
		s[name], used = places[place], append(used, place)
	}
	if u.Host != "" && !slices.Contains(used, "host") && !slices.Contains(used, "url") {
		return nil, fmt.Errorf("this type of backend takes no host in its URL (%q)", u.Host)
	}
	if (u.Path != "" && u.Path != "/" || u.Opaque != "") && !slices.ContainsFunc(used, func(place string) bool { return place != "host" }) {
		return nil, errors.New("this type of backend takes no path in its URL")
	}
	return s, nil
}

// set puts a parameter in its place in the settings for a struct. A dot in its name
// leads into a nested setting; in a map, the rest is the key.
func (s Settings) set(config reflect.Type, name string, values []string) error {
	if outer, inner, nested := strings.Cut(name, "."); nested && config != nil {
		within, ok := s[outer].(Settings)
		if !ok && s[outer] != nil {
			return &SettingError{outer, errors.New("it is set both as a value and as an object")}
		}
		if !ok {
			within = Settings{}
			s[outer] = within
		}
		return within.set(structOf(config, outer), inner, values)
	}
	if s[name] != nil {
		return &SettingError{name, errors.New("it is set both as a value and as an object")}
	}
	if len(values) == 1 {
		s[name] = values[0]
	} else {
		s[name] = values
	}
	return nil
}

// addTo adds the settings for a struct, or for a map if config is nil, as parameters.
func (s Settings) addTo(query url.Values, config reflect.Type, prefix string) error {
	for name, value := range s {
		if config != nil && strings.Contains(name, ".") {
			return &SettingError{prefix + name, errors.New("there is no such setting: no name has a dot in it")}
		}
		if value == nil {
			continue
		}
		if _, nested := asMap(value); nested && config == nil {
			return &SettingError{prefix + name, errors.New("it takes one value, not an object")}
		}
		before := len(query)
		if err := addValue(query, structOf(config, name), prefix+name, value); err != nil {
			return err
		}
		if len(query) == before {
			return &SettingError{prefix + name, errors.New("it is empty, which no URL can say; leave it out")}
		}
	}
	return nil
}

func addValue(query url.Values, config reflect.Type, name string, value any) error {
	var items []any
	switch v := value.(type) {
	case Settings, map[string]any:
		nested, _ := asMap(v)
		return nested.addTo(query, config, name+".")
	case []string:
		for _, item := range v {
			items = append(items, item)
		}
	case []any:
		items = v
	default:
		items = []any{v}
	}
	for _, item := range items {
		text, ok := asString(item)
		if !ok {
			return &SettingError{name, fmt.Errorf("it holds a %T, which no URL can say", item)}
		}
		query.Add(name, text)
	}
	return nil
}

// structOf returns the struct that a setting of a struct is decoded into; nil if it
// is something else.
func structOf(config reflect.Type, name string) reflect.Type {
	if config == nil {
		return nil
	}
	for _, f := range Fields(config) {
		t := f.Type
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if f.Setting == name && t.Kind() == reflect.Struct {
			return t
		}
	}
	return nil
}
