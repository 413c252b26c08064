package s3

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sso"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
	"github.com/statelatch/statelatch/backend"
	"golang.org/x/net/http/httpproxy"
)

// connect makes the clients that are not given. It returns the transport of their
// connections.
func (c *Config) connect(ctx context.Context) (*http.Transport, error) {
	cfg, err := config.LoadDefaultConfig(ctx, c.loadOptions()...)
	if err != nil {
		return nil, fmt.Errorf("loading the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return nil, &backend.SettingError{Name: "region", Err: errors.New("it is required (or AWS_REGION or AWS_DEFAULT_REGION in the environment, or a region in the profile)")}
	}
	c.Region = cfg.Region
	transport := own(&cfg)
	c.assumeRoles(&cfg)
	if cache, ok := cfg.Credentials.(*aws.CredentialsCache); ok {
		cfg.Credentials = discreet{cache}
	}
	if err := c.checkAccount(ctx, cfg); err != nil {
		transport.CloseIdleConnections()
		return nil, err
	}
	c.Client = s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = c.UsePathStyle
		setEndpoint(&o.BaseEndpoint, c.Endpoints.S3)
	})
	if c.DynamoDBTable != "" && c.DynamoDB == nil {
		c.DynamoDB = dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) { setEndpoint(&o.BaseEndpoint, c.Endpoints.DynamoDB) })
	}
	return transport, nil
}

func setEndpoint(base **string, endpoint string) {
	if endpoint != "" {
		*base = &endpoint
	}
}

// kindOf is the kind of an error of New. Asking for the account is its only request;
// everything else is a mistake in a setting, a variable or a file.
func (c Config) kindOf(ctx context.Context, err error) error {
	if !errors.As(err, new(*smithy.OperationError)) {
		return backend.ErrInvalid
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	kind, _ := translate(ctx, err, "", c)
	if kind == backend.ErrUnknown { // it changes nothing
		kind = backend.ErrTransient
	}
	return kind
}

// loadOptions hands the settings to the SDK's own loader.
func (c *Config) loadOptions() (opts []func(*config.LoadOptions) error) {
	add := func(set bool, opt func(*config.LoadOptions) error) {
		if set {
			opts = append(opts, opt)
		}
	}
	add(true, config.WithHTTPClient(c.httpClient()))
	add(true, config.WithAPIOptions([]func(*middleware.Stack) error{awsmiddleware.AddUserAgentKey("statelatch")}))
	add(true, config.WithLogger(logging.Nop{})) // or the SDK writes to standard error
	add(true, config.WithRetryMaxAttempts(c.MaxRetries))
	add(c.RetryMode != "", config.WithRetryMode(aws.RetryMode(c.RetryMode)))
	add(c.Region != "", config.WithRegion(c.Region))
	add(c.CustomCABundle != "", c.withCABundle)

	add(c.Profile != "", config.WithSharedConfigProfile(c.Profile))
	add(len(c.SharedConfigFiles) > 0, config.WithSharedConfigFiles(expand(c.SharedConfigFiles...)))
	add(len(c.SharedCredentialsFiles) > 0, config.WithSharedCredentialsFiles(expand(c.SharedCredentialsFiles...)))
	add(c.AccessKey != "", config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(c.AccessKey, string(c.SecretKey), string(c.Token))))
	add(c.AssumeRoleWithWebIdentity != nil, config.WithCredentialsProvider(aws.AnonymousCredentials{})) // see assumeRoles

	add(c.MetadataEndpoint != "", config.WithEC2IMDSEndpoint(c.MetadataEndpoint))
	mode, _ := metadataMode(c.MetadataEndpointMode) // checked before
	add(mode != imds.EndpointModeStateUnset, config.WithEC2IMDSEndpointMode(mode))
	add(choice(c.SkipMetadataAPICheck, config.WithEC2IMDSClientEnableState, imds.ClientDisabled, imds.ClientEnabled))
	add(choice(c.UseFIPSEndpoint, config.WithUseFIPSEndpoint, aws.FIPSEndpointStateEnabled, aws.FIPSEndpointStateDisabled))
	add(choice(c.UseDualstackEndpoint, config.WithUseDualStackEndpoint, aws.DualStackEndpointStateEnabled, aws.DualStackEndpointStateDisabled))
	return append(opts, c.providerOptions()...)
}

