package all_test

import (
	"github.com/statelatch/statelatch/azblob"
	"github.com/statelatch/statelatch/consul"
	"github.com/statelatch/statelatch/gcs"
	"github.com/statelatch/statelatch/httpbackend"
	"github.com/statelatch/statelatch/local"
	"github.com/statelatch/statelatch/s3"
)

// A block is a backend block, with all that Terraform or OpenTofu accepts in it.
type block struct {
	typ        string
	config     any               // what it is decoded into
	base       map[string]any    // what is set beside each attribute
	places     map[string]string // the attributes that are not parameters of a URL, by their place
	attributes []attribute
	ours       []string // settings that neither program has
}

// An attribute is one name in a block. Dots lead into nested attributes.
type attribute struct {
	name  string
	field string // of the Config, in which the value is found
	value any
	env   string // the variables that stand in for it, first come first
	late  string // the test that shows variables that the service reads itself, once it is opened
	wire  string // the test that shows what is sent; or "-" and why no request shows it
}

type (
	m = map[string]any
	l = []any
)

const (
	roleARN   = "arn:aws:iam::123456789012:role/states"
	policyARN = "arn:aws:iam::aws:policy/ReadOnlyAccess"
	key32     = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
)

var blocks = []block{
	{"s3", s3.Config{}, m{"bucket": "b", "key": "k", "region": "eu-central-1", "assume_role": m{"role_arn": roleARN}, "assume_role_with_web_identity": m{"role_arn": roleARN}},
		map[string]string{"host": "bucket", "path": "key"}, s3Attributes, []string{"max_size", "conditions"}},
	{"gcs", gcs.Config{}, m{"bucket": "b"}, map[string]string{"host": "bucket", "path": "prefix"}, gcsAttributes, []string{"max_size"}},
	{"azurerm", azblob.Config{}, m{"storage_account_name": "account", "container_name": "container", "key": "k"},
		map[string]string{"host": "container_name", "path": "key"}, azurermAttributes, []string{"blob_endpoint", "max_size"}},
	{"consul", consul.Config{}, m{"path": "p"}, map[string]string{"host": "address", "path": "path"}, consulAttributes, []string{"max_size"}},
	{"http", httpbackend.Config{}, m{"address": "http://host/p"}, map[string]string{"url": "address"}, httpAttributes, []string{"max_size"}},
	{"local", local.Config{}, m{"path": "/p", "workspace_dir": "/w"}, map[string]string{"file": "path"}, localAttributes, []string{"no_backup", "max_size"}},
}

