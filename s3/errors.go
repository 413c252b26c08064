package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/settle"
)

// failed is the error of a call.
func (c call) failed(kind, err error) error {
	place := "s3 " + c.backend.config.Bucket + "/"
	if c.key != "" {
		place += c.key
	} else {
		place += c.backend.config.Key
	}
	return &backend.Error{Op: c.op, Backend: place, Workspace: c.workspace, Kind: kind, Err: err}
}

// onBucket names a permission on the bucket, on one on an object, and onTable one on
// the table.
func (b *Backend) onBucket(action string) string {
	return action + " on arn:aws:s3:::" + b.config.Bucket
}

func (b *Backend) on(action, key string) string {
	return action + " on arn:aws:s3:::" + b.config.Bucket + "/" + key
}

func (b *Backend) onTable(action string) string {
	return action + " on table/" + b.config.DynamoDBTable
}

// readError translates the vendor's error of a request that changes nothing.
// permission is what it takes.
func (b *Backend) readError(ctx context.Context, c call, permission string, err error) error {
	kind, hint := translate(ctx, err, permission, *b.config)
	if kind == backend.ErrUnknown {
		if kind = backend.ErrTransient; ctx.Err() != nil {
			kind = ctx.Err()
		}
	}
	return c.translated(kind, hint, err)
}

// changeError translates the vendor's error of a request that may change something.
func (b *Backend) changeError(ctx context.Context, c call, permission string, err error) error {
	kind, hint := translate(ctx, err, permission, *b.config)
	if kind == backend.ErrNotExist { // NoSuchKey: If-Match on an object that is gone
		kind = backend.ErrConflict
	}
	return c.translated(kind, hint, err)
}

// bodyError translates the error of reading a reply.
func (b *Backend) bodyError(ctx context.Context, c call, err error) error {
	if ctx.Err() != nil {
		return c.failed(ctx.Err(), err)
	}
	return c.failed(backend.ErrTransient, fmt.Errorf("the reply broke off: %w", err))
}

func (c call) translated(kind error, hint string, err error) error {
	if cutShort(err) {
		err = fmt.Errorf("%w: %w", errCutShort, err)
	}
	if hint != "" {
		err = fmt.Errorf("%s: %w", hint, err)
	}
	failed := c.failed(kind, err)
	if delay := retryAfter(err); delay > 0 {
		return settle.RetryAfter(failed, delay)
	}
	return failed
}

// translate finds the kind of a vendor's error, and what to do about it. It is
// ErrUnknown for a request that may have been applied.
func translate(ctx context.Context, err error, permission string, config Config) (kind error, hint string) {
	var api smithy.APIError
	var reply *smithyhttp.ResponseError
	code, status := "", 0
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	if errors.As(err, &reply) {
		status = reply.HTTPStatusCode()
	}
	if noIdentity(err) {
		return identityKind(ctx, err, status), "no credentials are to be had"
	}
	if known, ok := codes[code]; ok {
		return known.kind, known.hint(permission, config)
	}
	switch {
	case throttled.IsErrorThrottle(err).Bool():
		return backend.ErrTransient, "the service is throttling"
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return backend.ErrPermission, denied(permission, config)
	case status >= 300 && status < 400:
		return backend.ErrInvalid, elsewhere(reply, config)
	case status == http.StatusNotFound: // from a proxy, for one: it must not read as "none"
		return backend.ErrInvalid, "the reply 404 does not say that it is the object that is missing; see the settings endpoints, http_proxy and https_proxy"
	case status == http.StatusPreconditionFailed:
		return backend.ErrConflict, ""
	case status == http.StatusConflict:
		return backend.ErrTransient, "another request is under way"
	case status == http.StatusRequestEntityTooLarge:
		return backend.ErrTooLarge, ""
	case status == http.StatusNotImplemented:
		return errors.ErrUnsupported, "the endpoint does not implement this request"
	case status == http.StatusTooManyRequests:
		return backend.ErrTransient, "the service is throttling"
	case status >= 500:
		return backend.ErrUnknown, ""
	case status >= 400:
		return backend.ErrInvalid, ""
	case untrusted(err):
		return backend.ErrInvalid, "the endpoint's certificate is not trusted; see the setting custom_ca_bundle"
	case errors.Is(err, http.ErrSchemeMismatch):
		return backend.ErrInvalid, "the endpoint, or the proxy, does not speak HTTPS there; see the settings endpoints and https_proxy"
	case ctx.Err() == nil && cutShort(err):
		return backend.ErrTransient, ""
	case ctx.Err() != nil && errors.Is(err, errUnsent):
		return ctx.Err(), ""
	case ctx.Err() != nil || !neverSent(err):
		return backend.ErrUnknown, ""
	}
	return notSent(err)
}