// choice is an option that is set to on or off, or left alone.
func choice[T any](setting *bool, option func(T) config.LoadOptionsFunc, on, off T) (bool, func(*config.LoadOptions) error) {
	if isTrue(setting) {
		off = on
	}
	return setting != nil, option(off)
}

func metadataMode(text string) (mode imds.EndpointModeState, err error) {
	return mode, mode.SetFromString(text)
}

// providerOptions send to our endpoints what a profile, or the environment, has the
// loader ask of SSO and STS.
func (c *Config) providerOptions() []func(*config.LoadOptions) error {
	return []func(*config.LoadOptions) error{
		config.WithSSOProviderOptions(func(o *ssocreds.Options) {
			if client, ok := o.Client.(*sso.Client); ok {
				o.Client = sso.New(client.Options(), func(o *sso.Options) { setEndpoint(&o.BaseEndpoint, c.Endpoints.SSO) })
			}
		}),
		config.WithAssumeRoleCredentialOptions(func(o *stscreds.AssumeRoleOptions) {
			if client, ok := o.Client.(*sts.Client); ok {
				o.Client = sts.New(client.Options(), c.stsOptions)
			}
		}),
		config.WithWebIdentityRoleCredentialOptions(func(o *stscreds.WebIdentityRoleOptions) {
			if client, ok := o.Client.(*sts.Client); ok {
				o.Client = sts.New(client.Options(), c.stsOptions)
			}
		}),
	}
}

func (c *Config) withCABundle(o *config.LoadOptions) error {
	file := expand(c.CustomCABundle)[0]
	pem, err := os.ReadFile(file)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(pem) {
		err = fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	if err != nil {
		return &backend.SettingError{Name: "custom_ca_bundle", Err: err}
	}
	o.CustomCABundle = bytes.NewReader(pem)
	return nil
}

// expand replaces a leading ~/ by the home directory.
func expand(paths ...string) []string {
	home, err := os.UserHomeDir()
	expanded := slices.Clone(paths)
	for i, path := range paths {
		if rest, ok := strings.CutPrefix(path, "~/"); ok && err == nil {
			expanded[i] = filepath.Join(home, rest)
		}
	}
	return expanded
}

// httpClient is of the type that the loader wants, to add a CA bundle that the
// environment or the profile names.
func (c *Config) httpClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.Proxy, t.OnProxyConnectResponse = c.proxy(), checkProxy
		t.TLSClientConfig.InsecureSkipVerify = c.Insecure
	})
}

// own replaces the HTTP client by one whose connections can be closed.
func own(cfg *aws.Config) *http.Transport {
	client, _ := cfg.HTTPClient.(*awshttp.BuildableClient) // it is what httpClient returned, or a copy
	transport := client.GetTransport()
	cfg.HTTPClient = &http.Client{Transport: transport, CheckRedirect: redirect}
	return transport
}

// redirect follows the redirects that the SDK's own client does, but on the same host
// alone: another would get the session token and the customer's key, and has no use for
// a signature that is of this host. What is not followed is returned as it is.
func redirect(next *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch next.Response.StatusCode {
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		if len(via) < 10 && next.URL.Host == first.Host && next.URL.Scheme == first.Scheme {
			return nil
		}
	}
	return http.ErrUseLastResponse
}

