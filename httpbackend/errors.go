package httpbackend

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/internal/wire"
	"github.com/statelatch/statelatch/internal/settle"
	"github.com/statelatch/statelatch/lock"
)

// failed is the error of a call.
func (c call) failed(kind, err error) error {
	return &backend.Error{Op: c.op, Backend: c.place, Workspace: c.workspace, Kind: kind, Err: err}
}

// wireError is the error of a request without a reply.
func (c call) wireError(ctx context.Context, err error) error {
	var outer *url.Error
	if errors.As(err, &outer) { // which quotes the URL
		err = outer.Err
	}
	kind, hint := broken(err)
	switch {
	case kind != backend.ErrUnknown:
	case !c.changes && ctx.Err() != nil:
		kind = ctx.Err()
	case !c.changes:
		kind = backend.ErrTransient
	}
	if hint != "" {
		err = fmt.Errorf("%s: %w", hint, err)
	}
	return c.later(c.failed(kind, err), 0)
}

// broken finds the kind of an error without a reply. It is ErrUnknown for a request
// that may have arrived.
func broken(err error) (kind error, hint string) {
	var certificate *tls.CertificateVerificationError
	var op *net.OpError
	switch {
	case errors.As(err, &certificate):
		return backend.ErrInvalid, "the server's certificate is not trusted; set client_ca_certificate_pem"
	case errors.Is(err, http.ErrSchemeMismatch):
		return backend.ErrInvalid, "the server does not speak HTTPS there"
	case settle.Unconnected(err):
		return backend.ErrTransient, "the server cannot be reached"
	case errors.As(err, &op) && op.Op == "remote error":
		return backend.ErrPermission, "the server refused the TLS connection; set client_certificate_pem and client_private_key_pem"
	}
	return backend.ErrUnknown, ""
}

// later adds how long to wait before the next attempt to an error that allows one.
func (c call) later(err error, asked time.Duration) error {
	if !errors.Is(err, backend.ErrTransient) && !errors.Is(err, backend.ErrUnknown) {
		return err
	}
	if asked == 0 {
		asked = c.backend.config.wait(c.attempt)
	}
	return settle.RetryAfter(err, asked)
}

// refused is the error of a reply that is none of success.
func (c call) refused(r *reply) error {
	name := ""
	if r.ours {
		name = r.header.Get(wire.Error)
	}
	held := r.status == wire.HeldStatus || r.status == http.StatusConflict
	if name == wire.Held || name == "" && held && c.changes {
		return &lock.HeldError{Workspace: c.workspace, Holder: holder(r)}
	}
	kind, hint := wire.Kind(name), ""
	if kind == nil {
		kind, hint = c.status(r.status)
	}
	if kind == backend.ErrUnknown && !c.changes {
		kind = backend.ErrTransient
	}
	if r.ours && len(r.body) > 0 {
		hint = printable(r.body)
	}
	said := fmt.Errorf("the server answered %d %s", r.status, http.StatusText(r.status))
	if hint != "" {
		said = fmt.Errorf("%w: %s", said, hint)
	}
	return c.later(c.failed(kind, said), settle.Asked(r.header))
}

// status finds the kind of a status.
func (c call) status(status int) (kind error, hint string) {
	switch {
	case status == http.StatusUnauthorized:
		return backend.ErrPermission, "the credentials are missing, wrong or expired"
	case status == http.StatusForbidden:
		return backend.ErrPermission, "the credentials do not allow that"
	case status == http.StatusNotFound && c.changes:
		return backend.ErrNoStore, "there is nothing at this address"
	case status == http.StatusNotFound:
		return backend.ErrNotExist, ""
	case status == http.StatusPreconditionFailed:
		return backend.ErrConflict, ""
	case status == http.StatusRequestEntityTooLarge:
		return backend.ErrTooLarge, ""
	case status == http.StatusTooManyRequests:
		return backend.ErrTransient, ""
	case status == http.StatusMethodNotAllowed, status == http.StatusNotImplemented:
		return backend.ErrInvalid, "the server does not know the method; see update_method, lock_method and unlock_method"
	case status/100 == 3:
		return backend.ErrInvalid, "redirects are followed on the same host only, and if they keep the method; correct the address"
	case status/100 == 2, status/100 == 1, status == http.StatusRequestTimeout, status >= 500:
		return backend.ErrUnknown, ""
	}
	return backend.ErrInvalid, ""
}

// holder reads the record in the body of a reply.
func holder(r *reply) lock.Info {
	sum := sha256.Sum256(r.body)
	return lock.ParseInfo(r.body, hex.EncodeToString(sum[:8]))
}

// printable returns the beginning of a text from the server, on one line.
func printable(text []byte) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, string(text[:min(len(text), 300)]))
}
