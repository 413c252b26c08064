package server

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
)

// An Auth finds out who sends a request. Its error goes into the log, not to the
// client: it must not quote what was sent. It may be called from several goroutines.
type Auth func(r *http.Request) (user string, err error)

// Anonymous is the Auth that lets everybody in, as user "".
func Anonymous(*http.Request) (user string, err error) { return "", nil }

// Basic is basic authentication, by the passwords of the users. Passwords are compared
// in constant time; whether a user exists, the time may tell. An empty one lets nobody in.
func Basic(passwords map[string]string) Auth {
	digests := map[string][sha256.Size]byte{}
	for user, password := range passwords {
		if password != "" {
			digests[user] = sha256.Sum256([]byte(password))
		}
	}
	nobody := sha256.Sum256([]byte(rand.Text()))
	return func(r *http.Request) (string, error) {
		user, password, ok := r.BasicAuth()
		want, known := digests[user]
		if !known {
			want = nobody
		}
		got := sha256.Sum256([]byte(password))
		equal := subtle.ConstantTimeCompare(got[:], want[:]) == 1
		switch {
		case !ok:
			return "", errors.New("no basic authentication was sent")
		case !known || !equal:
			return "", errors.New("the user or the password is wrong")
		}
		return user, nil
	}
}

// Bearer is authentication by a token of each user, in a header
// "Authorization: Bearer TOKEN". All tokens are compared, in constant time. An empty
// token is nobody's.
func Bearer(tokens map[string]string) Auth {
	digests := map[string][sha256.Size]byte{}
	for user, token := range tokens {
		if token != "" {
			digests[user] = sha256.Sum256([]byte(token))
		}
	}
	return func(r *http.Request) (user string, err error) {
		scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
		if !ok || !strings.EqualFold(scheme, "Bearer") {
			return "", errors.New("no bearer token was sent")
		}
		got, found := sha256.Sum256([]byte(token)), false
		for name, want := range digests {
			if subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
				user, found = name, true
			}
		}
		if !found {
			return "", errors.New("the bearer token is wrong")
		}
		return user, nil
	}
}

// ClientCertificate is authentication by the certificate of a TLS client (mTLS): the
// user is the common name of its subject. It takes a listener whose [crypto/tls.Config]
// has ClientCAs and at least tls.VerifyClientCertIfGiven, which does the verifying.
func ClientCertificate(r *http.Request) (user string, err error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return "", errors.New("no client certificate was verified")
	}
	if user = r.TLS.VerifiedChains[0][0].Subject.CommonName; user == "" {
		return "", errors.New("the client certificate has no common name")
	}
	return user, nil
}

// AnyOf is authentication by the first of several that succeeds.
func AnyOf(auths ...Auth) Auth {
	return func(r *http.Request) (string, error) {
		err := errors.New("nobody may do anything")
		for i, auth := range auths {
			user, failed := auth(r)
			if failed == nil {
				return user, nil
			}
			if i == 0 {
				err = failed
			} else {
				err = errors.Join(err, failed)
			}
		}
		return "", err
	}
}
