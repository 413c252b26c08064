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

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/auth/credentials/impersonate"
	"cloud.google.com/go/storage"
	"github.com/statelatch/statelatch/backend"
	"google.golang.org/api/option"
)

// check applies the rules of Terraform and OpenTofu, and reads the customer's key.
func (b *Backend) check() error {
	var problems []error
	add := func(name, text string) {
		problems = append(problems, &backend.SettingError{Name: name, Err: errors.New(text)})
	}
	c := b.config
	if strings.TrimSpace(c.Bucket) == "" {
		add("bucket", "it is required")
	}
	c.Prefix = strings.TrimLeft(c.Prefix, "/")
	if c.EncryptionKey != "" && c.KMSEncryptionKey != "" {
		add("encryption_key", `it excludes "kms_encryption_key"; set one of them`)
	}
	if c.EncryptionKey != "" {
		key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(contents(string(c.EncryptionKey))))
		if err != nil || len(key) != len(b.csek) {
			add("encryption_key", "it is a key of 32 bytes in base64, or the path of a file that holds one")
		} else {
			b.csek = (*[32]byte)(key)
		}
	}
	if c.MaxSize < 0 {
		add("max_size", "it is a number of bytes, 0 for 1 GiB")
	}
	return errors.Join(problems...)
}

// connect makes a client. The vendor's library finds what is not set.
func (c Config) connect(ctx context.Context) (*storage.Client, error) {
	var opts []option.ClientOption
	if c.UniverseDomain != "" {
		opts = append(opts, option.WithUniverseDomain(c.UniverseDomain))
	}
	if c.StorageCustomEndpoint != "" {
		endpoint, err := c.endpoint()
		if err != nil {
			return nil, err
		}
		opts = append(opts, option.WithEndpoint(endpoint))
	}
	if emulated() {
		client, err := c.guarded(nil)
		if err != nil {
			return nil, err
		}
		return storage.NewClient(ctx, append(opts, option.WithHTTPClient(client))...)
	}
	creds, err := c.credentials()
	if err != nil {
		return nil, err
	}
	client, err := c.guarded(creds)
	if err != nil {
		return nil, err
	}
	// By now the client has put a cache around it, in which one call waits for the
	// token that another has asked for.
	creds.TokenProvider = tokens{marked{creds.TokenProvider}}
	return storage.NewClient(ctx, append(opts, option.WithAuthCredentials(creds), option.WithHTTPClient(client))...)
}

// emulated reports whether the vendor's client goes to an emulator, for which it takes
// no credentials.
func emulated() bool { return os.Getenv("STORAGE_EMULATOR_HOST") != "" }

// credentials returns what authenticates requests to the storage.
func (c Config) credentials() (*auth.Credentials, error) {
	if c.ImpersonateServiceAccount == "" {
		return c.own(storage.ScopeReadWrite)
	}
	own, err := c.own("https://www.googleapis.com/auth/cloud-platform")
	if err != nil {
		return nil, err
	}
	own.TokenProvider = marked{own.TokenProvider}
	creds, err := impersonate.NewCredentials(&impersonate.CredentialsOptions{
		TargetPrincipal: c.ImpersonateServiceAccount,
		Delegates:       c.ImpersonateServiceAccountDelegates,
		Scopes:          []string{storage.ScopeReadWrite},
		Credentials:     own,
		UniverseDomain:  c.UniverseDomain,
	})
	if err != nil {
		return nil, &backend.SettingError{Name: "impersonate_service_account", Err: err}
	}
	return creds, nil
}

// own returns the credentials that are set, or those that are found.
func (c Config) own(scope string) (*auth.Credentials, error) {
	opts := &credentials.DetectOptions{Scopes: []string{scope}}
	switch {
	case c.AccessToken != "":
		return c.static(), nil
	case c.Credentials != "":
		return c.parse(opts)
	}
	creds, err := credentials.DetectDefault(opts)
	const variable = "GOOGLE_APPLICATION_CREDENTIALS"
	switch {
	case err != nil && os.Getenv(variable) != "":
		return nil, fmt.Errorf("%s does not name a file of credentials: %w", variable, err)
	case err != nil:
		return nil, fmt.Errorf("no credentials: set credentials or access_token, or log in with gcloud auth application-default login: %w", err)
	}
	return creds, nil
}

// static returns the access token as credentials. It is taken to be of the universe
// that is set: the client refuses one of another.
func (c Config) static() *auth.Credentials {
	return auth.NewCredentials(&auth.CredentialsOptions{
		TokenProvider: static(c.AccessToken),
		UniverseDomainProvider: auth.CredentialsPropertyFunc(func(context.Context) (string, error) {
			return cmp.Or(c.UniverseDomain, "googleapis.com"), nil
		}),
	})
}

type static string

func (s static) Token(context.Context) (*auth.Token, error) {
	return &auth.Token{Value: string(s)}, nil
}

// parse reads the setting credentials. No error of it has the vendor's text, which may
// quote them.
func (c Config) parse(opts *credentials.DetectOptions) (*auth.Credentials, error) {
	text := []byte(contents(string(c.Credentials)))
	var kind struct{ Type credentials.CredType }
	if err := json.Unmarshal(text, &kind); err != nil {
		return nil, &backend.SettingError{Name: "credentials", Err: errors.New("it is neither the path of a readable file nor JSON")}
	}
	creds, err := credentials.NewCredentialsFromJSON(kind.Type, text, opts)
	if err != nil {
		return nil, &backend.SettingError{Name: "credentials", Err: errors.New("its JSON is not that of a service account's key, or of other credentials of Google's, or it is damaged")}
	}
	return creds, nil
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

// marked marks the errors of what gives tokens, unless they are marked: those of
// credentials that impersonate may be.
type marked struct{ auth.TokenProvider }

func (m marked) Token(ctx context.Context) (*auth.Token, error) {
	token, err := m.TokenProvider.Token(ctx)
	if err != nil && !errors.As(err, new(*credentialsError)) {
		err = &credentialsError{err}
	}
	return token, err
}

// tokens waits for a token no longer than ctx, and tells the attempt that it is for
// that there was one.
type tokens struct{ marked }

func (t tokens) Token(ctx context.Context) (token *auth.Token, err error) {
	done := make(chan struct{})
	var got *auth.Token
	var failed error
	go func() {
		defer close(done)
		got, failed = t.marked.Token(ctx)
	}()
	select {
	case <-done:
		token, err = got, failed
	case <-ctx.Done():
		err = &credentialsError{ctx.Err()}
	}
	if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
		a.granted = err == nil
	}
	return token, err
}

// An attempt is one request that may change something. The vendor's client tells only
// that its context has ended, if it has: not that there was no token yet, and no request.
type attempt struct{ granted bool }

type attemptKey struct{}

func (b *Backend) newAttempt(ctx context.Context) (context.Context, *attempt) {
	a := &attempt{granted: !b.asks}
	return context.WithValue(ctx, attemptKey{}, a), a
}

// cause returns why the attempt failed; err is what the vendor says.
func (a *attempt) cause(ctx context.Context, err error) error {
	if !a.granted && ctx.Err() != nil {
		return &credentialsError{ctx.Err()}
	}
	return err
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
