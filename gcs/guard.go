package gcs

import (
	"errors"
	"net/http"
	"strings"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/httptransport"
	"github.com/statelatch/statelatch/lock"
)

// Replies that are not Cloud Storage's.
var (
	errForeign  = errors.New("whoever answers at this endpoint is not Cloud Storage")
	errRedirect = errors.New("the endpoint redirects, and redirects are not followed; correct the setting storage_custom_endpoint")
)

// userAgent is what requests are made as.
var userAgent = strings.ReplaceAll(lock.Version, " ", "/")

// guarded returns an HTTP client that makes requests with the credentials; nil for none.
func (c Config) guarded(creds *auth.Credentials) (*http.Client, error) {
	client, err := httptransport.NewClient(&httptransport.Options{
		Credentials:           creds,
		DisableAuthentication: creds == nil,
		Headers:               http.Header{"User-Agent": {userAgent}},
		UniverseDomain:        c.UniverseDomain,
	})
	if err != nil {
		return nil, err
	}
	client.Transport = guard{client.Transport}
	return client, nil
}

// A guard keeps from the vendor's client what that would take for Cloud Storage's reply:
// a redirect, which it would follow with the token and the customer's key, and a page
// where only the status of a reply is looked at.
type guard struct{ http.RoundTripper }

func (g guard) RoundTrip(request *http.Request) (*http.Response, error) {
	reply, err := g.RoundTripper.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	page := strings.HasPrefix(reply.Header.Get("Content-Type"), "text/html")
	switch status := reply.StatusCode; {
	case status/100 == 3:
		err = errRedirect
	case page && request.Method == http.MethodGet && status == http.StatusNotFound,
		page && request.Method == http.MethodDelete && status/100 == 2:
		err = errForeign
	default:
		return reply, nil
	}
	reply.Body.Close()
	return nil, err
}
