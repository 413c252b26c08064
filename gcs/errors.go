package gcs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/storage"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/settle"
	"google.golang.org/api/googleapi"
)

// What a request takes, as the documentation of the package has it: without list, the
// service denies a GET of what does not exist.
const (
	toGet    = "storage.objects.get and list"
	toList   = "storage.objects.list"
	toPut    = "storage.objects.create, and delete to replace,"
	toDelete = "storage.objects.delete, get and list"
)

// failed is the error of a call.
func (c call) failed(kind, err error) error {
	place := "gs://" + c.backend.config.Bucket + "/" + c.object
	return &backend.Error{Op: c.op, Backend: place, Workspace: c.workspace, Kind: kind, Err: err}
}

// readError translates the vendor's error of a request that changes nothing.
// permission is what it takes.
func (b *Backend) readError(ctx context.Context, c call, permission string, err error) error {
	kind, hint := translate(err, permission, *b.config)
	switch {
	case kind == backend.ErrNotExist:
		b.found.Store(true)
	case kind == errForeign:
		kind = backend.ErrInvalid
	case kind != backend.ErrUnknown && kind != backend.ErrTransient:
	case ctx.Err() != nil:
		kind = ctx.Err()
	default:
		kind = backend.ErrTransient
	}
	return c.translated(kind, hint, err)
}

// changeError translates the vendor's error of a request that may change something.
func (b *Backend) changeError(c call, permission string, err error) error {
	kind, hint := translate(err, permission, *b.config)
	switch {
	case kind == backend.ErrNotExist && permission == toPut: // on a generation that is gone
		kind = backend.ErrConflict
	case kind == errForeign: // whoever it is may have passed the request on
		kind = backend.ErrUnknown
	}
	return c.translated(kind, hint, err)
}

func (c call) translated(kind error, hint string, err error) error {
	err = brief{notFS(err)}
	if hint != "" {
		err = fmt.Errorf("%s: %w", hint, err)
	}
	failed := c.failed(kind, err)
	var reply *googleapi.Error
	if errors.As(err, &reply) {
		failed = settle.RetryAfter(failed, settle.Asked(reply.Header))
	}
	return failed
}

// translate finds the kind of a vendor's error, and what to do about it. It is
// ErrUnknown for a request that may have been applied, and errForeign if whoever
// answered it is not the service.
func translate(err error, permission string, config Config) (kind error, hint string) {
	var reply *googleapi.Error
	var refused *auth.Error // of a client that New was given
	var token *credentialsError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errForeign), errors.Is(err, errRedirect):
		return errForeign, ""
	case errors.Is(err, storage.ErrBucketNotExist) && !(errors.As(err, &reply) && reply.Message == ""):
		return backend.ErrNoStore, noBucket(config)
	case errors.As(err, &reply):
		return status(reply, permission, config)
	case errors.Is(err, storage.ErrObjectNotExist):
		return backend.ErrNotExist, ""
	case errors.As(err, &certificate):
		return backend.ErrInvalid, "the endpoint's certificate is not trusted"
	case errors.As(err, &token) && token.temporary(), errors.As(err, &refused) && refused.Temporary():
		return backend.ErrTransient, "no token is to be had at present"
	case errors.As(err, &token), errors.As(err, &refused):
		return backend.ErrPermission, "no token is given for the credentials"
	case settle.Unconnected(err):
		return backend.ErrTransient, "the endpoint cannot be reached"
	}
	return backend.ErrUnknown, ""
}

// status finds them for a reply.
func status(reply *googleapi.Error, permission string, config Config) (kind error, hint string) {
	text := strings.ToLower(reply.Message + reply.Body)
	switch code := reply.Code; {
	case code < http.StatusBadRequest:
		return errForeign, errForeign.Error()
	case code == http.StatusUnauthorized:
		return backend.ErrPermission, "the credentials are missing, wrong or expired"
	case code == http.StatusForbidden:
		return backend.ErrPermission, fmt.Sprintf("the credentials need the permissions %s on bucket %q", permission, config.Bucket)
	case code == http.StatusNotFound && (strings.Contains(text, "bucket does not exist") || strings.Contains(text, "nosuchbucket")):
		return backend.ErrNoStore, noBucket(config)
	case code == http.StatusNotFound && reply.Message == "": // the service says what there is not
		return backend.ErrInvalid, errForeign.Error()
	case code == http.StatusNotFound:
		return backend.ErrNotExist, ""
	case code == http.StatusPreconditionFailed:
		return backend.ErrConflict, ""
	case code == http.StatusRequestEntityTooLarge:
		return backend.ErrTooLarge, ""
	case code == http.StatusTooManyRequests:
		return backend.ErrTransient, "the service is throttling"
	case code == http.StatusRequestTimeout, code >= 500:
		return backend.ErrUnknown, ""
	case strings.Contains(text, "customer"): // CustomerEncryptionKeyIsIncorrect, ResourceIsEncryptedWithCustomerEncryptionKey, …
		return backend.ErrInvalid, "encryption_key must be the key that the object was written with"
	}
	return backend.ErrInvalid, ""
}

func noBucket(config Config) string {
	return fmt.Sprintf("there is no bucket %q; create it, or correct the setting bucket", config.Bucket)
}

// A credentialsError says that no token was given: no request has been made.
type credentialsError struct{ error }

func (e *credentialsError) Unwrap() error { return e.error }

// temporary reports whether there may be a token later: those who give them were not
// reached, did not reply in time, or put it off.
func (e *credentialsError) temporary() bool {
	var refused *auth.Error
	if errors.As(e.error, &refused) {
		return refused.Temporary() || refused.Response != nil && refused.Response.StatusCode >= 500
	}
	return errors.As(e.error, new(*url.Error)) || errors.Is(e.error, context.Canceled) || errors.Is(e.error, context.DeadlineExceeded) ||
		putOff.MatchString(e.Error())
}

// putOff finds what most of the vendor's providers say of a reply; they pass on the
// text alone.
var putOff = regexp.MustCompile(`status code (408|429|5\d\d):`)

// brief is an error on one line: what the vendor's client says of a reply may have a
// whole page in it.
type brief struct{ error }

func (b brief) Error() string {
	text := strings.Join(strings.Fields(b.error.Error()), " ")
	return strings.ToValidUTF8(text[:min(len(text), 500)], "")
}

func (b brief) Unwrap() error { return b.error }

// notFS is err, but never one that matches fs.ErrNotExist: a missing file of
// credentials must not read as "there is no state".
func notFS(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New(err.Error())
	}
	return err
}
