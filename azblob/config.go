package azblob

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/statelatch/statelatch/backend"
)

// Driver opens Backends of type "azurerm" (or "azblob").
var Driver = backend.NewDriver(func(ctx context.Context, c Config) (backend.Backend, error) { return New(ctx, c) }, "azurerm", "azblob")

// Config says where the states are. The names of its settings, their variables and
// their rules are those of Terraform's and OpenTofu's azurerm backend; where the two
// spell one differently, both are accepted.
//
// The account is entered with the first of these that is set: AccessKey, SASToken,
// Entra ID (UseAzureADAuth).
type Config struct {
	_ struct{} `setting:",unsetempty"` // as in Terraform; in other backends what is set to "" stays so

	StorageAccountName string `setting:"storage_account_name,required"`
	ContainerName      string `setting:"container_name,required" url:"host"`
	Key                string `setting:"key,required" url:"path"` // the blob of the default workspace's state

	AccessKey      backend.Secret `setting:"access_key" env:"ARM_ACCESS_KEY"`
	SASToken       backend.Secret `setting:"sas_token" env:"ARM_SAS_TOKEN"`
	UseAzureADAuth bool           `setting:"use_azuread_auth" env:"ARM_USE_AZUREAD"`

	// Snapshot keeps a snapshot of each state before it is replaced.
	Snapshot            bool           `setting:"snapshot" env:"ARM_SNAPSHOT"`
	CustomerProvidedKey backend.Secret `setting:"customer_provided_key" env:"ARM_CUSTOMER_PROVIDED_KEY"`            // 32 bytes in base64
	EncryptionScope     string         `setting:"encryption_scope" env:"ARM_ENCYRPTION_SCOPE,ARM_ENCRYPTION_SCOPE"` //nolint:misspell // the first is OpenTofu's own spelling

	// Environment is the cloud: public (or global), usgovernment (or usgovernmentl4), dod
	// (or usgovernmentl5), china, canary. MetadataHost, which is asked for the endpoints
	// of another cloud, prevails.
	Environment  string `setting:"environment" env:"ARM_ENVIRONMENT" default:"public"`
	MetadataHost string `setting:"metadata_host" env:"ARM_METADATA_HOSTNAME,ARM_METADATA_HOST"`

	Identity

	// TimeoutSeconds is how long one request may take; 0 leaves it to the context.
	TimeoutSeconds int `setting:"timeout_seconds" env:"ARM_TIMEOUT_SECONDS" default:"300"`

	// Endpoint is accepted, and without effect, as in Terraform and OpenTofu.
	Endpoint string `setting:"endpoint"`

	// Settings that Terraform does not have. BlobEndpoint is the URL of the blob service,
	// where it is not https://<account>.blob.<suffix of the environment>. MaxSize is the
	// largest state in bytes, 1 GiB if not set.
	BlobEndpoint string `setting:"blob_endpoint"`
	MaxSize      int64  `setting:"max_size"`

	// Client is a ready client of the container, instead of one made from the settings
	// about account, cloud and login.
	Client *container.Client
}

func (c Config) scope() *blob.CPKScopeInfo {
	if c.EncryptionScope == "" {
		return nil
	}
	return &blob.CPKScopeInfo{EncryptionScope: &c.EncryptionScope}
}

// cpk is the key that the customer provides with each request.
func (c Config) cpk() *blob.CPKInfo {
	if c.CustomerProvidedKey == "" {
		return nil
	}
	key := string(c.CustomerProvidedKey)
	raw, _ := base64.StdEncoding.DecodeString(key) // was checked
	sum := sha256.Sum256(raw)
	return &blob.CPKInfo{
		EncryptionAlgorithm: to.Ptr(blob.EncryptionAlgorithmTypeAES256),
		EncryptionKey:       &key,
		EncryptionKeySHA256: new(base64.StdEncoding.EncodeToString(sum[:])),
	}
}

func (c Config) timeout() time.Duration { return time.Duration(c.TimeoutSeconds) * time.Second }

// New opens a Backend. It makes no request, unless a setting says that something is
// to be looked up: metadata_host, lookup_blob_endpoint, or resource_group_name without
// a way to enter the account.
func New(ctx context.Context, config Config) (*Backend, error) {
	return open(ctx, config, newTransport())
}

func open(ctx context.Context, config Config, transport *http.Transport) (*Backend, error) {
	b := &Backend{idle: transport.CloseIdleConnections, fresh: 5 * time.Second, seen: map[string]*properties{}, took: map[string]taken{}}
	err := config.check()
	if err == nil && config.Client == nil {
		config.Client, err = config.connect(ctx, transport)
	}
	if err != nil {
		b.idle()
		return nil, &backend.Error{Op: "open", Backend: config.where(config.Key), Kind: openKind(ctx, err), Err: err}
	}
	b.config, b.container = &config, config.Client
	return b, nil
}
