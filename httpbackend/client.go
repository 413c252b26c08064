package httpbackend

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/statelatch/statelatch/backend"
)

// check applies the rules of Terraform and OpenTofu, and makes the client.
func (b *Backend) check() error {
	var problems []error
	add := func(name string, err error) {
		problems = append(problems, &backend.SettingError{Name: name, Err: err})
	}
	c := b.config
	for _, a := range []struct {
		name, text string
		to         **address
	}{{"address", c.Address, &b.state}, {"lock_address", c.LockAddress, &b.lock}, {"unlock_address", c.UnlockAddress, &b.unlock}} {
		if a.text == "" {
			continue
		}
		var err error
		if *a.to, err = parseAddress(a.text); err != nil {
			add(a.name, err)
		} else if b.state != nil && b.state.perWorkspace != (*a.to).perWorkspace {
			add(a.name, errors.New("{workspace} is to be in all addresses or in none"))
		}
	}
	if c.Address == "" {
		add("address", errors.New("it is required"))
	}
	for name, value := range map[string]float64{
		"retry_max": float64(*c.RetryMax), "retry_wait_min": *c.RetryWaitMin, "retry_wait_max": *c.RetryWaitMax, "max_size": float64(c.MaxSize),
	} {
		if !(value >= 0) || value > 1<<53 {
			add(name, errors.New("it is a number, not below zero"))
		}
	}
	for name, value := range c.Headers {
		if err := checkHeader(name, string(value), c.Username != ""); err != nil {
			add("headers", err)
		}
	}
	if err := b.connect(); err != nil {
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

var headerName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// checkHeader applies OpenTofu's rules. The error does not show the value.
func checkHeader(name, value string, basic bool) error {
	reserved := []string{"Content-Type", "Content-MD5"}
	notPlain := func(r rune) bool { return r < ' ' || r > '~' }
	switch {
	case !headerName.MatchString(name):
		return fmt.Errorf("name %q has characters other than letters, digits, - and _", name)
	case strings.TrimSpace(value) == "" || strings.ContainsFunc(value, notPlain):
		return fmt.Errorf("the value of %q is blank or not printable ASCII", name)
	case basic && strings.EqualFold(name, "Authorization"):
		return errors.New(`"Authorization" excludes the setting "username"`)
	case strings.EqualFold(name, reserved[0]) || strings.EqualFold(name, reserved[1]):
		return fmt.Errorf("%q is set by the backend", name)
	}
	return nil
}

// connect makes the HTTP client.
func (b *Backend) connect() error {
	if b.config.Client != nil {
		b.client = *b.config.Client
	} else {
		security, err := b.config.tls()
		if err != nil {
			return err
		}
		b.own = &http.Transport{Proxy: http.ProxyFromEnvironment}
		if usual, ok := http.DefaultTransport.(*http.Transport); ok {
			b.own = usual.Clone()
		}
		b.own.TLSClientConfig = security
		b.client.Transport = b.own
	}
	if b.client.CheckRedirect == nil {
		b.client.CheckRedirect = redirect
	}
	return nil
}

// tls reads the certificates.
func (c Config) tls() (*tls.Config, error) {
	security := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: c.SkipCertVerification, //nolint:gosec // G402: Terraform has this setting, for tests
	}
	if c.ClientCACertificatePEM != "" {
		security.RootCAs = x509.NewCertPool()
		if !security.RootCAs.AppendCertsFromPEM([]byte(c.ClientCACertificatePEM)) {
			return nil, &backend.SettingError{Name: "client_ca_certificate_pem", Err: errors.New("it holds no certificate in PEM (it is the text, not a path)")}
		}
	}
	switch hasCert, hasKey := c.ClientCertificatePEM != "", c.ClientPrivateKeyPEM != ""; {
	case hasCert && hasKey:
		pair, err := tls.X509KeyPair([]byte(c.ClientCertificatePEM), []byte(c.ClientPrivateKeyPEM))
		if err != nil {
			return nil, &backend.SettingError{Name: "client_certificate_pem", Err: errors.New("it and client_private_key_pem are not a certificate and its key, in PEM (the text, not a path)")}
		}
		security.Certificates = []tls.Certificate{pair}
	case hasCert:
		return nil, &backend.SettingError{Name: "client_private_key_pem", Err: errors.New("it is required with client_certificate_pem")}
	case hasKey:
		return nil, &backend.SettingError{Name: "client_certificate_pem", Err: errors.New("it is required with client_private_key_pem")}
	}
	return security, nil
}

// redirect follows redirects on the same host that keep the method. What is not
// followed is returned as it is.
func redirect(next *http.Request, via []*http.Request) error {
	first := via[0]
	if len(via) < 10 && next.Method == first.Method && next.URL.Host == first.URL.Host && next.URL.Scheme == first.URL.Scheme {
		return nil
	}
	return http.ErrUseLastResponse
}
