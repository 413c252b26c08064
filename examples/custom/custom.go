// Package custom is a backend of one's own: states, and locks, in a key-value store
// that speaks HTTP. All it asks of the store is If-Match and If-None-Match.
package custom

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"strings"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

var _ backend.Backend = (*store)(nil)
var _ lock.Locker = (*store)(nil)

// Config says where the store is. A Mux fills it in from kv://HOST/PREFIX, too.
type Config struct {
	Host   string `setting:"host,required" url:"host"`
	Prefix string `setting:"prefix" url:"path"`
}

// Driver opens such backends: type "kv".
var Driver = backend.NewDriver(func(_ context.Context, c Config) (backend.Backend, error) {
	return &store{"http://" + c.Host + "/" + c.Prefix, http.Client{Transport: &http.Transport{}, CheckRedirect: stay}}, nil
}, "kv")

// A redirected PUT would become a GET, and its page a success.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// A store keeps states at url/states/NAME and locks at url/locks/NAME.
type store struct {
	url    string
	client http.Client
}

func (s *store) Read(ctx context.Context, workspace string) (backend.State, error) {
	return s.do(ctx, "read", "GET", "/states/", workspace, nil, backend.AnyRevision)
}

func (s *store) Write(ctx context.Context, workspace string, data []byte, cond backend.Condition) (backend.Revision, error) {
	if len(data) == 0 {
		return "", failure("write", workspace, backend.ErrInvalid, nil)
	}
	st, err := s.do(ctx, "write", "PUT", "/states/", workspace, data, cond.Revision)
	return st.Revision, err
}

func (s *store) Delete(ctx context.Context, workspace string, cond backend.Condition) error {
	_, err := s.do(ctx, "delete", "DELETE", "/states/", workspace, nil, cond.Revision)
	return err
}

func (s *store) List(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		names, err := s.do(ctx, "list", "GET", "/states/", "", nil, backend.AnyRevision)
		for name := range strings.FieldsSeq(string(names.Data)) {
			if !yield(name, nil) {
				return
			}
		}
		if err != nil {
			yield("", err)
		}
	}
}

func (s *store) Close() error { s.client.CloseIdleConnections(); return nil }

func (s *store) Lock(ctx context.Context, workspace string, info lock.Info) (lock.Info, error) {
	record, err := info.Record()
	if err != nil || info.TTL != 0 {
		return lock.Info{}, failure("lock", workspace, errors.ErrUnsupported, err)
	}
	// Whoever creates the record has the lock.
	_, err = s.do(ctx, "lock", "PUT", "/locks/", workspace, record, "")
	switch {
	case err == nil:
		return info, nil
	case errors.Is(err, backend.ErrUnknown):
		return lock.Info{}, &lock.UnknownError{Workspace: workspace, ID: info.ID, Err: err}
	case !errors.Is(err, backend.ErrConflict):
		return lock.Info{}, err
	}
	holder, err := s.Holder(ctx, workspace)
	if errors.Is(err, lock.ErrNotHeld) { // released in between
		return s.Lock(ctx, workspace, info)
	}
	return lock.Info{}, cmp.Or[error](err, &lock.HeldError{Workspace: workspace, Holder: holder})
}

func (s *store) Unlock(ctx context.Context, workspace, id string) error {
	holder, seen, err := s.holder(ctx, "unlock", workspace)
	if err != nil || holder.ID != id {
		return cmp.Or[error](err, &lock.HeldError{Workspace: workspace, Holder: holder})
	}
	// This deletes the record that was seen, and no other.
	_, err = s.do(ctx, "unlock", "DELETE", "/locks/", workspace, nil, seen)
	if errors.Is(err, backend.ErrConflict) || errors.Is(err, backend.ErrNotExist) {
		return s.Unlock(ctx, workspace, id) // another came in between: look again
	}
	return err
}

func (s *store) Holder(ctx context.Context, workspace string) (lock.Info, error) {
	info, _, err := s.holder(ctx, "holder", workspace)
	return info, err
}

func (s *store) holder(ctx context.Context, op, workspace string) (lock.Info, backend.Revision, error) {
	record, err := s.do(ctx, op, "GET", "/locks/", workspace, nil, backend.AnyRevision)
	if errors.Is(err, backend.ErrNotExist) {
		err = failure(op, workspace, lock.ErrNotHeld, nil)
	}
	if err != nil {
		return lock.Info{}, "", err
	}
	return lock.ParseInfo(record.Data, string(record.Revision)), record.Revision, nil
}

var kinds = map[int]error{403: backend.ErrPermission, 404: backend.ErrNotExist, 412: backend.ErrConflict}
var lost = map[string]error{"GET": backend.ErrTransient, "PUT": backend.ErrUnknown, "DELETE": backend.ErrUnknown}

// do makes one request, on condition that rev is there. Without a reply, it is lost.
func (s *store) do(ctx context.Context, op, method, folder, workspace string, body []byte, rev backend.Revision) (backend.State, error) {
	if err := backend.CheckWorkspace(workspace); err != nil && op != "list" {
		return backend.State{}, failure(op, workspace, err, nil)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+folder+workspace, bytes.NewReader(body))
	if err != nil || ctx.Err() != nil {
		return backend.State{}, failure(op, workspace, ctx.Err(), err) // not sent
	}
	if rev == "" {
		req.Header.Set("If-None-Match", "*")
	} else if rev != backend.AnyRevision {
		req.Header.Set("If-Match", string(rev))
	}
	reply, err := s.client.Do(req)
	if err != nil {
		return backend.State{}, failure(op, workspace, lost[method], err)
	}
	defer reply.Body.Close()
	data, err := io.ReadAll(reply.Body)
	if err != nil || reply.StatusCode != http.StatusOK {
		return backend.State{}, failure(op, workspace, cmp.Or(kinds[reply.StatusCode], lost[method]), err)
	}
	return backend.State{Data: data, Revision: backend.Revision(reply.Header.Get("ETag"))}, nil
}

func failure(op, workspace string, kind, err error) error {
	return &backend.Error{Op: op, Backend: "kv", Workspace: workspace, Kind: kind, Err: err}
}
