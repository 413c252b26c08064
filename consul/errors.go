package consul

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/settle"
)

// failed is the error of a call.
func (c call) failed(kind, err error) error {
	key := c.key
	if key == "" {
		key = c.backend.config.Path
	}
	return &backend.Error{Op: c.op, Backend: "consul " + key, Workspace: c.workspace, Kind: kind, Err: err}
}

// denied is the error of a token that may do too little.
func (c call) denied(text string) error {
	return c.failed(backend.ErrPermission, errors.New(c.needs()+": "+text))
}

func (c call) needs() string {
	switch c.op {
	case "read", "stat", "list", "holder", "wait", "watch":
		return fmt.Sprintf("the token needs key_prefix %q read", c.backend.config.Path)
	case "write", "delete":
		return fmt.Sprintf("the token needs key_prefix %q write", c.backend.config.Path)
	}
	return fmt.Sprintf("the token needs key_prefix %q write, and session_prefix %q write", c.backend.config.Path, "")
}

// changeError translates the vendor's error of a request that may change something.
func (c call) changeError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	kind, hint := c.translate(err)
	var there *url.Error
	if errors.Is(err, errRedirected) && errors.As(err, &there) { // whose URL may hold secrets
		err = there.Err
	}
	if errors.Is(err, fs.ErrNotExist) { // a missing socket is no missing state
		err = errors.New(err.Error())
	}
	if ended := ctx.Err(); kind == backend.ErrUnknown && ended != nil && !errors.Is(err, ended) {
		err = fmt.Errorf("%w: %w", ended, err)
	}
	if hint != "" {
		err = fmt.Errorf("%s: %w", hint, err)
	}
	return c.failed(kind, err)
}

// readError translates the vendor's error of a request that changes nothing.
func (c call) readError(ctx context.Context, err error) error {
	return c.unchanged(ctx, c.changeError(ctx, err))
}

// unchanged mends a translated error of a request that changes nothing: its outcome
// cannot be in doubt.
func (c call) unchanged(ctx context.Context, err error) error {
	if !errors.Is(err, backend.ErrUnknown) {
		return err
	}
	var doubt *backend.Error
	if errors.As(err, &doubt) && doubt.Err != nil {
		err = doubt.Err
	}
	kind := ctx.Err()
	if kind == nil {
		kind = backend.ErrTransient
	}
	return c.failed(kind, errors.New(err.Error()))
}

// answered is readError, and sees to it that the answer is Consul's: a 404 of
// something else must not read as "no such key".
func (c call) answered(ctx context.Context, meta *api.QueryMeta, err error) error {
	if err == nil && meta.LastIndex == 0 {
		return c.failed(backend.ErrInvalid, errors.New("whoever answers at this address is no Consul agent: the reply has no index"))
	}
	return c.readError(ctx, err)
}

// translate finds the kind of a vendor's error, and what to do about it. It is
// ErrUnknown for a request that may have been applied. Of a transaction the
// vendor's client passes on the text alone.
func (c call) translate(err error) (kind error, hint string) {
	var status api.StatusError
	code, text := 0, err.Error()
	if errors.As(err, &status) {
		code = status.Code
	}
	has := func(part string) bool { return strings.Contains(text, part) }
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errRedirected):
		return backend.ErrInvalid, "whoever answers at this address is no Consul agent"
	case settle.Unconnected(err):
		return backend.ErrTransient, "the agent cannot be reached; is it running at that address?"
	case errors.As(err, &untrusted):
		return backend.ErrInvalid, "the agent's certificate is not trusted; see ca_file"
	case has("server gave HTTP response to HTTPS client"), has("HTTP request to an HTTPS server"):
		return backend.ErrInvalid, "the setting scheme does not fit the agent"
	case has("tls: certificate required"), has("tls: bad certificate"):
		return backend.ErrPermission, "the agent wants a client certificate that it trusts; see cert_file and key_file"
	case has("client conn could not be established"): // what HTTP/2 makes of the two above, too
		return backend.ErrTransient, "the agent closed the connection at once; if it wants a client certificate, see cert_file and key_file"
	case code == http.StatusForbidden, code == http.StatusUnauthorized, isDenied(text):
		return backend.ErrPermission, c.needs()
	case code == http.StatusRequestEntityTooLarge, has("too large"):
		return backend.ErrTooLarge, "the server's limits for a value or a transaction are lower than usual"
	case code == http.StatusTooManyRequests, has("rate limit"):
		return backend.ErrTransient, "the server is throttling"
	case has("No cluster leader"):
		return backend.ErrTransient, ""
	case has("No path to datacenter"):
		return backend.ErrNoStore, "there is no such datacenter, or none of its servers can be reached"
	case code >= 300 && code < 500:
		return backend.ErrInvalid, ""
	}
	return backend.ErrUnknown, ""
}

func isDenied(text string) bool {
	return strings.Contains(text, "Permission denied") || strings.Contains(text, "ACL not found")
}