var s3Attributes = []attribute{
	{"bucket", "Bucket", "states", "", "", "s3.TestWireHosts"},
	{"key", "Key", "a/b.tfstate", "", "", "s3.TestWireHeaders"},
	{"region", "Region", "us-gov-west-1", "", "s3.TestSDKVariables", "s3.TestWireHosts"},
	{"allowed_account_ids", "AllowedAccountIDs", l{"123456789012", "210987654321"}, "", "", "s3.TestAccountLists"},
	{"forbidden_account_ids", "ForbiddenAccountIDs", l{"123456789012"}, "", "", "s3.TestAccountLists"},
	{"encrypt", "Encrypt", true, "", "", "s3.TestWireHeaders"},
	{"kms_key_id", "KMSKeyID", "alias/states", "", "", "s3.TestWireHeaders"},
	{"sse_customer_key", "SSECustomerKey", key32, "AWS_SSE_CUSTOMER_KEY", "", "s3.TestWireHeaders"},
	{"acl", "ACL", "bucket-owner-full-control", "", "", "s3.TestWireHeaders"},
	{"workspace_key_prefix", "WorkspaceKeyPrefix", "workspaces", "", "", "s3.TestWorkspaceKeyPrefix"},
	{"dynamodb_table", "DynamoDBTable", "locks", "", "", "s3.TestWireHosts"},
	{"use_lockfile", "UseLockfile", true, "", "", "s3.TestWireHeaders"},
	{"access_key", "AccessKey", "AKIA", "", "s3.TestSDKVariables", "s3.TestWireCredentials"},
	{"secret_key", "SecretKey", "se cret/+", "", "s3.TestSDKVariables", "s3.TestWireCredentials"},
	{"token", "Token", "session", "", "s3.TestSDKVariables", "s3.TestWireSessionToken"},
	{"profile", "Profile", "states", "", "s3.TestSDKVariables", "s3.TestWireCredentials"},
	{"shared_config_files", "SharedConfigFiles", l{"/a"}, "AWS_SHARED_CONFIG_FILE", "", "-a file is read"},
	{"shared_credentials_files", "SharedCredentialsFiles", l{"/a", "/b"}, "", "s3.TestVariables", "-a file is read"},
	{"shared_credentials_file", "SharedCredentialsFile", "/a", "", "", "-a file is read"},
	{"max_retries", "MaxRetries", 7, "", "", "s3.TestWireRetries"},
	{"retry_mode", "RetryMode", "adaptive", "", "s3.TestSDKVariables", "-it is about when, not what"},
	{"skip_credentials_validation", "SkipCredentialsValidation", true, "", "", "s3.TestAccountLists"},
	{"skip_requesting_account_id", "SkipRequestingAccountID", true, "", "", "s3.TestAccountLists"},
	{"skip_metadata_api_check", "SkipMetadataAPICheck", true, "", "", "s3.TestWireCredentials"},
	{"skip_region_validation", "SkipRegionValidation", true, "", "", "-it only lets a region pass"},
	{"skip_s3_checksum", "SkipS3Checksum", true, "", "", "s3.TestWireHeaders"},
	{"use_path_style", "UsePathStyle", true, "", "", "s3.TestWireHosts"},
	{"force_path_style", "ForcePathStyle", true, "", "", "s3.TestSDKVariables"},
	{"custom_ca_bundle", "CustomCABundle", "/ca.pem", "", "s3.TestWireTrust", "s3.TestWireTrust"},
	{"ec2_metadata_service_endpoint", "MetadataEndpoint", "http://127.0.0.1:1", "AWS_EC2_METADATA_SERVICE_ENDPOINT AWS_METADATA_URL", "", "s3.TestWireCredentials"},
	{"ec2_metadata_service_endpoint_mode", "MetadataEndpointMode", "IPv6", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "", "-it chooses between two addresses of EC2 machines"},
	{"http_proxy", "HTTPProxy", "http://u:p@proxy:3128", "", "s3.TestWireProxies", "s3.TestWireProxies"},
	{"https_proxy", "HTTPSProxy", "http://u:p@proxy:3128", "", "s3.TestWireProxies", "s3.TestWireProxies"},
	{"no_proxy", "NoProxy", ".internal,10.0.0.0/8", "", "", "s3.TestWireProxies"},
	{"insecure", "Insecure", true, "", "", "s3.TestWireTrust"},
	{"use_fips_endpoint", "UseFIPSEndpoint", true, "", "s3.TestSDKVariables", "s3.TestWireHosts"},
	{"use_dualstack_endpoint", "UseDualstackEndpoint", true, "", "s3.TestSDKVariables", "s3.TestWireHosts"},
	{"sts_region", "STSRegion", "us-east-1", "", "", "s3.TestWireHosts"},
	{"endpoints.s3", "Endpoints.S3", "http://127.0.0.1:9000", "", "s3.TestVariables", "s3.TestWireHosts"},
	{"endpoints.dynamodb", "Endpoints.DynamoDB", "http://127.0.0.1:9000", "", "s3.TestVariables", "s3.TestWireHosts"},
	{"endpoints.iam", "Endpoints.IAM", "http://127.0.0.1:9000", "", "s3.TestVariables", "-IAM is never asked"},
	{"endpoints.sts", "Endpoints.STS", "http://127.0.0.1:9000", "", "s3.TestVariables", "s3.TestWireHosts"},
	{"endpoints.sso", "Endpoints.SSO", "http://127.0.0.1:9000", "", "s3.TestVariables", "s3.TestWireCredentials"},
	{"endpoint", "Endpoint", "http://127.0.0.1:9000", "", "", "s3.TestAttributes"},
	{"dynamodb_endpoint", "DynamoDBEndpoint", "http://127.0.0.1:9000", "", "", "s3.TestAttributes"},
	{"iam_endpoint", "IAMEndpoint", "http://127.0.0.1:9000", "", "", "-IAM is never asked"},
	{"sts_endpoint", "STSEndpoint", "http://127.0.0.1:9000", "", "", "s3.TestAttributes"},
	{"assume_role.role_arn", "AssumeRole.RoleARN", roleARN + "2", "", "", "s3.TestWireAssumeRole"},
	{"assume_role.duration", "AssumeRole.Duration", "1h30m0s", "", "", "s3.TestWireAssumeRole"},
	{"assume_role.external_id", "AssumeRole.ExternalID", "ext:1/2", "", "", "s3.TestWireAssumeRole"},
	{"assume_role.policy", "AssumeRole.Policy", `{"Version":"2012-10-17"}`, "", "", "s3.TestWireAssumeRole"},
	{"assume_role.policy_arns", "AssumeRole.PolicyARNs", l{policyARN, policyARN + "2"}, "", "", "s3.TestWireAssumeRole"},
	{"assume_role.session_name", "AssumeRole.SessionName", "me@work", "", "", "s3.TestWireAssumeRole"},
	{"assume_role.source_identity", "AssumeRole.SourceIdentity", "source", "", "", "s3.TestWireAssumeRole"},
	{"assume_role.tags", "AssumeRole.Tags", m{"a b": "1", "c.d": "2"}, "", "", "s3.TestWireAssumeRole"},
	{"assume_role.transitive_tag_keys", "AssumeRole.TransitiveTagKeys", l{"a", "b"}, "", "", "s3.TestWireAssumeRole"},
	{"assume_role_with_web_identity.role_arn", "AssumeRoleWithWebIdentity.RoleARN", roleARN + "2", "AWS_ROLE_ARN", "", "s3.TestWireAssumeRole"},
	{"assume_role_with_web_identity.duration", "AssumeRoleWithWebIdentity.Duration", "15m0s", "", "", "s3.TestWireAssumeRole"},
	{"assume_role_with_web_identity.policy", "AssumeRoleWithWebIdentity.Policy", "{}", "", "", "s3.TestWireAssumeRole"},
	{"assume_role_with_web_identity.policy_arns", "AssumeRoleWithWebIdentity.PolicyARNs", l{policyARN}, "", "", "s3.TestWireAssumeRole"},
	{"assume_role_with_web_identity.session_name", "AssumeRoleWithWebIdentity.SessionName", "me", "AWS_ROLE_SESSION_NAME", "", "s3.TestWireAssumeRole"},
	{"assume_role_with_web_identity.web_identity_token", "AssumeRoleWithWebIdentity.WebIdentityToken", "a token", "", "s3.TestVariables", "s3.TestWireAssumeRole"},
	{"assume_role_with_web_identity.web_identity_token_file", "AssumeRoleWithWebIdentity.WebIdentityTokenFile", "/token", "", "s3.TestVariables", "s3.TestWireCredentials"},
	{"state_tags", "StateTags", m{"a b": "1&2", "c.d": "3"}, "", "", "s3.TestWireHeaders"},
	{"lock_tags", "LockTags", m{"a": "1"}, "", "", "s3.TestWireHeaders"},
	{"role_arn", "RoleARN", roleARN, "", "", "s3.TestWireCredentials"},
	{"session_name", "SessionName", "me", "", "", "s3.TestAttributes"},
	{"external_id", "ExternalID", "ext", "", "", "s3.TestAttributes"},
	{"assume_role_duration_seconds", "AssumeRoleDurationSeconds", 3600, "", "", "s3.TestAttributes"},
	{"assume_role_policy", "AssumeRolePolicy", "{}", "", "", "s3.TestAttributes"},
	{"assume_role_policy_arns", "AssumeRolePolicyARNs", l{policyARN, policyARN + "2"}, "", "", "s3.TestAttributes"},
	{"assume_role_tags", "AssumeRoleTags", m{"a": "1"}, "", "", "s3.TestAttributes"},
	{"assume_role_transitive_tag_keys", "TransitiveTagKeys", l{"a", "b"}, "", "", "s3.TestAttributes"},
}

