package httpbackend

import (
	"bytes"
	"context"
	"crypto/md5" // the protocol's own checksum
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/internal/wire"
	"github.com/statelatch/statelatch/internal/limit"
	"github.com/statelatch/statelatch/internal/settle"
)

// A state is what a GET returned; the zero state is none.
type state struct {
	backend.State
	etag  string // of a plain server, if it is a strong one
	empty bool   // none, but something of no bytes is there
}

// get fetches the state.
func (b *Backend) get(ctx context.Context, c call) (state, error) {
	c.changes = false
	return attempts(ctx, c, b.getOnce, settle.Request[state]{})
}

func (b *Backend) getOnce(ctx context.Context, c call) (state, error) {
	c.changes = false
	most := limit.Of(b.config.MaxSize)
	r, err := b.send(ctx, c, request{method: http.MethodGet, url: b.state.of(c.workspaceOrDefault()), limit: most})
	switch {
	case err != nil:
		return state{}, err
	case r.status == http.StatusOK && r.length > most:
		return state{}, c.failed(backend.ErrTooLarge, limit.Exceeded(r.length, most))
	case r.status == http.StatusOK && len(r.body) == 0:
		return state{etag: r.strongETag(), empty: true}, c.failed(backend.ErrNotExist, nil)
	case r.status == http.StatusNoContent:
		return state{}, c.failed(backend.ErrNotExist, nil)
	case r.status != http.StatusOK:
		return state{}, c.refused(r)
	}
	st := state{State: backend.State{Data: r.body}}
	if modified, err := http.ParseTime(r.header.Get("Last-Modified")); err == nil {
		st.Modified = modified
	}
	if r.ours {
		st.Revision, err = c.revision(r)
	} else {
		st.Revision, st.etag = digest(r.body), r.strongETag()
	}
	if err == nil && !intact(r) {
		err = c.failed(backend.ErrCorrupt, errors.New("its Content-MD5 is another"))
	}
	return st, err
}

// workspaceOrDefault is for List, which concerns no workspace.
func (c call) workspaceOrDefault() string {
	if c.workspace == "" {
		return backend.DefaultWorkspace
	}
	return c.workspace
}

// strongETag returns the ETag that a plain server may compare; "" if there is none.
func (r *reply) strongETag() string {
	etag := r.header.Get("ETag")
	if !strings.HasPrefix(etag, `"`) {
		return ""
	}
	return etag
}

// intact compares the body with its checksum, where there is one.
func intact(r *reply) bool {
	sent, err := base64.StdEncoding.DecodeString(r.header.Get("Content-Md5"))
	sum := md5.Sum(r.body)
	return err != nil || len(sent) == 0 || bytes.Equal(sent, sum[:])
}

// revision reads the revision in a reply of our server.
func (c call) revision(r *reply) (backend.Revision, error) {
	rev, ok := wire.Revision(r.header.Get("ETag"))
	if ok {
		return rev, nil
	}
	kind := backend.ErrInvalid
	if c.changes {
		kind = backend.ErrUnknown
	}
	return "", c.failed(kind, errors.New("the reply has lost its ETag on the way"))
}

// digest is the revision of a state on a plain server.
func digest(data []byte) backend.Revision {
	sum := sha256.Sum256(data)
	return backend.Revision(hex.EncodeToString(sum[:]))
}

// A change is a write or a deletion.
type change struct {
	call
	method string
	data   []byte // nil for a deletion
	cond   backend.Condition
	token  string
}

func newChange(c call, method string, data []byte, cond backend.Condition) change {
	c.changes = true
	return change{c, method, data, cond, rand.Text()}
}

// change makes a change, and finds out what became of it if no reply tells.
func (b *Backend) change(ctx context.Context, ch change) (backend.Revision, error) {
	if ch.data != nil && ch.cond.Revision == backend.AnyRevision {
		return b.blindly(ctx, ch)
	}
	if b.isOurs() {
		return b.conditionally(ctx, ch)
	}
	st, err := b.get(ctx, ch.call)
	switch {
	case err != nil && !errors.Is(err, backend.ErrNotExist) && !b.isOurs():
		return "", err
	case b.isOurs():
		return b.conditionally(ctx, ch)
	}
	return b.carefully(ctx, ch, st)
}

// blindly writes whatever is there. It is not made again once it may have arrived.
func (b *Backend) blindly(ctx context.Context, ch change) (backend.Revision, error) {
	return attempts(ctx, ch.call, func(ctx context.Context, c call) (backend.Revision, error) {
		return b.changeOnce(ctx, c, ch, nil)
	}, settle.Request[backend.Revision]{Once: true, Unknown: ch.unknown})
}

// conditionally leaves the condition to our server, which knows the call again if it
// is made a second time, or else refuses it.
func (b *Backend) conditionally(ctx context.Context, ch change) (backend.Revision, error) {
	condition := http.Header{}
	switch ch.cond.Revision {
	case backend.AnyRevision:
	case "":
		condition.Set("If-None-Match", "*")
	default:
		condition.Set("If-Match", wire.ETag(ch.cond.Revision))
	}
	return attempts(ctx, ch.call, func(ctx context.Context, c call) (backend.Revision, error) {
		return b.changeOnce(ctx, c, ch, condition)
	}, settle.Request[backend.Revision]{
		Look:    again[backend.Revision],
		Once:    ch.cond.Revision == backend.AnyRevision,
		Unknown: ch.unknown,
	})
}

