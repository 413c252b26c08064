package s3

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/statelatch/statelatch/backend"
)

// check replaces the deprecated settings by those that replaced them, adds what the
// environment says, and applies the rules of Terraform and OpenTofu. Where the two
// differ, it accepts what either does, unless that would not work. It joins one error
// for each mistake.
func (c *Config) check() error {
	var p problems
	c.checkPlace(&p)
	c.checkEncryption(&p)
	c.checkCredentials(&p)
	c.checkRoles(&p)
	c.checkEndpoints(&p)
	c.checkNetwork(&p)
	c.checkClients(&p)
	return errors.Join(p...)
}

// problems collects mistakes in settings.
type problems []error

func (p *problems) add(name, format string, args ...any) {
	*p = append(*p, &backend.SettingError{Name: name, Err: fmt.Errorf(format, args...)})
}

// exclude adds a problem if both of two settings are set.
func (p *problems) exclude(a string, aSet bool, b string, bSet bool) {
	if aSet && bSet {
		p.add(a, "it excludes %s; set one of them", b)
	}
}

func (c *Config) checkPlace(p *problems) {
	if strings.TrimSpace(c.Bucket) == "" {
		p.add("bucket", "it is required")
	}
	switch {
	case c.Key == "":
		p.add("key", "it is required")
	case strings.HasPrefix(c.Key, "/") || strings.HasSuffix(c.Key, "/"):
		p.add("key", "it must not start or end with a slash")
	case !clean(c.Key):
		p.add("key", unclean, "prod/terraform.tfstate")
	}
	switch {
	case strings.HasPrefix(c.WorkspaceKeyPrefix, "/") || strings.HasSuffix(c.WorkspaceKeyPrefix, "/"):
		p.add("workspace_key_prefix", "it must not start or end with a slash")
	case c.WorkspaceKeyPrefix != "" && c.NoWorkspaceKeyPrefix:
		p.add("workspace_key_prefix", "there is one, and NoWorkspaceKeyPrefix says that there is none")
	case c.WorkspaceKeyPrefix != "" && !clean(c.WorkspaceKeyPrefix):
		p.add("workspace_key_prefix", unclean, "team/env")
	}
	if !slices.Contains([]string{"", ConditionsHonoured, ConditionsIgnored}, c.Conditions) {
		p.add("conditions", "it is %q or %q", ConditionsHonoured, ConditionsIgnored)
	}
	if c.MaxSize < 0 {
		p.add("max_size", "it is a number of bytes, 0 for 1 GiB")
	}
}

// clean reports whether a key stays as it is when it is joined to a workspace's name,
// as Terraform does it. Of another it never finds the workspaces again, and with .. they
// even share one object.
func clean(key string) bool { return path.Clean("/"+key) == "/"+key }

const unclean = "it must not contain //, nor . or .. as a part, with which workspaces share an object or are never found; write it like %s"

// kmsKey is a key ID, an alias, or the ARN of either.
var kmsKey = regexp.MustCompile(`^(arn:[\w-]+:kms:[\w-]+:\d+:key/)?([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$` +
	`|^(arn:[\w-]+:kms:[\w-]+:\d+:)?alias/[\w/-]+$`)

func (c *Config) checkEncryption(p *problems) {
	p.exclude("kms_key_id", c.KMSKeyID != "", "sse_customer_key (or AWS_SSE_CUSTOMER_KEY in the environment)", c.SSECustomerKey != "")
	if c.KMSKeyID != "" && !kmsKey.MatchString(c.KMSKeyID) {
		p.add("kms_key_id", "it is the ID, the alias (alias/…) or the ARN of a KMS key")
	}
	if c.SSECustomerKey != "" {
		if key, err := base64.StdEncoding.DecodeString(string(c.SSECustomerKey)); err != nil || len(key) != 32 || len(c.SSECustomerKey) != 44 {
			p.add("sse_customer_key", "it is a key of 32 bytes in base64: 44 characters")
		}
	}
}

func (c *Config) checkCredentials(p *problems) {
	p.exclude("allowed_account_ids", len(c.AllowedAccountIDs) > 0, "forbidden_account_ids", len(c.ForbiddenAccountIDs) > 0)
	if (c.AccessKey == "") != (c.SecretKey == "") {
		p.add("access_key", "it and secret_key go together; set both")
	} else if c.Token != "" && c.AccessKey == "" {
		p.add("token", "it belongs to access_key and secret_key; set those too")
	}
	old := c.Deprecated.SharedCredentialsFile
	p.exclude("shared_credentials_file", old != "", "shared_credentials_files", len(c.SharedCredentialsFiles) > 0)
	if file := cmp.Or(old, os.Getenv("AWS_SHARED_CREDENTIALS_FILE")); len(c.SharedCredentialsFiles) == 0 && file != "" {
		c.SharedCredentialsFiles = []string{file}
	}
	if _, err := metadataMode(c.MetadataEndpointMode); err != nil {
		p.add("ec2_metadata_service_endpoint_mode", "it is IPv4 or IPv6")
	}
}

