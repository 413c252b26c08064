package azblob

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"os"
	"time"
)

// Config returns what the Backend works with.
func (b *Backend) Config() Config { return *b.config }

// SetFresh changes how long Lock trusts what this Backend has seen of a blob.
func (b *Backend) SetFresh(d time.Duration) { b.fresh = d }

// Open is New with a proxy, and with those in a file to vouch for servers.
func Open(ctx context.Context, config Config, proxy, caFile string) (*Backend, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	transport := newTransport()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	if proxy != "" {
		u, err := url.Parse(proxy)
		if err != nil {
			return nil, err
		}
		transport.Proxy = func(r *http.Request) (*url.URL, error) {
			if r.URL.Scheme == "http" {
				return nil, nil
			}
			return u, nil
		}
	}
	return open(ctx, config, transport)
}

// URL returns where the container is.
func (b *Backend) URL() string { return b.container.URL() }