// carefully compares with what is there, st, before it changes that.
func (b *Backend) carefully(ctx context.Context, ch change, st state) (backend.Revision, error) {
	seen := &st
	return attempts(ctx, ch.call, func(ctx context.Context, c call) (backend.Revision, error) {
		now := seen
		if seen = nil; now == nil { // it is made again
			st, err := b.getOnce(ctx, c)
			if err != nil && !errors.Is(err, backend.ErrNotExist) {
				return "", err
			}
			now = &st
		}
		if ch.data == nil {
			return "", b.removeOnce(ctx, c, ch, *now)
		}
		return b.replaceOnce(ctx, c, ch, *now)
	}, settle.Request[backend.Revision]{
		Look:    func(ctx context.Context) (backend.Revision, settle.Found, error) { return b.lookAt(ctx, ch, st) },
		Unknown: ch.unknown,
	})
}

// replaceOnce makes a change of st, if that is what it is to change.
func (b *Backend) replaceOnce(ctx context.Context, c call, ch change, st state) (backend.Revision, error) {
	if err := ch.check(st); err != nil {
		return "", err
	}
	rev, err := b.changeOnce(ctx, c, ch, st.condition())
	if ch.data == nil || !errors.Is(err, backend.ErrConflict) {
		return rev, err
	}
	return b.inConflict(ctx, c, ch, st, err)
}

// inConflict finds out whether a write that was refused may have been made all the same:
// one that was delivered twice, which middleboxes do, is refused against itself. If what
// was in the way of a creation has no bytes, the write is made on top of that.
func (b *Backend) inConflict(ctx context.Context, c call, ch change, st state, conflict error) (backend.Revision, error) {
	now, err := b.getOnce(ctx, c)
	switch {
	case errors.Is(err, backend.ErrNotExist) && now.empty && st.Data == nil:
		return b.changeOnce(ctx, c, ch, now.condition())
	case errors.Is(err, backend.ErrNotExist), err == nil && !bytes.Equal(now.Data, ch.data):
		return "", conflict
	}
	return "", c.later(c.failed(backend.ErrUnknown, errors.New(conflict.Error())), 0) // look whose it is
}

// removeOnce deletes st. Where the server says that it is not there any longer, another
// state may be, or none.
func (b *Backend) removeOnce(ctx context.Context, c call, ch change, st state) error {
	for range 8 {
		_, err := b.replaceOnce(ctx, c, ch, st)
		if !errors.Is(err, backend.ErrConflict) || ch.check(st) != nil {
			return err
		}
		now, failed := b.getOnce(ctx, c)
		switch {
		case failed != nil: // mostly that there is none
			return failed
		case ch.cond.Revision != backend.AnyRevision:
			return err
		}
		st = now
	}
	return c.failed(backend.ErrTransient, errors.New("it was replaced all the time"))
}

// check compares the condition with what is there.
func (ch change) check(st state) error {
	switch rev := ch.cond.Revision; {
	case ch.data == nil && st.Data == nil:
		return ch.failed(backend.ErrNotExist, nil)
	case rev == backend.AnyRevision, rev == st.Revision:
		return nil
	}
	return ch.failed(backend.ErrConflict, nil)
}

// condition is what a plain server may honour.
func (st state) condition() http.Header {
	switch {
	case st.etag != "":
		return http.Header{"If-Match": {st.etag}}
	case st.Data == nil && !st.empty:
		return http.Header{"If-None-Match": {"*"}}
	}
	return nil
}

// lookAt finds out whether a change was applied by a plain server. What is as it
// should be is this call's work if no other has the right to do it.
func (b *Backend) lookAt(ctx context.Context, ch change, before state) (backend.Revision, settle.Found, error) {
	now, err := b.get(ctx, ch.call)
	switch {
	case err != nil && !errors.Is(err, backend.ErrNotExist):
		return "", settle.Other, err
	case now.Revision == before.Revision:
		return "", settle.Before, nil
	case ch.cond.LockID != "" && bytes.Equal(now.Data, ch.data):
		return now.Revision, settle.Ours, nil
	}
	return "", settle.Other, nil
}

// changeOnce makes the request.
func (b *Backend) changeOnce(ctx context.Context, c call, ch change, condition http.Header) (backend.Revision, error) {
	q := request{method: ch.method, url: b.state.of(c.workspace), body: ch.data, limit: 4 << 10, header: http.Header{wire.Call: {ch.token}}}
	maps.Copy(q.header, condition)
	if ch.cond.LockID != "" {
		q.query = url.Values{wire.ID: {ch.cond.LockID}}
	}
	r, err := b.send(ctx, c, q)
	switch {
	case err != nil:
		return "", err
	case r.status == http.StatusNotFound && ch.data == nil:
		return "", c.failed(backend.ErrNotExist, nil)
	case !r.ok() || r.status > http.StatusNoContent:
		return "", c.refused(r)
	case ch.data == nil:
		return "", nil
	case r.ours:
		return c.revision(r)
	}
	return digest(ch.data), nil
}

func (ch change) unknown(why error) error { return ch.failed(backend.ErrUnknown, why) }
