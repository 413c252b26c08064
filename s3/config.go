package s3

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/statelatch/statelatch/backend"
)

// Driver opens Backends of type "s3".
var Driver = backend.NewDriver(func(ctx context.Context, c Config) (backend.Backend, error) {
	c.NoWorkspaceKeyPrefix = c.WorkspaceKeyPrefix == "" // the default has been filled in, so it was said to be
	return New(ctx, c)
}, "s3")

// Config says where the states are and how they are locked. The names of its
// settings, their variables and their rules are those of Terraform's and OpenTofu's
// s3 backend; where a field says nothing more, it means what it means there.
// Credentials, region, endpoints and the like that are not set come from the places
// where the AWS SDK looks for them: its variables and the profile.
type Config struct {
	Bucket string `setting:"bucket,required" url:"host"`
	Key    string `setting:"key,required" url:"path"` // of the default workspace's state; no part of it is . or ..
	Region string `setting:"region"`

	// WorkspaceKeyPrefix is in front of the keys of the other workspaces, "env:" if not
	// set; with NoWorkspaceKeyPrefix nothing is, as where the setting is "".
	WorkspaceKeyPrefix   string `setting:"workspace_key_prefix" default:"env:"`
	NoWorkspaceKeyPrefix bool

	// Locks; see the package documentation.
	UseLockfile   bool   `setting:"use_lockfile"`
	DynamoDBTable string `setting:"dynamodb_table"`

	// Encryption and other attributes of what is written. KMSKeyID and SSECustomerKey
	// (32 bytes in base64) are used only with Encrypt, and exclude each other.
	Encrypt        bool              `setting:"encrypt"`
	KMSKeyID       string            `setting:"kms_key_id"`
	SSECustomerKey backend.Secret    `setting:"sse_customer_key" env:"AWS_SSE_CUSTOMER_KEY"`
	ACL            string            `setting:"acl"`
	StateTags      map[string]string `setting:"state_tags"`
	LockTags       map[string]string `setting:"lock_tags"`

	// SkipS3Checksum sends no checksum of an object and verifies none, for endpoints
	// that do not know them. The signature covers the content all the same.
	SkipS3Checksum bool `setting:"skip_s3_checksum"`

	// Settings that Terraform does not have. MaxSize is the largest state in bytes, 1
	// GiB if not set. Conditions is ConditionsHonoured, ConditionsIgnored, or "": found
	// out by use.
	MaxSize    int64  `setting:"max_size"`
	Conditions string `setting:"conditions"`

	// Credentials.
	AccessKey                 string         `setting:"access_key"`
	SecretKey                 backend.Secret `setting:"secret_key"`
	Token                     backend.Secret `setting:"token"`
	Profile                   string         `setting:"profile"`
	SharedConfigFiles         []string       `setting:"shared_config_files,file,home" env:"AWS_SHARED_CONFIG_FILE"`
	SharedCredentialsFiles    []string       `setting:"shared_credentials_files,file,home"`
	AssumeRole                *AssumeRole    `setting:"assume_role"`
	AssumeRoleWithWebIdentity *WebIdentity   `setting:"assume_role_with_web_identity"`
	AllowedAccountIDs         []string       `setting:"allowed_account_ids"` // New asks STS for the account
	ForbiddenAccountIDs       []string       `setting:"forbidden_account_ids"`
	STSRegion                 string         `setting:"sts_region"`
	SkipMetadataAPICheck      *bool          `setting:"skip_metadata_api_check"` // true: EC2 metadata is not asked; nil leaves it to the SDK
	MetadataEndpoint          string         `setting:"ec2_metadata_service_endpoint" env:"AWS_EC2_METADATA_SERVICE_ENDPOINT,AWS_METADATA_URL"`
	MetadataEndpointMode      string         `setting:"ec2_metadata_service_endpoint_mode" env:"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"`

	// Accepted, and without effect: New never verifies credentials by itself, and asks
	// for the account if, and only if, an account list is set.
	SkipCredentialsValidation bool `setting:"skip_credentials_validation"`
	SkipRequestingAccountID   bool `setting:"skip_requesting_account_id"`

	// The network.
	Endpoints            Endpoints      `setting:"endpoints"`
	UsePathStyle         bool           `setting:"use_path_style"`
	UseFIPSEndpoint      *bool          `setting:"use_fips_endpoint"`      // nil leaves it to the SDK
	UseDualstackEndpoint *bool          `setting:"use_dualstack_endpoint"` // nil leaves it to the SDK
	SkipRegionValidation bool           `setting:"skip_region_validation"`
	CustomCABundle       string         `setting:"custom_ca_bundle,file,home"` // path of a PEM file
	Insecure             bool           `setting:"insecure"`                   // does not verify TLS certificates
	HTTPProxy            backend.Secret `setting:"http_proxy"`                 // these may hold a password
	HTTPSProxy           backend.Secret `setting:"https_proxy"`
	NoProxy              string         `setting:"no_proxy"`
	MaxRetries           int            `setting:"max_retries"` // attempts in all; 0 = 5
	RetryMode            string         `setting:"retry_mode"`  // of reads; "standard" or "adaptive"

	Deprecated

	// Client and DynamoDB are ready clients, instead of ones made from the settings
	// above. The Backend does not close them. A Client with an endpoint resolver of its
	// own is not taken for one of AWS; see Conditions.
	Client   *s3.Client
	DynamoDB *dynamodb.Client
}

