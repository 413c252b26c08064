package azblob

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/settle"
	"github.com/statelatch/statelatch/lock"
)

// Kinds that no caller gets to see.
var (
	errLeased    = errors.New("the blob is leased, by another ID")
	errSnapshots = errors.New("the blob has snapshots, and is not deleted with them")
	errForeign   = errors.New("the reply lacks the service's headers")
)

// failed is the error of a call.
func (c call) failed(kind, err error) error {
	name := c.backend.config.Key
	if c.workspace != "" {
		name = c.backend.name(c.workspace)
	}
	return &backend.Error{Op: c.op, Backend: c.backend.config.where(name), Workspace: c.workspace, Kind: kind, Err: err}
}

func (c Config) where(name string) string {
	return "azblob " + c.StorageAccountName + "/" + c.ContainerName + "/" + name
}

// readError translates the vendor's error of a request that changes nothing.
func (b *Backend) readError(ctx context.Context, c call, err error) error {
	kind, hint := translate(err)
	switch {
	case kind == errForeign:
		kind = backend.ErrInvalid
	case kind == backend.ErrUnknown && ctx.Err() != nil:
		kind = nil
	case kind == backend.ErrUnknown:
		kind = backend.ErrTransient
	}
	return c.translated(ctx, kind, hint, err)
}

// changeError translates the vendor's error of a request that may change something.
func (b *Backend) changeError(ctx context.Context, c call, err error) error {
	kind, hint := translate(err)
	if kind == errForeign { // whoever it is may have passed the request on
		kind = backend.ErrUnknown
	}
	return c.translated(ctx, kind, hint, err)
}

// genuine returns err; or errForeign, where a reply reports success and lacks one of
// these headers, which the service's have: any page reports success.
func genuine(err error, headers ...*string) error {
	if err == nil && slices.Contains(headers, nil) {
		return errForeign
	}
	return err
}

// bodyError translates the error of reading a reply to its end.
func (b *Backend) bodyError(ctx context.Context, c call, err error) error {
	var reply *azcore.ResponseError
	switch {
	case ctx.Err() != nil:
		return c.failed(ctx.Err(), nil)
	case errors.As(err, &reply) && reply.StatusCode != http.StatusPreconditionFailed:
		return b.readError(ctx, c, err)
	}
	return c.failed(backend.ErrTransient, fmt.Errorf("the reply broke off: %w", bare(err)))
}

func (c call) translated(ctx context.Context, kind error, hint string, err error) error {
	told := bare(err)
	if ended := ctx.Err(); ended != nil && (kind == nil || kind == backend.ErrUnknown || kind == backend.ErrTransient) {
		if kind == backend.ErrTransient {
			kind = nil
		}
		if !errors.Is(told, ended) {
			told = fmt.Errorf("%w: %w", ended, told)
		}
	}
	if hint != "" {
		told = fmt.Errorf("%s: %w", hint, told)
	}
	failed := c.failed(kind, told)
	var reply *azcore.ResponseError
	if errors.As(err, &reply) && reply.RawResponse != nil {
		failed = settle.RetryAfter(failed, settle.Asked(reply.RawResponse.Header))
	}
	return failed
}

// openKind finds the kind of an error of New: a mistake in the settings, unless it is
// from a request.
func openKind(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	kind, _ := translate(err)
	var network net.Error
	switch {
	case kind == errForeign, kind == backend.ErrNotExist: // that is the account
		return backend.ErrInvalid
	case kind != backend.ErrUnknown:
		return kind
	case errors.As(err, &network), errors.As(err, new(*azcore.ResponseError)):
		return backend.ErrTransient
	}
	return backend.ErrInvalid
}

// bare shortens the vendor's error to one line, and takes the query out of it, which
// may be a SAS.
func bare(err error) error {
	var reply *azcore.ResponseError
	var request *url.Error
	switch {
	case errors.As(err, &reply):
		return &replyError{reply}
	case errors.As(err, &request):
		return fmt.Errorf("%s: %w", request.Op, request.Err)
	}
	return err
}

