package backend

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
)

// OpenURL opens the Backend that a URL names: the scheme is its type, the
// parameters are its settings, and host and path are the settings that the
// driver's configuration says they are.
//
//	s3://bucket/key?region=eu-central-1&assume_role.role_arn=…
//	local:terraform.tfstate
//
// A parameter that occurs several times is a list; a dot in its name leads into a
// nested setting. User-info, a fragment and unknown parameters are errors.
func (m *Mux) OpenURL(ctx context.Context, rawURL string) (Backend, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The parser's own error repeats the URL, which may hold a secret.
		return nil, &Error{Op: "open", Kind: ErrInvalid, Err: fmt.Errorf("malformed backend URL; it begins TYPE: and its parameters are escaped")}
	}
	return m.Open(ctx, u.Scheme, func(config any) error {
		settings, err := urlSettings(u, config)
		if err != nil {
			return err
		}
		return settings.Decode(config)
	})
}

// urlSettings reads a URL for the configuration struct that config points to.
func urlSettings(u *url.URL, config any) (Settings, error) {
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
		if err := s.set(name, values); err != nil {
			return nil, err
		}
	}
	opaque, err := url.PathUnescape(u.Opaque)
	if err != nil {
		return nil, errors.New("the path of the URL is malformed; a % is written %25")
	}
	places := map[string]string{"host": u.Host, "path": strings.TrimPrefix(u.Path, "/"), "file": opaque + u.Path}
	used := map[string]bool{}
	for _, f := range reflect.VisibleFields(reflect.TypeOf(config).Elem()) {
		place := f.Tag.Get("url")
		if place == "" || places[place] == "" {
			continue
		}
		name, _ := settingName(f)
		if s[name] != nil {
			return nil, &SettingError{name, fmt.Errorf("it is set twice, by the URL's %s and by a parameter", place)}
		}
		s[name], used[place] = places[place], true
	}
	if u.Host != "" && !used["host"] {
		return nil, fmt.Errorf("this type of backend takes no host in its URL (%q)", u.Host)
	}
	if (u.Path != "" && u.Path != "/" || u.Opaque != "") && !used["path"] && !used["file"] {
		return nil, errors.New("this type of backend takes no path in its URL")
	}
	return s, nil
}

// set puts a parameter in its place; dots in its name lead into nested settings.
func (s Settings) set(name string, values []string) error {
	outer, inner, nested := strings.Cut(name, ".")
	if nested {
		within, ok := s[outer].(Settings)
		if !ok && s[outer] != nil {
			return &SettingError{outer, errors.New("it is set both as a value and as an object")}
		}
		if !ok {
			within = Settings{}
			s[outer] = within
		}
		return within.set(inner, values)
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