var gcsAttributes = []attribute{
	{"bucket", "Bucket", "states", "", "", "gcs.TestUpload"},
	{"prefix", "Prefix", "a b/c", "", "", "gcs.TestNames"},
	{"credentials", "Credentials", "/x.json", "GOOGLE_BACKEND_CREDENTIALS GOOGLE_CREDENTIALS", "gcs.TestServiceAccount", "gcs.TestServiceAccount"},
	{"access_token", "AccessToken", "ya29.x", "GOOGLE_OAUTH_ACCESS_TOKEN", "", "gcs.TestUpload"},
	{"impersonate_service_account", "ImpersonateServiceAccount", "a@p.iam.gserviceaccount.com", "GOOGLE_BACKEND_IMPERSONATE_SERVICE_ACCOUNT GOOGLE_IMPERSONATE_SERVICE_ACCOUNT", "", "gcs.TestImpersonation"},
	{"impersonate_service_account_delegates", "ImpersonateServiceAccountDelegates", l{"d@p", "e@p"}, "", "", "gcs.TestImpersonation"},
	{"encryption_key", "EncryptionKey", key32, "GOOGLE_ENCRYPTION_KEY", "", "gcs.TestEncryption"},
	{"kms_encryption_key", "KMSEncryptionKey", "projects/p/locations/l/keyRings/r/cryptoKeys/k", "GOOGLE_KMS_ENCRYPTION_KEY", "", "gcs.TestEncryption"},
	{"storage_custom_endpoint", "StorageCustomEndpoint", "https://host/storage/v1/b", "GOOGLE_BACKEND_STORAGE_CUSTOM_ENDPOINT GOOGLE_STORAGE_CUSTOM_ENDPOINT", "gcs.TestEmulatorHost", "gcs.TestEndpoints"},
	{"universe_domain", "UniverseDomain", "example.goog", "GOOGLE_BACKEND_UNIVERSE_DOMAIN", "", "gcs.TestUniverse"},
}