func (c *Config) checkRoles(p *problems) {
	r, name := c.AssumeRole, func(field string) string { return "assume_role." + field }
	if old := c.deprecatedRole(p); old != nil {
		r, name = old, func(field string) string { return deprecatedRoleNames[field] }
		c.AssumeRole = r
	}
	if r != nil {
		checkRole(p, name, r.RoleARN, r.Duration, r.Policy, r.PolicyARNs, r.SessionName)
		checkText(p, name("source_identity"), r.SourceIdentity, 64, roleText)
		checkText(p, name("external_id"), r.ExternalID, 1224, roleText+":/")
	}
	if w := c.AssumeRoleWithWebIdentity; w != nil {
		w = new(*w) // the caller's stays as it is
		c.AssumeRoleWithWebIdentity = w
		name := func(field string) string { return "assume_role_with_web_identity." + field }
		checkRole(p, name, w.RoleARN, w.Duration, w.Policy, w.PolicyARNs, w.SessionName)
		w.checkToken(p, name)
	}
}

// deprecatedRoleNames are what OpenTofu calls, outside of assume_role, what is in it.
var deprecatedRoleNames = map[string]string{
	"role_arn": "role_arn", "session_name": "session_name", "external_id": "external_id", "policy": "assume_role_policy",
	"policy_arns": "assume_role_policy_arns", "duration": "assume_role_duration_seconds",
}

// deprecatedRole returns the role that the deprecated settings describe; nil if
// there is none.
func (c *Config) deprecatedRole(p *problems) *AssumeRole {
	d := c.Deprecated
	for _, e := range []struct {
		name string
		set  bool
	}{
		{"role_arn", d.RoleARN != ""}, {"session_name", d.SessionName != ""}, {"external_id", d.ExternalID != ""},
		{"assume_role_duration_seconds", d.AssumeRoleDurationSeconds != 0}, {"assume_role_policy", d.AssumeRolePolicy != ""},
		{"assume_role_policy_arns", len(d.AssumeRolePolicyARNs) > 0}, {"assume_role_tags", len(d.AssumeRoleTags) > 0},
		{"assume_role_transitive_tag_keys", len(d.TransitiveTagKeys) > 0},
	} {
		p.exclude(e.name, e.set, "assume_role, which has a place for it", c.AssumeRole != nil)
	}
	if d.RoleARN == "" || c.AssumeRole != nil {
		return nil
	}
	return &AssumeRole{
		RoleARN: d.RoleARN, SessionName: d.SessionName, ExternalID: d.ExternalID, Policy: d.AssumeRolePolicy, PolicyARNs: d.AssumeRolePolicyARNs,
		Duration: time.Duration(d.AssumeRoleDurationSeconds) * time.Second, Tags: d.AssumeRoleTags, TransitiveTagKeys: d.TransitiveTagKeys,
	}
}

// checkRole checks what both kinds of role have. name is what the user calls a field.
func checkRole(p *problems, name func(string) string, roleARN string, duration time.Duration, policy string, policyARNs []string, session string) {
	if a, err := arn.Parse(roleARN); err != nil || !strings.HasPrefix(a.Resource, "role/") {
		p.add(name("role_arn"), "it is the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME")
	}
	if duration != 0 && (duration < 15*time.Minute || duration > 12*time.Hour) {
		p.add(name("duration"), "it is between 15m and 12h (900 and 43200 seconds)")
	}
	if policy != "" && json.Unmarshal([]byte(policy), new(map[string]any)) != nil {
		p.add(name("policy"), "it is a JSON object")
	}
	for _, policyARN := range policyARNs {
		if a, err := arn.Parse(policyARN); err != nil || !strings.HasPrefix(a.Resource, "policy/") {
			p.add(name("policy_arns"), "each is the ARN of a policy: arn:aws:iam::ACCOUNT:policy/NAME")
		}
	}
	checkText(p, name("session_name"), session, 64, roleText)
}

// roleText are the characters that STS takes beside letters and digits.
const roleText = "_+=,.@-"

// checkText checks a text that may be missing, or has 2 to most characters: letters,
// digits and those of extra.
func checkText(p *problems, name, text string, most int, extra string) {
	strange := strings.ContainsFunc(text, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune(extra, r)
	})
	if text != "" && (strange || len(text) < 2 || len(text) > most) {
		p.add(name, "it has 2 to %d characters: letters, digits and %s", most, extra)
	}
}

// checkToken also looks for the token in the environment.
func (w *WebIdentity) checkToken(p *problems, name func(string) string) {
	p.exclude(name("web_identity_token"), w.WebIdentityToken != "", "web_identity_token_file", w.WebIdentityTokenFile != "")
	if w.WebIdentityToken == "" && w.WebIdentityTokenFile == "" {
		w.WebIdentityToken = backend.Secret(os.Getenv("AWS_WEB_IDENTITY_TOKEN"))
		w.WebIdentityTokenFile = os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE")
	}
	switch n := len(cmp.Or(string(w.WebIdentityToken), w.WebIdentityTokenFile)); {
	case n == 0:
		p.add(name("web_identity_token"), "it or web_identity_token_file is required (or AWS_WEB_IDENTITY_TOKEN or AWS_WEB_IDENTITY_TOKEN_FILE in the environment)")
	case n < 4 || n > 20000:
		p.add(name("web_identity_token"), "it, or web_identity_token_file, has 4 to 20000 characters")
	}
}