var throttled = retry.ThrottleErrorCode{Codes: retry.DefaultThrottleErrorCodes}

// A knownCode is what an error code of the service means.
type knownCode struct {
	kind error
	hint func(permission string, config Config) string
}

func says(text string) func(string, Config) string {
	return func(string, Config) string { return text }
}

var codes = map[string]knownCode{
	"NoSuchKey": {backend.ErrNotExist, says("")},
	"NoSuchBucket": {backend.ErrNoStore, func(_ string, c Config) string {
		return fmt.Sprintf("there is no bucket %q in region %q; create it, or correct the setting bucket", c.Bucket, c.Region)
	}},
	"ResourceNotFoundException": {backend.ErrNoStore, func(_ string, c Config) string {
		return fmt.Sprintf("there is no DynamoDB table %q in region %q; create it with a string key LockID, or correct the setting dynamodb_table", c.DynamoDBTable, c.Region)
	}},
	"kms:KeyNotFound":                 {backend.ErrInvalid, says(unknownKMSKey)},
	"KMS.NotFoundException":           {backend.ErrInvalid, says(unknownKMSKey)},
	"PreconditionFailed":              {backend.ErrConflict, says("")},
	"ConditionalCheckFailedException": {backend.ErrConflict, says("")},
	// Another conditional request is under way: this one was not applied.
	"ConditionalRequestConflict":  {backend.ErrTransient, says("another conditional request is under way")},
	"OperationAborted":            {backend.ErrTransient, says("another request is under way")},
	"RequestTimeout":              {backend.ErrTransient, says("")},
	"BadDigest":                   {backend.ErrTransient, says("the request was damaged on its way")},
	"XAmzContentChecksumMismatch": {backend.ErrTransient, says("the request was damaged on its way")},
	"XAmzContentSHA256Mismatch":   {backend.ErrTransient, says("the request was damaged on its way")},
	"EntityTooLarge":              {backend.ErrTooLarge, says("")},
	"ExpiredToken":                {backend.ErrPermission, says(renew)},
	"ExpiredTokenException":       {backend.ErrPermission, says(renew)},
	"TokenRefreshRequired":        {backend.ErrPermission, says(renew)},
	"RequestExpired":              {backend.ErrPermission, says(renew)},
	"RequestTimeTooSkewed":        {backend.ErrPermission, says("the clock of this machine is wrong; set it")},
	// DynamoDB refuses with status 400.
	"AccessDeniedException":       {backend.ErrPermission, denied},
	"InvalidAccessKeyId":          {backend.ErrPermission, says(unknownKeys)},
	"SignatureDoesNotMatch":       {backend.ErrPermission, says(unknownKeys)},
	"InvalidSignatureException":   {backend.ErrPermission, says(unknownKeys)},
	"UnrecognizedClientException": {backend.ErrPermission, says(unknownKeys)},
	"InvalidToken":                {backend.ErrPermission, says(unknownKeys)},
	"AuthorizationHeaderMalformed": {backend.ErrInvalid, func(_ string, c Config) string {
		return fmt.Sprintf("the bucket is not in region %q; correct the setting region", c.Region)
	}},
	"InvalidRequest": {backend.ErrInvalid, func(_ string, c Config) string {
		if c.SSECustomerKey == "" {
			return "if the object was encrypted with a customer key, set encrypt and sse_customer_key"
		}
		return ""
	}},
	"NotImplemented": {errors.ErrUnsupported, says("the endpoint does not implement this request")},
}

