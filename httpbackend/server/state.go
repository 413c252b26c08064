package server

import (
	"bytes"
	"context"
	"crypto/md5" // the protocol's own checksum
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/internal/wire"
)

// get answers GET: the state.
func (x *exchange) get(ctx context.Context) error {
	st, err := x.backend.Read(ctx, x.workspace)
	if err != nil {
		return err
	}
	etag := wire.ETag(st.Revision)
	sum := md5.Sum(st.Data)
	h := x.w.Header()
	h.Set("ETag", etag)
	if !st.Modified.IsZero() {
		h.Set("Last-Modified", st.Modified.UTC().Format(http.TimeFormat))
	}
	if x.r.Header.Get("If-None-Match") == etag {
		x.status = http.StatusNotModified
		x.w.WriteHeader(x.status)
		return nil
	}
	h.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	x.send(http.StatusOK, "application/json", st.Data)
	return nil
}

// stat answers HEAD: the revision.
func (x *exchange) stat(ctx context.Context) error {
	rev, err := backend.Stat(ctx, x.backend, x.workspace)
	if err != nil {
		return err
	}
	x.w.Header().Set("ETag", wire.ETag(rev))
	x.status = http.StatusOK
	x.w.WriteHeader(x.status)
	return nil
}

// list answers GET of /: the names, as JSON.
func (x *exchange) list(ctx context.Context) error {
	names, size := []string{}, 0
	for name, err := range x.backend.List(ctx) {
		if err != nil {
			return err
		}
		if size += len(name) + 3; size > wire.MaxList {
			return &refusal{http.StatusInsufficientStorage, backend.ErrTooLarge, "there are too many workspaces to list", nil}
		}
		names = append(names, name)
	}
	x.sendJSON(http.StatusOK, names)
	return nil
}

// put answers POST and PUT: it writes the state.
func (x *exchange) put(ctx context.Context) error {
	sum := md5.Sum(x.data)
	sent, err := base64.StdEncoding.DecodeString(x.r.Header.Get("Content-Md5"))
	switch {
	case len(x.data) == 0:
		return invalid("an empty state is none; use DELETE")
	case err != nil || len(sent) > 0 && !bytes.Equal(sent, sum[:]):
		return invalid("the body is not what its Content-MD5 says")
	}
	return x.change(ctx, func(cond backend.Condition) (backend.Revision, error) {
		return x.backend.Write(ctx, x.workspace, x.data, cond)
	})
}

// delete answers DELETE.
func (x *exchange) delete(ctx context.Context) error {
	return x.change(ctx, func(cond backend.Condition) (backend.Revision, error) {
		return "", x.backend.Delete(ctx, x.workspace, cond)
	})
}

// change makes a change that the sender may make, under the condition that he sent.
func (x *exchange) change(ctx context.Context, make func(backend.Condition) (backend.Revision, error)) error {
	cond, exists, err := x.condition()
	if err != nil {
		return err
	}
	rev, _, err := x.calls.do(ctx, x.call(), func() (backend.Revision, error) {
		if cond.Revision == backend.AnyRevision {
			return x.pinned(ctx, cond, exists, make)
		}
		return x.guarded(ctx, cond, make)
	})
	if err != nil {
		return err
	}
	x.arrivals.changed(x.workspace, x.number)
	if rev != "" {
		x.w.Header().Set("ETag", wire.ETag(rev))
	}
	x.send(http.StatusOK, "text/plain; charset=utf-8", nil)
	return nil
}

// condition reads the condition, and whether a state must exist; without one it is
// AnyRevision.
func (x *exchange) condition() (cond backend.Condition, exists bool, err error) {
	cond.LockID = x.query.Get(wire.ID)
	match, none := x.r.Header.Values("If-Match"), x.r.Header.Values("If-None-Match")
	switch {
	case len(match)+len(none) > 1 || slices.ContainsFunc(match, hasComma):
		err = invalid("there may be one condition, of one tag")
	case len(none) == 1 && none[0] != "*":
		err = invalid("If-None-Match takes * alone")
	case len(none) == 1: // there is no state
	case len(match) == 0:
		cond.Revision = backend.AnyRevision
	case match[0] == "*":
		cond.Revision, exists = backend.AnyRevision, true
	default:
		var ok bool
		if cond.Revision, ok = wire.Revision(match[0]); !ok || match[0][0] == 'W' {
			err = backend.ErrConflict // not a tag of ours: it cannot hold
		}
	}
	return cond, exists, err
}

func hasComma(s string) bool { return strings.Contains(s, ",") }

// guarded makes a change under a lock that was looked at just before: many a Backend
// goes by the revision alone.
func (x *exchange) guarded(ctx context.Context, cond backend.Condition, make func(backend.Condition) (backend.Revision, error)) (rev backend.Revision, err error) {
	if cond.LockID, err = x.fence(ctx, cond.LockID); err != nil {
		return "", err
	}
	return make(cond)
}

// pinned makes a change that names no revision, as Terraform's do, on the one that was
// there before the lock was looked at. So whoever breaks the lock and writes in between
// is not overwritten. It is tried once: who still waits for the reply asks again.
func (x *exchange) pinned(ctx context.Context, cond backend.Condition, exists bool, make func(backend.Condition) (backend.Revision, error)) (backend.Revision, error) {
	now, err := backend.Stat(ctx, x.backend, x.workspace)
	switch {
	case errors.Is(err, backend.ErrNotExist) && exists:
		return "", backend.ErrConflict
	case err != nil && !errors.Is(err, backend.ErrNotExist):
		return "", err
	case x.call() == (key{}) && x.arrivals.passed(x.workspace, x.number):
		return x.overtaken(ctx, cond)
	}
	rev, err := x.guarded(ctx, backend.Condition{Revision: now, LockID: cond.LockID}, make)
	if errors.Is(err, backend.ErrConflict) {
		return x.overtaken(ctx, cond)
	}
	return rev, err
}

// overtaken answers a change that names no revision when another came in between. That
// may be this very request: its sender lost the first reply and made it again, and may
// have gone on from there. So what he asked for is done if it is there, and never put
// over what came after it.
func (x *exchange) overtaken(ctx context.Context, cond backend.Condition) (backend.Revision, error) {
	st, err := x.backend.Read(ctx, x.workspace)
	if _, lost := x.fence(ctx, cond.LockID); lost != nil {
		return "", lost
	}
	if err == nil && bytes.Equal(st.Data, x.data) {
		return st.Revision, nil
	}
	return "", &refusal{http.StatusServiceUnavailable, backend.ErrTransient, "another change came in between", nil}
}