// checkEndpoints finds each endpoint: as it is set, by its deprecated name, or in the
// environment.
func (c *Config) checkEndpoints(p *problems) {
	type named struct{ name, value string }
	e, d := &c.Endpoints, &c.Deprecated
	for _, endpoint := range []struct {
		value    *string
		name     string
		complete bool // nothing is added to it
		old      named
		env      []string
	}{
		{&e.S3, "endpoints.s3", false, named{"endpoint", d.Endpoint}, []string{"AWS_ENDPOINT_URL_S3", "AWS_S3_ENDPOINT"}},
		{&e.DynamoDB, "endpoints.dynamodb", false, named{"dynamodb_endpoint", d.DynamoDBEndpoint}, []string{"AWS_ENDPOINT_URL_DYNAMODB", "AWS_DYNAMODB_ENDPOINT"}},
		{&e.IAM, "endpoints.iam", false, named{"iam_endpoint", d.IAMEndpoint}, []string{"AWS_ENDPOINT_URL_IAM", "AWS_IAM_ENDPOINT"}},
		{&e.STS, "endpoints.sts", false, named{"sts_endpoint", d.STSEndpoint}, []string{"AWS_ENDPOINT_URL_STS", "AWS_STS_ENDPOINT"}},
		{&e.SSO, "endpoints.sso", true, named{}, []string{"AWS_ENDPOINT_URL_SSO"}},
		{&c.MetadataEndpoint, "ec2_metadata_service_endpoint", true, named{}, nil},
	} {
		p.exclude(endpoint.old.name, endpoint.old.value != "", endpoint.name, *endpoint.value != "")
		candidates := []named{{endpoint.name, *endpoint.value}, endpoint.old}
		for _, variable := range endpoint.env {
			candidates = append(candidates, named{variable, os.Getenv(variable)})
		}
		i := slices.IndexFunc(candidates, func(c named) bool { return c.value != "" })
		if i < 0 {
			continue
		}
		found := candidates[i]
		if !endpoint.complete && !strings.Contains(found.value, "://") {
			found.value = "https://" + found.value // as OpenTofu does
		}
		if u, err := url.Parse(found.value); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			p.add(found.name, "it is a URL such as https://host:port, without user and password")
		}
		*endpoint.value = found.value
	}
}

// region is how AWS names its regions. It is no list: that would have to grow with
// each new region.
var region = regexp.MustCompile(`^([a-z]{2}|eusc)(-[a-z]+){1,2}-[0-9]+$`)

func (c *Config) checkNetwork(p *problems) {
	if c.Region != "" && !c.SkipRegionValidation && !region.MatchString(c.Region) {
		p.add("region", "%q is no region of AWS; for another service set skip_region_validation", c.Region)
	}
	p.exclude("force_path_style", c.Deprecated.ForcePathStyle, "use_path_style", c.UsePathStyle)
	c.UsePathStyle = c.UsePathStyle || c.Deprecated.ForcePathStyle
	// No such endpoint could ever be asked: the SDK refuses.
	custom := c.Endpoints.S3 != "" || c.DynamoDBTable != "" && c.Endpoints.DynamoDB != ""
	p.exclude("use_fips_endpoint", isTrue(c.UseFIPSEndpoint), "endpoints, which are used as they are", custom)
	p.exclude("use_dualstack_endpoint", isTrue(c.UseDualstackEndpoint), "endpoints, which are used as they are", custom)
	p.proxy("http_proxy", c.HTTPProxy)
	p.proxy("https_proxy", c.HTTPSProxy)
	if c.MaxRetries < 0 {
		p.add("max_retries", "it is the number of attempts, 0 for 5")
	}
	c.MaxRetries = cmp.Or(c.MaxRetries, 5)
	if c.RetryMode != "" && c.RetryMode != "standard" && c.RetryMode != "adaptive" {
		p.add("retry_mode", "it is standard or adaptive")
	}
}

func isTrue(b *bool) bool { return b != nil && *b }

// proxy adds a problem if a proxy's URL would not be understood, and passed by.
func (p *problems) proxy(name string, proxy backend.Secret) {
	text := string(proxy)
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if proxy != "" && (err != nil || u.Hostname() == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme)) {
		p.add(name, "it is a URL such as http://host:port")
	}
}

// checkClients checks what goes together with ready clients.
func (c *Config) checkClients(p *problems) {
	c.Deprecated = Deprecated{} // all are in their new places
	if c.Client == nil {
		return
	}
	c.Region = cmp.Or(c.Region, c.Client.Options().Region)
	if c.DynamoDBTable != "" && c.DynamoDB == nil {
		p.add("dynamodb_table", "beside a ready Client it needs a ready DynamoDB client too")
	}
	if len(c.AllowedAccountIDs) > 0 || len(c.ForbiddenAccountIDs) > 0 {
		p.add("allowed_account_ids", "neither it nor forbidden_account_ids can be checked for a ready Client")
	}
}
