package azblob

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/statelatch/statelatch/lock"
)

// A place is a cloud: where one logs in, manages and stores.
type place struct {
	login, management, audience, suffix string
	private                             bool // not one of Microsoft's
}

// places are the clouds by the names of the setting environment.
var places = map[string]place{
	"public":       {"https://login.microsoftonline.com/", "https://management.azure.com", "https://management.core.windows.net/", "core.windows.net", false},
	"usgovernment": {"https://login.microsoftonline.us/", "https://management.usgovcloudapi.net", "https://management.core.usgovcloudapi.net/", "core.usgovcloudapi.net", false},
	"china":        {"https://login.chinacloudapi.cn/", "https://management.chinacloudapi.cn", "https://management.core.chinacloudapi.cn/", "core.chinacloudapi.cn", false},
	"canary":       {"https://login.microsoftonline.com/", "https://eastus2euap.management.azure.com", "https://management.core.windows.net/", "core.windows.net", false},
}

// environments are other names for the same.
var environments = map[string]string{
	"": "public", "global": "public", "usgovernmentl4": "usgovernment", "dod": "usgovernment", "usgovernmentl5": "usgovernment",
}

func (c Config) cloud() (place, bool) {
	name := strings.ToLower(c.Environment)
	p, ok := places[cmp.Or(environments[name], name)]
	return p, ok
}

// A connection is what New makes of the settings.
type connection struct {
	config    *Config
	place     place
	transport *http.Transport
}

func newTransport() *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:errcheck // that is what it is
	transport.DisableCompression = true
	transport.MaxIdleConnsPerHost = 16
	return transport
}

// connect makes the client of the container. It makes requests only to look up what
// a setting says is to be looked up.
func (c *Config) connect(ctx context.Context, transport *http.Transport) (*container.Client, error) {
	n := &connection{config: c, transport: transport}
	n.place, _ = c.cloud()
	if c.MetadataHost != "" {
		var err error
		if n.place, err = n.discover(ctx); err != nil {
			return nil, err
		}
	}
	key := string(c.AccessKey)
	var credential azcore.TokenCredential
	lookupKey := key == "" && c.SASToken == "" && !c.UseAzureADAuth
	if c.logsIn() {
		var err error
		if credential, err = c.credential(n.options(), n.place.private); err != nil {
			return nil, err
		}
	}
	if c.SubscriptionID == "" && (lookupKey || c.LookupBlobEndpoint) {
		var err error
		if c.SubscriptionID, err = cliSubscription(ctx); err != nil {
			return nil, err
		}
	}
	endpoint := cmp.Or(c.BlobEndpoint, "https://"+c.StorageAccountName+".blob."+n.place.suffix)
	if c.LookupBlobEndpoint {
		var err error
		if endpoint, err = n.lookupEndpoint(ctx, credential); err != nil {
			return nil, err
		}
	}
	if lookupKey {
		var err error
		if key, err = n.lookupKey(ctx, credential); err != nil {
			return nil, err
		}
	}
	at := strings.TrimSuffix(endpoint, "/") + "/" + c.ContainerName
	options := &container.ClientOptions{ClientOptions: n.options()}
	switch {
	case key != "":
		shared, err := blob.NewSharedKeyCredential(c.StorageAccountName, key)
		if err != nil {
			return nil, errors.New("the access_key is not in base64")
		}
		return container.NewClientWithSharedKeyCredential(at, shared, options)
	case c.SASToken != "":
		return container.NewClientWithNoCredential(at+"?"+string(c.SASToken), options)
	}
	return container.NewClient(at, credential, options)
}

// options are those of all clients.
func (n *connection) options() azcore.ClientOptions {
	return azcore.ClientOptions{
		Cloud: cloud.Configuration{
			ActiveDirectoryAuthorityHost: n.place.login,
			Services:                     map[cloud.ServiceName]cloud.ServiceConfiguration{cloud.ResourceManager: {Audience: n.place.audience, Endpoint: n.place.management}},
		},
		Retry:     policy.RetryOptions{MaxRetries: 4, RetryDelay: 100 * time.Millisecond, MaxRetryDelay: 5 * time.Second, TryTimeout: n.config.timeout()},
		Telemetry: policy.TelemetryOptions{ApplicationID: strings.ReplaceAll(lock.Version, " ", "/")},
		Transport: n.client(),
	}
}