// proxy chooses the proxy of a request: by the settings, then by the environment.
// As in Terraform, http_proxy also serves https requests where nothing else does.
func (c *Config) proxy() func(*http.Request) (*url.URL, error) {
	p := httpproxy.FromEnvironment()
	p.HTTPSProxy = cmp.Or(string(c.HTTPSProxy), p.HTTPSProxy, string(c.HTTPProxy))
	p.HTTPProxy = cmp.Or(string(c.HTTPProxy), p.HTTPProxy)
	p.NoProxy = cmp.Or(c.NoProxy, p.NoProxy)
	choose := p.ProxyFunc()
	return func(r *http.Request) (*url.URL, error) { return choose(r.URL) }
}

// stsOptions are the region and the endpoint of STS.
func (c *Config) stsOptions(o *sts.Options) {
	o.Region = cmp.Or(c.STSRegion, o.Region)
	setEndpoint(&o.BaseEndpoint, c.Endpoints.STS)
}

// assumeRoles puts the roles on top of the credentials that were found: the web
// identity's first, then the other with its credentials.
func (c *Config) assumeRoles(cfg *aws.Config) {
	if w := c.AssumeRoleWithWebIdentity; w != nil {
		var token stscreds.IdentityTokenRetriever = stscreds.IdentityTokenFile(expand(w.WebIdentityTokenFile)[0])
		if w.WebIdentityToken != "" {
			token = literalToken(w.WebIdentityToken)
		}
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewWebIdentityRoleProvider(sts.NewFromConfig(*cfg, c.stsOptions), w.RoleARN, token, func(o *stscreds.WebIdentityRoleOptions) {
			o.RoleSessionName, o.Duration, o.Policy, o.PolicyARNs = w.SessionName, w.Duration, optional(w.Policy), policies(w.PolicyARNs)
		}))
	}
	if r := c.AssumeRole; r != nil {
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(*cfg, c.stsOptions), r.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName, o.Duration, o.Policy, o.PolicyARNs = r.SessionName, r.Duration, optional(r.Policy), policies(r.PolicyARNs)
			o.ExternalID, o.SourceIdentity, o.TransitiveTagKeys = optional(r.ExternalID), optional(r.SourceIdentity), r.TransitiveTagKeys
			for key, value := range r.Tags {
				o.Tags = append(o.Tags, ststypes.Tag{Key: &key, Value: &value})
			}
		}))
	}
}

type literalToken backend.Secret

func (t literalToken) GetIdentityToken() ([]byte, error) { return []byte(t), nil }

func policies(arns []string) []ststypes.PolicyDescriptorType {
	var list []ststypes.PolicyDescriptorType
	for _, arn := range arns {
		list = append(list, ststypes.PolicyDescriptorType{Arn: &arn})
	}
	return list
}

// discreet are credentials whose errors do not repeat what the credential_process of
// a profile printed, as the SDK's do.
type discreet struct{ *aws.CredentialsCache }

func (d discreet) Retrieve(ctx context.Context) (aws.Credentials, error) {
	found, err := d.CredentialsCache.Retrieve(ctx)
	if errors.As(err, new(*processcreds.ProviderError)) {
		err = errors.New("the credential_process of the profile failed, or did not print credentials as it should; try it by hand")
	}
	return found, err
}

// checkAccount asks whose credentials these are, if an account list is set.
func (c *Config) checkAccount(ctx context.Context, cfg aws.Config) error {
	if len(c.AllowedAccountIDs) == 0 && len(c.ForbiddenAccountIDs) == 0 {
		return nil
	}
	caller, err := sts.NewFromConfig(cfg, c.stsOptions).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return fmt.Errorf("asking for the account of the credentials, which allowed_account_ids and forbidden_account_ids need: %w", err)
	}
	account := aws.ToString(caller.Account)
	switch {
	case len(c.AllowedAccountIDs) > 0 && !slices.Contains(c.AllowedAccountIDs, account):
		return &backend.SettingError{Name: "allowed_account_ids", Err: fmt.Errorf("the credentials are of account %s, which is not among them", account)}
	case slices.Contains(c.ForbiddenAccountIDs, account):
		return &backend.SettingError{Name: "forbidden_account_ids", Err: fmt.Errorf("the credentials are of account %s, which is among them", account)}
	}
	return nil
}