// A replyError is the vendor's own, which errors.As finds in it, without the many
// lines of its text: they repeat what was sent, signatures included.
type replyError struct{ reply *azcore.ResponseError }

func (e *replyError) Error() string {
	text := fmt.Sprintf("HTTP %d %s", e.reply.StatusCode, e.reply.ErrorCode)
	if e.reply.RawResponse != nil {
		if id := e.reply.RawResponse.Header.Get("X-Ms-Request-Id"); id != "" {
			text += " (request " + id + ")"
		}
	}
	return text
}

// As implements the interface of [errors.As].
func (e *replyError) As(target any) bool {
	as, ok := target.(**azcore.ResponseError)
	if ok {
		*as = e.reply
	}
	return ok
}

// translate finds the kind of a vendor's error, and what to do about it. It is
// ErrUnknown for a request that may have been applied, and errForeign if whoever says
// so is not the service.
func translate(err error) (kind error, hint string) {
	var reply *azcore.ResponseError
	var login *loginError
	var certificate *tls.CertificateVerificationError
	unconnected := settle.Unconnected(err)
	switch {
	case errors.Is(err, errForeign):
		return errForeign, foreign
	case errors.As(err, &login) && unconnected:
		return backend.ErrTransient, ""
	case errors.As(err, &login) && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		return nil, ""
	case errors.As(err, &login):
		return backend.ErrPermission, ""
	case errors.As(err, &reply):
		return status(reply)
	case errors.As(err, &certificate):
		return backend.ErrInvalid, "the endpoint's certificate is not trusted"
	case unconnected:
		return backend.ErrTransient, "the endpoint cannot be reached; it comes from the settings storage_account_name, environment, metadata_host and blob_endpoint"
	}
	return backend.ErrUnknown, ""
}

// A knownCode is what an error code of the service means.
type knownCode struct {
	kind error
	hint string
}

const foreign = "whoever answers at this endpoint is no blob service"

const wrongKey = "the state was written with another customer_provided_key or encryption_scope, or without; correct the settings"