// Endpoints are the URLs of the services, where they are not AWS's own; https:// is
// added where there is no scheme. What is not set comes from the variable
// AWS_ENDPOINT_URL_S3, or AWS_S3_ENDPOINT, and so on.
type Endpoints struct {
	S3       string `setting:"s3"`
	DynamoDB string `setting:"dynamodb"`
	IAM      string `setting:"iam"` // accepted, and never asked
	STS      string `setting:"sts"`
	SSO      string `setting:"sso"` // has to be complete
}

// AssumeRole is a role that is assumed with the credentials found otherwise, those
// of a web identity included.
type AssumeRole struct {
	RoleARN           string            `setting:"role_arn,required"`
	Duration          time.Duration     `setting:"duration"` // 15m to 12h; 0 = 15m
	ExternalID        string            `setting:"external_id"`
	Policy            string            `setting:"policy"`
	PolicyARNs        []string          `setting:"policy_arns"`
	SessionName       string            `setting:"session_name"`
	SourceIdentity    string            `setting:"source_identity"`
	Tags              map[string]string `setting:"tags"`
	TransitiveTagKeys []string          `setting:"transitive_tag_keys"`
}

// WebIdentity is a role that is assumed with the token of an identity provider:
// one of the last two, or what the variable AWS_WEB_IDENTITY_TOKEN or
// AWS_WEB_IDENTITY_TOKEN_FILE says.
type WebIdentity struct {
	RoleARN              string         `setting:"role_arn,required" env:"AWS_ROLE_ARN"`
	Duration             time.Duration  `setting:"duration"` // 15m to 12h; 0 = 1h
	Policy               string         `setting:"policy"`
	PolicyARNs           []string       `setting:"policy_arns"`
	SessionName          string         `setting:"session_name" env:"AWS_ROLE_SESSION_NAME"`
	WebIdentityToken     backend.Secret `setting:"web_identity_token"`
	WebIdentityTokenFile string         `setting:"web_identity_token_file,file,home"`
}

// Deprecated are settings that have another name or place by now. Each is an error
// beside the one that replaced it.
type Deprecated struct {
	Endpoint                  string            `setting:"endpoint"`
	DynamoDBEndpoint          string            `setting:"dynamodb_endpoint"`
	IAMEndpoint               string            `setting:"iam_endpoint"`
	STSEndpoint               string            `setting:"sts_endpoint"`
	ForcePathStyle            bool              `setting:"force_path_style"`
	SharedCredentialsFile     string            `setting:"shared_credentials_file,file,home"`
	RoleARN                   string            `setting:"role_arn"`
	SessionName               string            `setting:"session_name"`
	ExternalID                string            `setting:"external_id"`
	AssumeRoleDurationSeconds int               `setting:"assume_role_duration_seconds"`
	AssumeRolePolicy          string            `setting:"assume_role_policy"`
	AssumeRolePolicyARNs      []string          `setting:"assume_role_policy_arns"`
	AssumeRoleTags            map[string]string `setting:"assume_role_tags"`
	TransitiveTagKeys         []string          `setting:"assume_role_transitive_tag_keys"`
}

// New opens a Backend. It makes no request, unless an account list is set.
func New(ctx context.Context, config Config) (*Backend, error) {
	b := &Backend{taken: map[string]taken{}}
	err := config.check()
	if config.WorkspaceKeyPrefix == "" && !config.NoWorkspaceKeyPrefix {
		config.WorkspaceKeyPrefix = "env:"
	}
	if err == nil && config.Client == nil {
		b.connections, err = config.connect(ctx)
	}
	if err != nil {
		return nil, &backend.Error{Op: "open", Backend: "s3 " + config.Bucket + "/" + config.Key, Kind: config.kindOf(ctx, err), Err: err}
	}
	b.config, b.s3 = &config, config.Client
	if config.DynamoDBTable != "" {
		b.dynamodb = config.DynamoDB
	}
	b.endpoint.conforming = config.Conditions == ConditionsHonoured || isAWS(b.s3.Options())
	return b, nil
}
