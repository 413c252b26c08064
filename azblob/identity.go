package azblob

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/statelatch/statelatch/backend"
)

// Identity says as whom to log in to Entra ID. The first of these that is set is used,
// also if something is missing from it: client certificate, client secret, federated
// token (OIDC), managed identity, AKS workload identity, Azure CLI.
type Identity struct {
	SubscriptionID    string `setting:"subscription_id" env:"ARM_SUBSCRIPTION_ID"` // by the Azure CLI, the one selected there
	ResourceGroupName string `setting:"resource_group_name"`                       // to look up the account's key or endpoint
	TenantID          string `setting:"tenant_id" env:"ARM_TENANT_ID"`
	ClientID          string `setting:"client_id" env:"ARM_CLIENT_ID"`
	ClientIDFile      string `setting:"client_id_file_path,file" env:"ARM_CLIENT_ID_FILE_PATH"`

	ClientSecret     backend.Secret `setting:"client_secret" env:"ARM_CLIENT_SECRET"`
	ClientSecretFile string         `setting:"client_secret_file_path,file" env:"ARM_CLIENT_SECRET_FILE_PATH"`

	// ClientCertificate is a PKCS#12 bundle in base64, ClientCertificatePath the file of
	// one.
	ClientCertificate         backend.Secret `setting:"client_certificate" env:"ARM_CLIENT_CERTIFICATE"`
	ClientCertificatePath     string         `setting:"client_certificate_path,file" env:"ARM_CLIENT_CERTIFICATE_PATH"`
	ClientCertificatePassword backend.Secret `setting:"client_certificate_password" env:"ARM_CLIENT_CERTIFICATE_PASSWORD"`

	// UseOIDC logs in with a token of another identity provider: OIDCToken, the contents
	// of OIDCTokenFile (or AZURE_FEDERATED_TOKEN_FILE), or what the CI system gives for the request URL and token (Azure
	// DevOps if a service connection is set, else GitHub).
	UseOIDC              bool           `setting:"use_oidc" env:"ARM_USE_OIDC"`
	OIDCToken            backend.Secret `setting:"oidc_token" env:"ARM_OIDC_TOKEN"`
	OIDCTokenFile        string         `setting:"oidc_token_file_path,file" env:"ARM_OIDC_TOKEN_FILE_PATH"`
	OIDCRequestURL       string         `setting:"oidc_request_url" env:"ARM_OIDC_REQUEST_URL,ACTIONS_ID_TOKEN_REQUEST_URL,SYSTEM_OIDCREQUESTURI"`
	OIDCRequestToken     backend.Secret `setting:"oidc_request_token" env:"ARM_OIDC_REQUEST_TOKEN,ACTIONS_ID_TOKEN_REQUEST_TOKEN,SYSTEM_ACCESSTOKEN"`
	ADOServiceConnection string         `setting:"ado_pipeline_service_connection_id" env:"ARM_ADO_PIPELINE_SERVICE_CONNECTION_ID,ARM_OIDC_AZURE_SERVICE_CONNECTION_ID"`
	// ADOServiceConnection2 is OpenTofu's name for the same.
	ADOServiceConnection2 string `setting:"ado_service_connection_id" env:"AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"`

	UseMSI                 bool   `setting:"use_msi" env:"ARM_USE_MSI"`
	MSIEndpoint            string `setting:"msi_endpoint" env:"ARM_MSI_ENDPOINT"` // instead of the one of the machine
	UseAKSWorkloadIdentity bool   `setting:"use_aks_workload_identity" env:"ARM_USE_AKS_WORKLOAD_IDENTITY"`
	UseCLI                 bool   `setting:"use_cli" env:"ARM_USE_CLI" default:"true"`

	// LookupBlobEndpoint asks the management API for the account's blob endpoint.
	LookupBlobEndpoint bool `setting:"lookup_blob_endpoint" env:"ARM_USE_DNS_ZONE_ENDPOINT"`
}

// credential returns what logs in.
func (i Identity) credential(options azcore.ClientOptions, private bool) (azcore.TokenCredential, error) {
	credential, err := i.choose(options, private)
	if err != nil {
		return nil, err
	}
	return &login{credential}, nil
}

// A way is a way to log in.
type way int

const (
	nobody way = iota
	byCertificate
	bySecret
	byOIDC
	byMSI
	byAKS
	byCLI
)

// way returns the first that is configured.
func (i Identity) way() way {
	switch {
	case i.ClientCertificate != "" || i.ClientCertificatePath != "":
		return byCertificate
	case i.ClientSecret != "" || i.ClientSecretFile != "":
		return bySecret
	case i.UseOIDC:
		return byOIDC
	case i.UseMSI:
		return byMSI
	case i.UseAKSWorkloadIdentity:
		return byAKS
	case i.UseCLI:
		return byCLI
	}
	return nobody
}

