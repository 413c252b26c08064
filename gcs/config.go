package gcs

import (
	"context"

	"cloud.google.com/go/storage"
	"github.com/statelatch/statelatch/backend"
)

// Driver opens Backends of type "gcs" (or "gs").
var Driver = backend.NewDriver(func(ctx context.Context, c Config) (backend.Backend, error) { return New(ctx, c) }, "gcs", "gs")

// Config says where the states are. The names of its settings, their variables and
// their rules are those of Terraform's and OpenTofu's gcs backend.
type Config struct {
	_ struct{} `setting:",unsetempty"` // as in Terraform; in other backends what is set to "" stays so

	Bucket string `setting:"bucket,required" url:"host"`
	Prefix string `setting:"prefix" url:"path"` // slashes in front are cut; one is added at the end

	// Credentials is the path of a credentials file (~ is the home directory), or the
	// JSON itself. AccessToken goes before it. Where neither is set, Application
	// Default Credentials are looked for.
	Credentials                        backend.Secret `setting:"credentials,contents" env:"GOOGLE_BACKEND_CREDENTIALS,GOOGLE_CREDENTIALS"`
	AccessToken                        backend.Secret `setting:"access_token" env:"GOOGLE_OAUTH_ACCESS_TOKEN"`
	ImpersonateServiceAccount          string         `setting:"impersonate_service_account" env:"GOOGLE_BACKEND_IMPERSONATE_SERVICE_ACCOUNT,GOOGLE_IMPERSONATE_SERVICE_ACCOUNT"`
	ImpersonateServiceAccountDelegates []string       `setting:"impersonate_service_account_delegates"`

	// EncryptionKey is a customer-supplied key (CSEK), 32 bytes in base64, or the path
	// of a file that holds it; KMSEncryptionKey is the resource name of a
	// customer-managed one (CMEK). They exclude each other.
	EncryptionKey    backend.Secret `setting:"encryption_key,contents" env:"GOOGLE_ENCRYPTION_KEY"`
	KMSEncryptionKey string         `setting:"kms_encryption_key" env:"GOOGLE_KMS_ENCRYPTION_KEY"`

	StorageCustomEndpoint string `setting:"storage_custom_endpoint" env:"GOOGLE_BACKEND_STORAGE_CUSTOM_ENDPOINT,GOOGLE_STORAGE_CUSTOM_ENDPOINT"`
	UniverseDomain        string `setting:"universe_domain" env:"GOOGLE_BACKEND_UNIVERSE_DOMAIN"`

	// MaxSize is the largest state in bytes, 1 GiB if not set.
	MaxSize int64 `setting:"max_size"`

	// Client is a ready client, instead of one made from the settings above: one of the
	// JSON API (storage.NewClient), since the errors of a gRPC one are not understood.
	// The Backend does not close it.
	Client *storage.Client
}

// New opens a Backend. It makes no request.
func New(ctx context.Context, config Config) (*Backend, error) {
	b := &Backend{config: &config, client: config.Client}
	err := b.check()
	if err == nil && b.client == nil {
		b.client, err = b.config.connect(ctx)
		b.own, b.asks = true, !emulated()
	}
	if err != nil {
		return nil, &backend.Error{Op: "open", Backend: "gs://" + config.Bucket, Kind: backend.ErrInvalid, Err: notFS(err)}
	}
	b.bucket = b.client.Bucket(b.config.Bucket)
	return b, nil
}