const (
	renew       = "the credentials have expired; renew them"
	unknownKeys = "the service does not accept the access key, the secret key or the session token"

	unknownKMSKey = "the service knows no such key; correct the setting kms_key_id"
)

func denied(permission string, config Config) string {
	hint := "the credentials need the permission " + permission
	if config.Encrypt && config.SSECustomerKey != "" {
		hint += ", and sse_customer_key must be the key that the object was written with"
	}
	return hint
}

// elsewhere tells what a redirect says.
func elsewhere(reply *smithyhttp.ResponseError, config Config) string {
	if actual := reply.Response.Header.Get("X-Amz-Bucket-Region"); actual != "" {
		return fmt.Sprintf("bucket %q is in region %q, not %q; correct the setting region", config.Bucket, actual, config.Region)
	}
	if to, err := reply.Response.Location(); err == nil {
		return fmt.Sprintf("the endpoint redirects to %s://%s, which is not followed; correct the settings endpoints and region", to.Scheme, to.Host)
	}
	return fmt.Sprintf("bucket %q is not in region %q; correct the setting region", config.Bucket, config.Region)
}

func untrusted(err error) bool {
	var certificate *tls.CertificateVerificationError
	return errors.As(err, &certificate)
}

// neverSent reports whether an error arose before a request was sent: while
// resolving, signing or connecting.
func neverSent(err error) bool {
	var reply *smithyhttp.ResponseError
	if errors.As(err, &reply) && reply.HTTPStatusCode() > 0 {
		return false
	}
	return errors.Is(err, errUnsent) || !toBeSent(err) || errors.As(err, new(proxyRefusal)) || settle.Unconnected(err)
}

// toBeSent reports whether a request was ready to be sent.
func toBeSent(err error) bool {
	var send *smithyhttp.RequestSendError
	return errors.As(err, &send)
}

var errCutShort = errors.New("the connection broke before the request was sent")

// cutShort reports whether a connection broke while a request was being written:
// the server never had all of it.
func cutShort(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && slices.Contains([]string{"write", "readfrom", "sendfile"}, op.Op)
}

// notSent tells a network that is down from a mistake.
func notSent(err error) (kind error, hint string) {
	var refused proxyRefusal
	var op *net.OpError
	switch {
	case errors.As(err, &refused) && refused < http.StatusInternalServerError:
		return backend.ErrPermission, "the proxy refuses; see the settings http_proxy, https_proxy and no_proxy"
	case toBeSent(err) || errors.As(err, &op):
		return backend.ErrTransient, "the endpoint cannot be reached"
	}
	return backend.ErrInvalid, "no request could be made; check the settings region and endpoints"
}

// noIdentity reports whether there were no credentials for a request. What the service
// that gives them replied, such as 404 for a machine without a role, then says nothing
// about the object. The vendor's client has no type for it.
func noIdentity(err error) bool {
	return strings.Contains(err.Error(), "get identity: get credentials:")
}

// identityKind is the kind of an error that leaves a request without credentials.
func identityKind(ctx context.Context, err error, status int) error {
	var op *net.OpError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case throttled.IsErrorThrottle(err).Bool(), status == http.StatusTooManyRequests, status >= 500:
		return backend.ErrTransient
	case errors.As(err, &op) && !strings.Contains(err.Error(), "EC2 IMDS"): // the last resort, where nothing is set
		return backend.ErrTransient
	}
	return backend.ErrPermission
}
