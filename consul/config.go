package consul

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/statelatch/statelatch/backend"
)

// Driver opens Backends of type "consul".
var Driver = backend.NewDriver(func(ctx context.Context, c Config) (backend.Backend, error) { return New(ctx, c) }, "consul")

// Config says where the states are and how they are stored. The names of its
// settings and their rules are those of Terraform's and OpenTofu's consul backend.
// What is not set comes from the variables that Consul's own client reads
// (CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN_FILE, CONSUL_HTTP_TOKEN, CONSUL_NAMESPACE, …);
// an empty string counts as not set.
type Config struct {
	Path        string         `setting:"path,required" url:"path"`
	Address     string         `setting:"address" url:"host"` // host:port, or unix:///socket
	Scheme      string         `setting:"scheme"`             // "http" or "https"
	AccessToken backend.Secret `setting:"access_token"`
	Datacenter  string         `setting:"datacenter"` // the agent's if not set
	HTTPAuth    backend.Secret `setting:"http_auth"`  // user[:password]
	GZIP        bool           `setting:"gzip"`
	Lock        *bool          `setting:"lock" default:"true"` // nil means true
	CAFile      string         `setting:"ca_file,file"`
	CertFile    string         `setting:"cert_file,file"`
	KeyFile     string         `setting:"key_file,file"`

	// MaxSize is the largest state in bytes, decompressed; 1 GiB if not set.
	MaxSize int64 `setting:"max_size"`

	// Client is a ready client, instead of one made from the settings above. It follows
	// redirects, with its token, unless its own HTTP client says otherwise.
	Client *api.Client
}

// New opens a Backend. It makes no request.
func New(_ context.Context, config Config) (*Backend, error) {
	b := &Backend{config: &config, client: config.Client}
	err := config.check()
	if err == nil && b.client == nil {
		b.client, b.transport, err = config.connect()
	}
	if errors.Is(err, fs.ErrNotExist) { // a missing certificate is no missing state
		err = errors.New(err.Error())
	}
	if err != nil {
		return nil, &backend.Error{Op: "open", Backend: "consul " + config.Path, Kind: backend.ErrInvalid, Err: err}
	}
	return b, nil
}

func (c Config) check() error {
	var problems []error
	add := func(name, text string) {
		problems = append(problems, &backend.SettingError{Name: name, Err: errors.New(text)})
	}
	switch trimmed := strings.TrimRight(c.Path, "/"); {
	case c.Path == "":
		add("path", "it is required")
	case trimmed != strings.TrimPrefix(path.Clean("/"+trimmed), "/") || len(c.Path) > len(trimmed)+1:
		// The agent would answer for another key.
		add("path", `it neither begins with a slash nor has empty parts, "." or ".."`)
	}
	if c.Scheme != "" && c.Scheme != "http" && c.Scheme != "https" {
		add("scheme", "it is http or https")
	}
	if at := c.vendors().Address; c.Client == nil && strings.Contains(at, "@") && !strings.HasPrefix(at, "unix://") {
		add("address", "it holds no user and password: http_auth does") // and errors would show them
	}
	if tls := c.vendors().TLSConfig; c.Client == nil && (tls.CertFile == "") != (tls.KeyFile == "") { // either may be from a variable
		add("cert_file", "it and key_file go together")
	}
	if c.MaxSize < 0 {
		add("max_size", "it is a number of bytes, 0 for 1 GiB")
	}
	return errors.Join(problems...)
}

// vendors returns the configuration of the vendor's client: what is set, and else what
// the variables say.
func (c Config) vendors() *api.Config {
	config := api.DefaultConfig()
	for _, s := range []struct {
		value string
		into  *string
	}{
		{c.Address, &config.Address}, {c.Scheme, &config.Scheme}, {string(c.AccessToken), &config.Token}, {c.Datacenter, &config.Datacenter},
		{c.CAFile, &config.TLSConfig.CAFile}, {c.CertFile, &config.TLSConfig.CertFile}, {c.KeyFile, &config.TLSConfig.KeyFile},
	} {
		if s.value != "" {
			*s.into = s.value
		}
	}
	if c.HTTPAuth != "" {
		user, password, _ := strings.Cut(string(c.HTTPAuth), ":")
		config.HttpAuth = &api.HttpBasicAuth{Username: user, Password: password}
	}
	config.Transport.DialContext = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 17 * time.Second}).DialContext // as Terraform
	return config
}

// errRedirected: no agent redirects a request that the API has; and what follows a
// redirect takes the token along, or turns a change into a GET that succeeds.
var errRedirected = errors.New("redirected to")

// connect makes a client and the transport that Close releases.
func (c Config) connect() (*api.Client, http.RoundTripper, error) {
	config := c.vendors()
	client, err := api.NewClient(config)
	if err != nil {
		return nil, nil, err
	}
	config.HttpClient.CheckRedirect = func(next *http.Request, _ []*http.Request) error {
		return fmt.Errorf("%w %s://%s", errRedirected, next.URL.Scheme, next.URL.Host)
	}
	return client, config.HttpClient.Transport, nil
}