var codes = map[bloberror.Code]knownCode{
	bloberror.ContainerNotFound:     {backend.ErrNoStore, "create the container, or correct the setting container_name"},
	bloberror.ContainerBeingDeleted: {backend.ErrNoStore, "the container is being deleted"},
	bloberror.ContainerDisabled:     {backend.ErrNoStore, "the container is disabled"},

	bloberror.BlobNotFound:      {backend.ErrNotExist, ""},
	bloberror.ResourceNotFound:  {backend.ErrNotExist, ""},
	bloberror.BlobAlreadyExists: {backend.ErrConflict, ""},
	bloberror.ConditionNotMet:   {backend.ErrConflict, ""},
	bloberror.SnapshotsPresent:  {errSnapshots, ""},

	bloberror.LeaseAlreadyPresent:                {errLeased, ""},
	bloberror.LeaseIDMissing:                     {errLeased, ""},
	bloberror.LeaseIDMismatchWithBlobOperation:   {errLeased, ""},
	bloberror.LeaseIDMismatchWithLeaseOperation:  {errLeased, ""},
	bloberror.LeaseIsBreakingAndCannotBeAcquired: {errLeased, ""},
	bloberror.LeaseLost:                          {lock.ErrNotHeld, ""},
	bloberror.LeaseNotPresentWithBlobOperation:   {lock.ErrNotHeld, ""},
	bloberror.LeaseNotPresentWithLeaseOperation:  {lock.ErrNotHeld, ""},
	bloberror.LeaseIsBrokenAndCannotBeRenewed:    {lock.ErrNotHeld, ""},
	bloberror.LeaseIsBreakingAndCannotBeChanged:  {lock.ErrNotHeld, ""},
	bloberror.LeaseAlreadyBroken:                 {lock.ErrNotHeld, ""},

	bloberror.ServerBusy:          {backend.ErrTransient, "the service is throttling"},
	bloberror.MD5Mismatch:         {backend.ErrTransient, "the request was damaged on its way"},
	bloberror.RequestBodyTooLarge: {backend.ErrTooLarge, ""},
	bloberror.MetadataTooLarge:    {backend.ErrInvalid, "the lock's record does not fit into the metadata"},

	bloberror.BlobUsesCustomerSpecifiedEncryption:       {backend.ErrPermission, wrongKey},
	"BlobCustomerSpecifiedEncryptionMismatch":           {backend.ErrPermission, wrongKey},
	"BlobDoesNotUseCustomerSpecifiedEncryption":         {backend.ErrPermission, wrongKey},
	"KeyBasedAuthenticationNotPermitted":                {backend.ErrPermission, "the account takes no account keys; set use_azuread_auth"},
	bloberror.AuthenticationFailed:                      {backend.ErrPermission, "the service does not accept the access_key, sas_token or login; or the clock of this machine is wrong"},
	bloberror.InvalidAuthenticationInfo:                 {backend.ErrPermission, "the service does not accept the access_key, sas_token or login"},
	bloberror.AuthorizationFailure:                      {backend.ErrPermission, "the access_key or SAS is wrong, or allows too little, or the network rules of the account keep this machine out"},
	bloberror.Code("AuthorizationPermissionMismatch"):   {backend.ErrPermission, rights},
	bloberror.Code("InsufficientAccountPermissions"):    {backend.ErrPermission, rights},
	bloberror.Code("AuthorizationProtocolMismatch"):     {backend.ErrPermission, "the SAS demands https"},
	bloberror.Code("AuthorizationSourceIPMismatch"):     {backend.ErrPermission, "the SAS does not allow this machine's address"},
	bloberror.Code("AuthorizationServiceMismatch"):      {backend.ErrPermission, "the SAS is not for the blob service"},
	bloberror.Code("AuthorizationResourceTypeMismatch"): {backend.ErrPermission, "the SAS is not for objects and containers"},
	bloberror.FeatureVersionMismatch:                    {errors.ErrUnsupported, ""},
	bloberror.Code("FeatureNotSupported"):               {errors.ErrUnsupported, ""},
	bloberror.BlobArchived:                              {backend.ErrInvalid, "the blob is archived; move it to an online tier"},
	bloberror.BlobBeingRehydrated:                       {backend.ErrInvalid, "the blob is on its way out of the archive"},
	bloberror.InvalidBlobType:                           {backend.ErrInvalid, "the blob of this name is no block blob"},
	bloberror.Code("BlobImmutableDueToPolicy"):          {backend.ErrPermission, "the container has an immutability policy or a legal hold"},
}

const rights = "the credentials need the role Storage Blob Data Contributor on the container, or a SAS with the permissions racwdl"

func status(reply *azcore.ResponseError) (kind error, hint string) {
	if known, ok := codes[bloberror.Code(reply.ErrorCode)]; ok {
		return known.kind, known.hint
	}
	switch code := reply.StatusCode; {
	case code/100 == 3:
		return errForeign, "the endpoint redirects, and redirects are not followed; correct the setting blob_endpoint"
	case code < http.StatusBadRequest:
		return errForeign, foreign
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return backend.ErrPermission, rights
	case code == http.StatusNotFound:
		return backend.ErrInvalid, foreign // which says what it is that there is not
	case code == http.StatusPreconditionFailed:
		return backend.ErrConflict, ""
	case code == http.StatusTooManyRequests:
		return backend.ErrTransient, "the service is throttling"
	case code == http.StatusRequestTimeout, code >= 500:
		return backend.ErrUnknown, ""
	}
	return backend.ErrInvalid, ""
}