// choose makes what logs in. private says that Microsoft does not know the cloud.
func (i Identity) choose(options azcore.ClientOptions, private bool) (azcore.TokenCredential, error) {
	switch i.way() {
	case byCertificate:
		certificates, key, err := i.certificate()
		if err != nil {
			return nil, err
		}
		return azidentity.NewClientCertificateCredential(i.TenantID, i.ClientID, certificates, key,
			&azidentity.ClientCertificateCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: private})
	case bySecret:
		return azidentity.NewClientSecretCredential(i.TenantID, i.ClientID, string(i.ClientSecret),
			&azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: private})
	case byOIDC:
		return azidentity.NewClientAssertionCredential(i.TenantID, i.ClientID, i.assertion(options.Transport),
			&azidentity.ClientAssertionCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: private})
	case byMSI:
		return i.managed(options)
	case byAKS:
		return azidentity.NewWorkloadIdentityCredential(
			&azidentity.WorkloadIdentityCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: private, ClientID: i.ClientID, TenantID: i.TenantID})
	case byCLI:
		return azidentity.NewAzureCLICredential(&azidentity.AzureCLICredentialOptions{TenantID: i.TenantID, Subscription: i.SubscriptionID})
	}
	return nil, errors.New("there is no way to log in; set client_certificate, client_secret, use_oidc, use_msi, use_aks_workload_identity or use_cli")
}

// cliSubscription returns the subscription that is selected in the Azure CLI.
func cliSubscription(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "az", "account", "show", "--query", "id", "--output", "tsv")
	cmd.WaitDelay = time.Second // for what it has started
	out, err := cmd.Output()
	id := strings.TrimSpace(string(out))
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return "", &backend.SettingError{Name: "subscription_id", Err: fmt.Errorf("it is not set, and az account show does not tell it: %w", notFS(err))}
	case id == "":
		return "", &backend.SettingError{Name: "subscription_id", Err: errors.New("it is not set, and none is selected in the Azure CLI")}
	}
	return id, nil
}

// managed returns the identity of the machine.
func (i Identity) managed(options azcore.ClientOptions) (azcore.TokenCredential, error) {
	if i.MSIEndpoint != "" {
		endpoint, err := url.Parse(i.MSIEndpoint)
		if err != nil {
			return nil, errors.New("msi_endpoint is no URL")
		}
		options.Transport = redirected{options.Transport, endpoint}
	}
	managed := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: options}
	if i.ClientID != "" {
		managed.ID = azidentity.ClientID(i.ClientID)
	}
	return azidentity.NewManagedIdentityCredential(managed)
}

// redirected sends all requests to an endpoint of its own.
type redirected struct {
	policy.Transporter
	endpoint *url.URL
}

func (r redirected) Do(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.URL.Scheme, request.URL.Host, request.Host = r.endpoint.Scheme, r.endpoint.Host, ""
	if r.endpoint.Path != "" {
		request.URL.Path = r.endpoint.Path
	}
	return r.Transporter.Do(request)
}

// A login is a credential whose errors tell that no request was made with it.
type login struct{ azcore.TokenCredential }

func (l *login) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := l.TokenCredential.GetToken(ctx, options)
	if err != nil {
		return token, &loginError{err}
	}
	return token, nil
}

// A loginError is the error of a login.
type loginError struct{ err error }

func (e *loginError) Error() string {
	text, _, _ := strings.Cut(e.err.Error(), "\n") // the rest is the reply
	var failed *azidentity.AuthenticationFailedError
	if errors.As(e.err, &failed) && failed.RawResponse != nil {
		text += " " + failed.RawResponse.Status
	}
	return "logging in failed: " + text
}

func (e *loginError) Unwrap() error { return e.err }

// NonRetriable tells the vendor's client that it has tried enough.
func (e *loginError) NonRetriable() {}

// readSecretFile returns the contents of a file, or fallback if none is named.
func readSecretFile(setting, path, value string) (string, error) {
	if path == "" {
		return value, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", &backend.SettingError{Name: setting, Err: notFS(err)}
	}
	content := strings.TrimSpace(string(data))
	if value != "" && value != content {
		return "", &backend.SettingError{Name: setting, Err: errors.New("the file has another value than the setting that has it directly")}
	}
	return content, nil
}

// notFS is err without what makes it match fs.ErrNotExist: no error of ours may read
// as "there is no state".
func notFS(err error) error { return fmt.Errorf("%v", err) }