// client follows no redirect, which would take the SAS, or the key of the customer, to
// wherever it leads: none of these services redirects.
func (n *connection) client() *http.Client {
	return &http.Client{
		Transport:     n.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// discover asks metadata_host for its cloud.
func (n *connection) discover(ctx context.Context) (place, error) {
	at := "https://" + n.config.MetadataHost + "/metadata/endpoints?api-version=2022-09-01"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return place{}, errors.New("metadata_host is no host name")
	}
	var reply json.RawMessage
	if err := fetch(n.client(), request, &reply); err != nil {
		return place{}, fmt.Errorf("asking metadata_host %s for its endpoints: %w", n.config.MetadataHost, bare(err))
	}
	var found endpoints
	if json.Unmarshal(reply, &found) != nil {
		var several []endpoints // as older versions reply
		if json.Unmarshal(reply, &several) == nil && len(several) > 0 {
			found = several[0]
		}
	}
	if found.Suffixes.Storage == "" || found.Authentication.LoginEndpoint == "" {
		return place{}, fmt.Errorf("metadata_host %s names no login endpoint and no suffix for storage", n.config.MetadataHost)
	}
	p := place{found.Authentication.LoginEndpoint, strings.TrimSuffix(found.ResourceManager, "/"), found.ResourceManager, found.Suffixes.Storage, true}
	if len(found.Authentication.Audiences) > 0 {
		p.audience = found.Authentication.Audiences[0]
	}
	return p, nil
}

// endpoints are a cloud's, as its management API describes them.
type endpoints struct {
	ResourceManager string
	Authentication  struct {
		LoginEndpoint string
		Audiences     []string
	}
	Suffixes struct{ Storage string }
}

// lookupKey returns the first of the account's keys that may do everything.
func (n *connection) lookupKey(ctx context.Context, credential azcore.TokenCredential) (string, error) {
	var reply struct {
		Keys []struct{ Value, Permissions string }
	}
	if err := n.manage(ctx, credential, http.MethodPost, "/listKeys", &reply); err != nil {
		return "", fmt.Errorf("looking up the key of the account: %w", err)
	}
	for _, key := range reply.Keys {
		if strings.EqualFold(key.Permissions, "full") {
			return key.Value, nil
		}
	}
	return "", errors.New("the account has no key with full permission; set use_azuread_auth")
}

// lookupEndpoint returns the URL of the account's blob service.
func (n *connection) lookupEndpoint(ctx context.Context, credential azcore.TokenCredential) (string, error) {
	var reply struct {
		Properties struct{ PrimaryEndpoints struct{ Blob string } }
	}
	if err := n.manage(ctx, credential, http.MethodGet, "", &reply); err != nil {
		return "", fmt.Errorf("looking up the endpoint of the account: %w", err)
	}
	if reply.Properties.PrimaryEndpoints.Blob == "" {
		return "", errors.New("the account has no blob endpoint")
	}
	return reply.Properties.PrimaryEndpoints.Blob, nil
}

// manage makes a request to the management API about the account.
func (n *connection) manage(ctx context.Context, credential azcore.TokenCredential, method, action string, into any) error {
	c := n.config
	bearer := runtime.NewBearerTokenPolicy(credential, []string{strings.TrimSuffix(n.place.audience, "/") + "/.default"}, nil)
	options := n.options()
	client, err := azcore.NewClient("statelatch", "v0.1.0", runtime.PipelineOptions{PerRetry: []policy.Policy{bearer}}, &options)
	if err != nil {
		return err
	}
	at := n.place.management + "/subscriptions/" + url.PathEscape(c.SubscriptionID) + "/resourceGroups/" + url.PathEscape(c.ResourceGroupName) +
		"/providers/Microsoft.Storage/storageAccounts/" + c.StorageAccountName + action + "?api-version=2023-01-01"
	request, err := runtime.NewRequest(ctx, method, at)
	if err != nil {
		return err
	}
	reply, err := client.Pipeline().Do(request)
	if err != nil {
		return bare(err)
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return bare(runtime.NewResponseError(reply))
	}
	return runtime.UnmarshalAsJSON(reply, into)
}