var azurermAttributes = []attribute{
	{"storage_account_name", "StorageAccountName", "another", "", "", "azblob.TestEndpoints"},
	{"container_name", "ContainerName", "states", "", "", "azblob.TestEntered"},
	{"key", "Key", "a b/c.tfstate", "", "", "azblob.TestEntered"},
	{"resource_group_name", "ResourceGroupName", "group", "", "", "azblob.TestLogin"},
	{"subscription_id", "SubscriptionID", "s", "ARM_SUBSCRIPTION_ID", "", "azblob.TestLogin"},
	{"tenant_id", "TenantID", "t", "ARM_TENANT_ID", "", "azblob.TestLogin"},
	{"access_key", "AccessKey", "a2V5", "ARM_ACCESS_KEY", "", "azblob.TestEntered"},
	{"sas_token", "SASToken", "sv=1&sig=x%2By=", "ARM_SAS_TOKEN", "", "azblob.TestEntered"},
	{"use_azuread_auth", "UseAzureADAuth", true, "ARM_USE_AZUREAD", "", "azblob.TestLogin"},
	{"snapshot", "Snapshot", true, "ARM_SNAPSHOT", "", "azblob.TestEncryptionOnTheWire"},
	{"environment", "Environment", "china", "ARM_ENVIRONMENT", "", "azblob.TestEndpoints"},
	{"metadata_host", "MetadataHost", "host", "ARM_METADATA_HOSTNAME ARM_METADATA_HOST", "", "azblob.TestLogin"},
	{"lookup_blob_endpoint", "LookupBlobEndpoint", true, "ARM_USE_DNS_ZONE_ENDPOINT", "", "azblob.TestLogin"},
	{"client_id", "ClientID", "c", "ARM_CLIENT_ID", "", "azblob.TestLogin"},
	{"client_id_file_path", "ClientIDFile", "/id", "ARM_CLIENT_ID_FILE_PATH", "", "azblob.TestLogin"},
	{"client_secret", "ClientSecret", "s", "ARM_CLIENT_SECRET", "", "azblob.TestLogin"},
	{"client_secret_file_path", "ClientSecretFile", "/secret", "ARM_CLIENT_SECRET_FILE_PATH", "", "azblob.TestLogin"},
	{"client_certificate", "ClientCertificate", "Y2VydA==", "ARM_CLIENT_CERTIFICATE", "", "azblob.TestLogin"},
	{"client_certificate_path", "ClientCertificatePath", "/cert", "ARM_CLIENT_CERTIFICATE_PATH", "", "azblob.TestLogin"},
	{"client_certificate_password", "ClientCertificatePassword", "p", "ARM_CLIENT_CERTIFICATE_PASSWORD", "", "-it opens a file"},
	{"use_oidc", "UseOIDC", true, "ARM_USE_OIDC", "", "azblob.TestLogin"},
	{"oidc_token", "OIDCToken", "t", "ARM_OIDC_TOKEN", "", "azblob.TestLogin"},
	{"oidc_token_file_path", "OIDCTokenFile", "/token", "ARM_OIDC_TOKEN_FILE_PATH", "azblob.TestLogin", "azblob.TestLogin"},
	{"oidc_request_url", "OIDCRequestURL", "https://ci/?a=b", "ARM_OIDC_REQUEST_URL ACTIONS_ID_TOKEN_REQUEST_URL SYSTEM_OIDCREQUESTURI", "", "azblob.TestLogin"},
	{"oidc_request_token", "OIDCRequestToken", "t", "ARM_OIDC_REQUEST_TOKEN ACTIONS_ID_TOKEN_REQUEST_TOKEN SYSTEM_ACCESSTOKEN", "", "azblob.TestLogin"},
	{"ado_pipeline_service_connection_id", "ADOServiceConnection", "id", "ARM_ADO_PIPELINE_SERVICE_CONNECTION_ID ARM_OIDC_AZURE_SERVICE_CONNECTION_ID", "", "azblob.TestLogin"},
	{"ado_service_connection_id", "ADOServiceConnection2", "id", "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID", "", "azblob.TestLogin"},
	{"use_msi", "UseMSI", true, "ARM_USE_MSI", "", "azblob.TestManagedIdentity"},
	{"msi_endpoint", "MSIEndpoint", "http://msi", "ARM_MSI_ENDPOINT", "", "azblob.TestManagedIdentity"},
	{"use_cli", "UseCLI", false, "ARM_USE_CLI", "", "azblob.TestCLI"},
	{"use_aks_workload_identity", "UseAKSWorkloadIdentity", true, "ARM_USE_AKS_WORKLOAD_IDENTITY", "", "azblob.TestLogin"},
	{"endpoint", "Endpoint", "x", "", "", "-neither program uses it, nor do we"},
	{"timeout_seconds", "TimeoutSeconds", 7, "ARM_TIMEOUT_SECONDS", "", "azblob.TestTimeout"},
	{"customer_provided_key", "CustomerProvidedKey", key32, "ARM_CUSTOMER_PROVIDED_KEY", "", "azblob.TestEncryptionOnTheWire"},
	{"encryption_scope", "EncryptionScope", "scope", "ARM_ENCYRPTION_SCOPE ARM_ENCRYPTION_SCOPE", "", "azblob.TestEncryptionOnTheWire"}, //nolint:misspell // the first is OpenTofu's own spelling
}

