// Package wire is what the client and the server of this module add to Terraform's
// HTTP state protocol, so that neither has to guess. Package server describes it.
package wire

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// Headers, by their canonical names.
const (
	Protocol = "Statelatch-Protocol" // of every reply: the version of this protocol
	Error    = "Statelatch-Error"    // of a refusal: the name of its kind
	Call     = "Statelatch-Call"     // of a change: a token that tells this very call from all others
)

// Version is the value of the header Protocol.
const Version = "1"

// Parameters of a query.
const (
	ID    = "ID"    // the lock that the writer holds, as Terraform sends it
	Lock  = "lock"  // GET: the holder of the lock, in place of the state
	Renew = "renew" // LOCK: the TTL of the lock named by ID starts again
)

// MaxList is the longest list of workspaces, in bytes.
const MaxList = 64 << 20

// A kind is a kind of failure, as it crosses the wire.
type kind struct {
	name   string
	err    error
	status int
}

// kinds are in the order in which they are looked for: an error of several kinds is
// the first.
var kinds = []kind{
	{"unknown", backend.ErrUnknown, http.StatusInternalServerError},
	{"conflict", backend.ErrConflict, http.StatusPreconditionFailed},
	{"not-exist", backend.ErrNotExist, http.StatusNotFound},
	{"not-held", lock.ErrNotHeld, http.StatusConflict},
	{"invalid-name", backend.ErrInvalidName, http.StatusBadRequest},
	{"invalid", backend.ErrInvalid, http.StatusBadRequest},
	{"too-large", backend.ErrTooLarge, http.StatusRequestEntityTooLarge},
	{"permission", backend.ErrPermission, http.StatusForbidden},
	{"corrupt", backend.ErrCorrupt, http.StatusInternalServerError},
	{"no-store", backend.ErrNoStore, http.StatusInternalServerError},
	{"unsupported", errors.ErrUnsupported, http.StatusNotImplemented},
	{"transient", backend.ErrTransient, http.StatusServiceUnavailable},
}

// Held is the name of the kind of a *lock.HeldError, and its status; the holder is in
// the body.
const (
	Held       = "held"
	HeldStatus = http.StatusLocked
)

// Refusal returns the name, status and sentinel of err's kind; ok is false if it is
// of none.
func Refusal(err error) (name string, status int, sentinel error, ok bool) {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.name, k.status, k.err, true
		}
	}
	return "", 0, nil, false
}

// Kind returns the kind of that name, or nil.
func Kind(name string) error {
	for _, k := range kinds {
		if k.name == name {
			return k.err
		}
	}
	return nil
}

// ETag returns the entity tag of a revision.
func ETag(r backend.Revision) string {
	return `"` + base64.RawURLEncoding.EncodeToString([]byte(r)) + `"`
}

// Revision returns the revision of an entity tag; ok is false if that is none of
// ETag's. A tag marked as weak, as a proxy that compresses may do, still names the
// revision.
func Revision(etag string) (r backend.Revision, ok bool) {
	etag = strings.TrimPrefix(etag, "W/")
	text, err := base64.RawURLEncoding.DecodeString(strings.Trim(etag, `"`))
	r = backend.Revision(text)
	// The decoder lets newlines pass, and several texts for one.
	if err != nil || r == "" || r == backend.AnyRevision || ETag(r) != etag {
		return "", false
	}
	return r, true
}
