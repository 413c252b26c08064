package gcs

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"cloud.google.com/go/storage"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/impersonate"
	"google.golang.org/api/option"
)

// check applies the rules of Terraform and OpenTofu, and reads the customer's key.
func (b *Backend) check() error {
	var problems []error
	add := func(name, text string) {
		problems = append(problems, &backend.SettingError{Name: name, Err: errors.New(text)})
	}
	c := &b.config
	if strings.TrimSpace(c.Bucket) == "" {
		add("bucket", "it is required")
	}
	c.Prefix = strings.TrimLeft(c.Prefix, "/")
	if c.EncryptionKey != "" && c.KMSEncryptionKey != "" {
		add("encryption_key", `it excludes "kms_encryption_key"; set one of them`)
	}
	if c.EncryptionKey != "" {
		key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(contents(string(c.EncryptionKey))))
		if b.csek = key; err != nil || len(key) != 32 {
			add("encryption_key", "it is a key of 32 bytes in base64, or the path of a file that holds one")
		}
	}
	if c.MaxSize < 0 {
		add("max_size", "it is a number of bytes, above zero")
	}
	return errors.Join(problems...)
}

// connect makes a client. The vendor's library finds what is not set.
func (c Config) connect(ctx context.Context) (*storage.Client, error) {
	opts := []option.ClientOption{option.WithUserAgent(strings.ReplaceAll(lock.Version, " ", "/"))}
	if c.UniverseDomain != "" {
		opts = append(opts, option.WithUniverseDomain(c.UniverseDomain))
	}
	credentials, err := c.credentials(ctx, opts)
	if err != nil {
		return nil, err
	}
	opts = append(opts, credentials...)
	if c.StorageCustomEndpoint != "" {
		endpoint, err := c.endpoint()
		if err != nil {
			return nil, err
		}
		opts = append(opts, option.WithEndpoint(endpoint))
	}
	client, err := storage.NewClient(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("no credentials: set credentials or access_token, or log in with gcloud auth application-default login: %w", err)
	}
	return client, nil
}

// credentials returns what authenticates requests to the storage; opts go for those
// to get there as well.
func (c Config) credentials(ctx context.Context, opts []option.ClientOption) ([]option.ClientOption, error) {
	own, err := c.own()
	if err != nil {
		return nil, err
	}
	if c.ImpersonateServiceAccount == "" {
		return append(own, option.WithScopes(storage.ScopeReadWrite)), nil
	}
	source, err := impersonate.CredentialsTokenSource(ctx, impersonate.CredentialsConfig{
		TargetPrincipal: c.ImpersonateServiceAccount,
		Delegates:       c.ImpersonateServiceAccountDelegates,
		Scopes:          []string{storage.ScopeReadWrite},
	}, append(own, opts...)...)
	if err != nil {
		return nil, &backend.SettingError{Name: "impersonate_service_account", Err: err}
	}
	return []option.ClientOption{c.authorized(tokens{source})}, nil
}

// own returns the credentials that are set.
func (c Config) own() ([]option.ClientOption, error) {
	switch {
	case c.AccessToken != "":
		return []option.ClientOption{c.authorized(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: string(c.AccessToken)}))}, nil
	case c.Credentials == "":
		return nil, nil
	}
	text := []byte(contents(string(c.Credentials)))
	var kind struct{ Type option.CredentialsType }
	if err := json.Unmarshal(text, &kind); err != nil { // whose text may quote the credentials
		return nil, &backend.SettingError{Name: "credentials", Err: errors.New("it is neither the path of a readable file nor JSON")}
	}
	return []option.ClientOption{option.WithAuthCredentialsJSON(kind.Type, text)}, nil
}

// authorized makes requests with those tokens, which are taken to be of the universe
// that is set: the client refuses a source that does not say so.
func (c Config) authorized(source oauth2.TokenSource) option.ClientOption {
	return option.WithCredentials(&google.Credentials{
		TokenSource:            source,
		UniverseDomainProvider: func() (string, error) { return cmp.Or(c.UniverseDomain, "googleapis.com"), nil },
	})
}

// endpoint returns the custom endpoint. Terraform documents one that ends in
// /storage/v1/b, and the client drops all that follows the last slash; here it may
// end in a slash too, or have no path at all.
func (c Config) endpoint() (string, error) {
	u, err := url.Parse(c.StorageCustomEndpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", &backend.SettingError{Name: "storage_custom_endpoint", Err: errors.New(`it is a URL such as "https://host/storage/v1/b"`)}
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/storage/v1/"
	}
	u.Path = strings.TrimSuffix(u.Path, "b/")
	return u.String(), nil
}

// tokens marks the error of a source of tokens.
type tokens struct{ oauth2.TokenSource }

func (t tokens) Token() (*oauth2.Token, error) {
	token, err := t.TokenSource.Token()
	if err != nil {
		return nil, &credentialsError{err}
	}
	return token, nil
}

// contents returns the contents of the file that s names, or s itself.
func contents(s string) string {
	path := s
	if rest, ok := strings.CutPrefix(s, "~"); ok && (rest == "" || rest[0] == '/' || rest[0] == filepath.Separator) {
		if home, err := os.UserHomeDir(); err == nil {
			path = filepath.Join(home, rest)
		}
	}
	if data, err := os.ReadFile(path); err == nil {
		return string(data)
	}
	return s
}
