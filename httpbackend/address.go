package httpbackend

import (
	"errors"
	"net/url"
	"strings"
)

// placeholder stands for the workspace in the path of an address.
const placeholder = "{workspace}"

// An address is a URL, or one for each workspace.
type address struct {
	before, after string // after is what follows the placeholder
	perWorkspace  bool
}

// parseAddress reads the address that a setting holds.
func parseAddress(text string) (*address, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil: // whose text quotes the URL
		return nil, errors.New("it is not a URL")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, errors.New("it must be an HTTP or HTTPS URL")
	case strings.Count(u.Path, placeholder) > 1 || strings.Contains(u.RawQuery, "workspace}"):
		return nil, errors.New("{workspace} may be in the path, once")
	}
	whole := u.String()
	escaped := url.PathEscape(placeholder)
	before, after, found := strings.Cut(whole, escaped)
	if strings.Contains(u.Path, placeholder) != found {
		return nil, errors.New("{workspace} is escaped in an unusual way")
	}
	return &address{before, after, found}, nil
}

// of returns the URL for a workspace.
func (a *address) of(workspace string) *url.URL {
	text := a.before
	if a.perWorkspace {
		text += workspace + a.after // a valid name needs no escape
	}
	u, err := url.Parse(text)
	if err != nil {
		return &url.URL{} // it was parsed before
	}
	return u
}

// list returns the URL that lists all workspaces: what is before their names.
func (a *address) list() (u *url.URL, ok bool) {
	path, _, _ := strings.Cut(a.after, "?")
	if !a.perWorkspace || path != "" || !strings.HasSuffix(a.before, "/") {
		return nil, false
	}
	return a.of(""), true
}

// where shows a URL, without what may be secret.
func where(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}
