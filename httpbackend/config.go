package httpbackend

import (
	"context"
	"net/http"
	"time"

	"github.com/statelatch/statelatch/backend"
)

// Driver opens Backends of type "http" (or "https").
var Driver = backend.NewDriver(func(ctx context.Context, c Config) (backend.Backend, error) { return New(ctx, c) }, "http", "https")

// Config says where the state is. The names of its settings, their variables and
// their rules are those of Terraform's and OpenTofu's http backend.
type Config struct {
	// Address is the URL of the state. Where its last part is {workspace}, which is
	// ours, each workspace has a URL of its own; without, there is the default one only.
	Address      string `setting:"address,required" env:"TF_HTTP_ADDRESS" url:"url"`
	UpdateMethod string `setting:"update_method" env:"TF_HTTP_UPDATE_METHOD" default:"POST"`

	// LockAddress and UnlockAddress may hold {workspace} too. Without LockAddress
	// nothing is locked; with it alone, no lock is released.
	LockAddress   string `setting:"lock_address" env:"TF_HTTP_LOCK_ADDRESS"`
	LockMethod    string `setting:"lock_method" env:"TF_HTTP_LOCK_METHOD" default:"LOCK"`
	UnlockAddress string `setting:"unlock_address" env:"TF_HTTP_UNLOCK_ADDRESS"`
	UnlockMethod  string `setting:"unlock_method" env:"TF_HTTP_UNLOCK_METHOD" default:"UNLOCK"`

	// Username and Password are for basic authentication. Headers go with every
	// request: for a token, Authorization.
	Username string                    `setting:"username" env:"TF_HTTP_USERNAME"`
	Password backend.Secret            `setting:"password" env:"TF_HTTP_PASSWORD"`
	Headers  map[string]backend.Secret `setting:"headers"`

	// The certificates are PEM, not paths. The first one is of the CA that the server's
	// is checked against, in place of the system's.
	ClientCACertificatePEM string         `setting:"client_ca_certificate_pem" env:"TF_HTTP_CLIENT_CA_CERTIFICATE_PEM"`
	ClientCertificatePEM   string         `setting:"client_certificate_pem" env:"TF_HTTP_CLIENT_CERTIFICATE_PEM"`
	ClientPrivateKeyPEM    backend.Secret `setting:"client_private_key_pem" env:"TF_HTTP_CLIENT_PRIVATE_KEY_PEM"`
	SkipCertVerification   bool           `setting:"skip_cert_verification"` // never in production

	// RetryMax is how often a request is made again, 2 times if nil; between RetryWaitMin
	// and RetryWaitMax, in seconds, 1 and 30 if nil, are waited, doubling.
	RetryMax     *int     `setting:"retry_max" env:"TF_HTTP_RETRY_MAX"`
	RetryWaitMin *float64 `setting:"retry_wait_min" env:"TF_HTTP_RETRY_WAIT_MIN"`
	RetryWaitMax *float64 `setting:"retry_wait_max" env:"TF_HTTP_RETRY_WAIT_MAX"`

	// MaxSize is the largest state in bytes; 0 means 1 GiB.
	MaxSize int64 `setting:"max_size"`

	// Client is a ready client, instead of one made from the certificates above. The
	// Backend does not close it.
	Client *http.Client
}

// New opens a Backend. It makes no request.
func New(_ context.Context, config Config) (*Backend, error) {
	config = config.withDefaults()
	b := &Backend{config: &config, took: map[string]taken{}}
	if err := b.check(); err != nil {
		return nil, &backend.Error{Op: "open", Backend: "http", Kind: backend.ErrInvalid, Err: err}
	}
	return b, nil
}

func (c Config) withDefaults() Config {
	for _, s := range []struct {
		method   *string
		default_ string
	}{{&c.UpdateMethod, http.MethodPost}, {&c.LockMethod, "LOCK"}, {&c.UnlockMethod, "UNLOCK"}} {
		if *s.method == "" {
			*s.method = s.default_
		}
	}
	c.RetryMax = orDefault(c.RetryMax, 2)
	c.RetryWaitMin = orDefault(c.RetryWaitMin, 1)
	c.RetryWaitMax = orDefault(c.RetryWaitMax, 30)
	return c
}

func orDefault[T any](value *T, default_ T) *T {
	if value != nil {
		return value
	}
	return &default_
}

// wait returns how long to wait after the n-th attempt, from 1.
func (c Config) wait(n int) time.Duration {
	seconds := min(*c.RetryWaitMin*float64(int64(1)<<min(n-1, 30)), *c.RetryWaitMax)
	return time.Duration(seconds * float64(time.Second))
}
