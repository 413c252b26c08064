package azblob

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/statelatch/statelatch/backend"
)

var (
	accountName   = regexp.MustCompile(`^[0-9a-z]{3,24}$`)
	containerName = regexp.MustCompile(`^(\$root|\$web|[0-9a-z](-?[0-9a-z])+)$`)
)

// check applies the rules of Terraform and OpenTofu, and reads the files that
// settings name. Where the two differ, it accepts what either does, unless that would
// not work. It joins one error for each mistake.
func (c *Config) check() error {
	var p problems
	c.checkPlace(&p)
	c.checkBlobs(&p)
	if c.Client == nil {
		c.checkAccess(&p)
		c.checkIdentity(&p)
	}
	return errors.Join(p...)
}

// problems collects mistakes in settings.
type problems []error

func (p *problems) add(name, format string, args ...any) {
	*p = append(*p, &backend.SettingError{Name: name, Err: fmt.Errorf(format, args...)})
}

// require adds a problem if a setting is empty.
func (p *problems) require(name, value, why string) {
	if value == "" {
		p.add(name, "it is required%s", why)
	}
}

func (c *Config) checkPlace(p *problems) {
	if c.Client == nil && !accountName.MatchString(c.StorageAccountName) {
		p.add("storage_account_name", "it has 3 to 24 lower-case letters and digits")
	}
	if c.Client == nil && (len(c.ContainerName) < 3 || len(c.ContainerName) > 63 || !containerName.MatchString(c.ContainerName)) {
		p.add("container_name", "it has 3 to 63 lower-case letters, digits and single hyphens")
	}
	p.require("key", c.Key, "")
	if strings.HasPrefix(c.Key, "/") || len(c.Key) > 800 {
		p.add("key", "it is the name of a blob: at most 800 bytes, and no slash in front")
	}
	if _, ok := c.cloud(); !ok {
		p.add("environment", "it is public, usgovernment, dod, china or canary")
	}
	if c.BlobEndpoint != "" && !isURL(c.BlobEndpoint) {
		p.add("blob_endpoint", "it is a URL such as https://host/account, without user and query")
	}
	if strings.ContainsAny(c.MetadataHost, "/?#@") {
		p.add("metadata_host", "it is a host name, without https://")
	}
}

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

func (c *Config) checkBlobs(p *problems) {
	if c.CustomerProvidedKey != "" {
		if key, err := base64.StdEncoding.DecodeString(string(c.CustomerProvidedKey)); err != nil || len(key) != 32 {
			p.add("customer_provided_key", "it is a key of 32 bytes in base64")
		}
		if c.EncryptionScope != "" {
			p.add("customer_provided_key", "it excludes encryption_scope; set one of them")
		}
	}
	if c.TimeoutSeconds < 0 {
		p.add("timeout_seconds", "it is a number of seconds, 0 for no limit")
	}
	if c.MaxSize < 0 {
		p.add("max_size", "it is a number of bytes, 0 for 1 GiB")
	}
}

// checkAccess checks how the account is entered.
func (c *Config) checkAccess(p *problems) {
	sas := strings.TrimPrefix(strings.TrimSpace(string(c.SASToken)), "?")
	c.SASToken = backend.Secret(sas)
	if _, err := url.ParseQuery(sas); err != nil || strings.ContainsFunc(sas, unicode.IsControl) { // the error quotes it
		p.add("sas_token", "it is not the query of a URL")
	}
	if c.AccessKey != "" {
		if _, err := base64.StdEncoding.DecodeString(string(c.AccessKey)); err != nil {
			p.add("access_key", "it is not in base64")
		}
	}
	entered := c.AccessKey != "" || c.SASToken != "" || c.UseAzureADAuth
	if !entered && c.ResourceGroupName == "" {
		p.add("access_key", "one of access_key, sas_token, use_azuread_auth and resource_group_name is required")
	}
	if !entered && c.ResourceGroupName != "" || c.LookupBlobEndpoint {
		p.require("resource_group_name", c.ResourceGroupName, " to look up the account")
		if c.way() != byCLI { // which knows of one
			p.require("subscription_id", c.SubscriptionID, " to look up the account (or ARM_SUBSCRIPTION_ID in the environment)")
		}
	}
}

// checkIdentity checks how to log in, where that is needed.
func (c *Config) checkIdentity(p *problems) {
	if !c.logsIn() {
		return
	}
	c.ADOServiceConnection = p.connection(c.ADOServiceConnection, c.ADOServiceConnection2)
	c.ClientID = p.file("client_id_file_path", c.ClientIDFile, c.ClientID)
	c.ClientSecret = backend.Secret(p.file("client_secret_file_path", c.ClientSecretFile, string(c.ClientSecret)))
	if c.UseOIDC && c.OIDCToken == "" && c.OIDCTokenFile == "" && c.OIDCRequestURL == "" {
		c.OIDCTokenFile = os.Getenv("AZURE_FEDERATED_TOKEN_FILE")
	}
	if c.UseOIDC && c.OIDCToken != "" {
		c.OIDCToken = backend.Secret(p.file("oidc_token_file_path", c.OIDCTokenFile, string(c.OIDCToken)))
	}
	if way := c.way(); way == byCertificate || way == bySecret || way == byOIDC {
		p.require("tenant_id", c.TenantID, " for this way to log in (or ARM_TENANT_ID in the environment)")
		p.require("client_id", c.ClientID, " for this way to log in (or ARM_CLIENT_ID in the environment)")
	}
	if c.way() == byOIDC && c.OIDCToken == "" && c.OIDCTokenFile == "" {
		p.require("oidc_request_url", c.OIDCRequestURL, ", or oidc_token, or oidc_token_file_path")
		p.require("oidc_request_token", string(c.OIDCRequestToken), ", or oidc_token, or oidc_token_file_path")
	}
}

// connection returns the service connection: one that is set rather than one of a
// variable, and that of OpenTofu's variable last.
func (p *problems) connection(first, second string) string {
	from := func(value string, variables ...string) bool {
		return slices.ContainsFunc(variables, func(name string) bool { return os.Getenv(name) == value })
	}
	switch {
	case first == "":
		return second
	case second == "", first == second, from(second, "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"):
		return first
	case from(first, "ARM_ADO_PIPELINE_SERVICE_CONNECTION_ID", "ARM_OIDC_AZURE_SERVICE_CONNECTION_ID"):
		return second
	}
	p.add("ado_service_connection_id", "it differs from ado_pipeline_service_connection_id; set one of them")
	return first
}

// logsIn reports whether Entra ID is asked.
func (c *Config) logsIn() bool {
	return c.AccessKey == "" && c.SASToken == "" || c.LookupBlobEndpoint
}

// file returns what is set, or what is in the file that is named instead.
func (p *problems) file(setting, path, value string) string {
	content, err := readSecretFile(setting, path, value)
	if err != nil {
		*p = append(*p, err)
		return value
	}
	return content
}