var consulAttributes = []attribute{
	{"path", "Path", "some path/p", "", "", "consul.TestURL"},
	{"address", "Address", "127.0.0.1:8501", "", "consul.TestSettings", "consul.TestSettings"},
	{"scheme", "Scheme", "https", "", "consul.TestTrust", "consul.TestTrust"},
	{"access_token", "AccessToken", "t", "", "consul.TestSettings", "consul.TestSettings"},
	{"datacenter", "Datacenter", "d", "", "", "consul.TestSettings"},
	{"http_auth", "HTTPAuth", "u:p:w", "", "consul.TestSettings", "consul.TestSettings"},
	{"gzip", "GZIP", true, "", "", "consul.TestWritesTerraformsFormats"},
	{"lock", "Lock", false, "", "", "consul.TestLockSetting"},
	{"ca_file", "CAFile", "/ca.pem", "", "consul.TestTrust", "consul.TestTrust"},
	{"cert_file", "CertFile", "/cert.pem", "", "consul.TestClientCertificate", "consul.TestClientCertificate"},
	{"key_file", "KeyFile", "/key.pem", "", "consul.TestClientCertificate", "consul.TestClientCertificate"},
}

var httpAttributes = []attribute{
	{"address", "Address", "https://host:8443/a%2Fb", "TF_HTTP_ADDRESS", "", "httpbackend.TestAttributesOnTheWire"},
	{"update_method", "UpdateMethod", "PUT", "TF_HTTP_UPDATE_METHOD", "", "httpbackend.TestAttributesOnTheWire"},
	{"lock_address", "LockAddress", "https://host/lock?a=b", "TF_HTTP_LOCK_ADDRESS", "", "httpbackend.TestAttributesOnTheWire"},
	{"lock_method", "LockMethod", "POST", "TF_HTTP_LOCK_METHOD", "", "httpbackend.TestAttributesOnTheWire"},
	{"unlock_address", "UnlockAddress", "https://host/lock", "TF_HTTP_UNLOCK_ADDRESS", "", "httpbackend.TestAttributesOnTheWire"},
	{"unlock_method", "UnlockMethod", "DELETE", "TF_HTTP_UNLOCK_METHOD", "", "httpbackend.TestAttributesOnTheWire"},
	{"username", "Username", "u", "TF_HTTP_USERNAME", "", "httpbackend.TestAttributesOnTheWire"},
	{"password", "Password", "p@ss", "TF_HTTP_PASSWORD", "", "httpbackend.TestAttributesOnTheWire"},
	{"skip_cert_verification", "SkipCertVerification", true, "", "", "httpbackend.TestTLS"},
	{"retry_max", "RetryMax", 7, "TF_HTTP_RETRY_MAX", "", "httpbackend.TestRetries"},
	{"retry_wait_min", "RetryWaitMin", 2, "TF_HTTP_RETRY_WAIT_MIN", "", "httpbackend.TestWaits"},
	{"retry_wait_max", "RetryWaitMax", 60, "TF_HTTP_RETRY_WAIT_MAX", "", "httpbackend.TestWaits"},
	{"client_ca_certificate_pem", "ClientCACertificatePEM", "-----BEGIN\n+/=", "TF_HTTP_CLIENT_CA_CERTIFICATE_PEM", "", "httpbackend.TestTLS"},
	{"client_certificate_pem", "ClientCertificatePEM", "-----BEGIN\n+/=", "TF_HTTP_CLIENT_CERTIFICATE_PEM", "", "httpbackend.TestClientCertificate"},
	{"client_private_key_pem", "ClientPrivateKeyPEM", "-----BEGIN\n+/=", "TF_HTTP_CLIENT_PRIVATE_KEY_PEM", "", "httpbackend.TestClientCertificate"},
	{"headers", "Headers", m{"X-A": "1", "Authorization": "Bearer x"}, "", "", "httpbackend.TestAttributesOnTheWire"},
}

var localAttributes = []attribute{
	{"path", "Path", "/dir/x y.tfstate", "", "", "-there are no requests"},
	{"workspace_dir", "WorkspaceDir", "/dir/z", "", "", "-there are no requests"},
}
