package httpbackend

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/internal/wire"
	"github.com/statelatch/statelatch/internal/limit"
	"github.com/statelatch/statelatch/internal/settle"
	"github.com/statelatch/statelatch/lock"
)

var (
	_ backend.Backend = (*Backend)(nil)
	_ backend.Stater  = (*Backend)(nil)
	_ lock.Locker     = (*Backend)(nil)
	_ lock.Renewer    = (*Backend)(nil)
)

// Backend keeps a state behind a URL. Open it with [New].
type Backend struct {
	config              *Config  // behind a pointer, so that printing the Backend shows no Secret
	state, lock, unlock *address // nil where not set
	client              http.Client
	own                 *http.Transport // made by New
	server              atomic.Int32    // what kind it is

	mu   sync.Mutex
	took map[string]taken // by workspace
}

// Read implements [backend.Backend]: one GET.
func (b *Backend) Read(ctx context.Context, workspace string) (backend.State, error) {
	c, err := b.call(ctx, "read", workspace, b.state)
	if err != nil {
		return backend.State{}, err
	}
	st, err := b.get(ctx, c)
	return st.State, err
}

// Stat implements [backend.Stater]: one HEAD, but one GET where the server is a plain
// one.
func (b *Backend) Stat(ctx context.Context, workspace string) (backend.Revision, error) {
	c, err := b.call(ctx, "stat", workspace, b.state)
	if err != nil {
		return "", err
	}
	if !b.isOurs() {
		st, err := b.get(ctx, c)
		return st.Revision, err
	}
	return attempts(ctx, c, func(ctx context.Context, c call) (backend.Revision, error) {
		r, err := b.send(ctx, c, request{method: http.MethodHead, url: b.state.of(workspace)})
		if err != nil {
			return "", err
		}
		if !r.ok() {
			return "", c.refused(r)
		}
		return c.revision(r)
	}, settle.Request[backend.Revision]{})
}

// Write implements [backend.Backend]: one POST, or whatever method is configured; on a
// plain server a GET before it, unless any revision will do.
func (b *Backend) Write(ctx context.Context, workspace string, data []byte, cond backend.Condition) (backend.Revision, error) {
	c, err := b.call(ctx, "write", workspace, b.state)
	if err != nil {
		return "", err
	}
	switch most := limit.Of(b.config.MaxSize); {
	case len(data) == 0:
		return "", c.failed(backend.ErrInvalid, errors.New("an empty state is none; use Delete"))
	case int64(len(data)) > most:
		return "", c.failed(backend.ErrTooLarge, limit.Exceeded(int64(len(data)), most))
	}
	return b.change(ctx, newChange(c, b.config.UpdateMethod, data, cond))
}

// Delete implements [backend.Backend]: one DELETE; on a plain server a GET before it.
func (b *Backend) Delete(ctx context.Context, workspace string, cond backend.Condition) error {
	c, err := b.call(ctx, "delete", workspace, b.state)
	if err != nil {
		return err
	}
	_, err = b.change(ctx, newChange(c, http.MethodDelete, nil, cond))
	return err
}

// List implements [backend.Backend]: one GET, which only a server of this module
// answers. Without {workspace} in the address, there is at most the default workspace.
func (b *Backend) List(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		names, err := b.list(ctx, call{op: "list", place: where(b.state.of("")), backend: b})
		for _, name := range names {
			if !yield(name, nil) {
				return
			}
		}
		if err != nil {
			yield("", err)
		}
	}
}

func (b *Backend) list(ctx context.Context, c call) ([]string, error) {
	u, ok := b.state.list()
	switch {
	case ctx.Err() != nil:
		return nil, c.failed(ctx.Err(), nil)
	case !b.state.perWorkspace:
		_, err := b.get(ctx, c)
		switch {
		case errors.Is(err, backend.ErrNotExist):
			return nil, nil
		case err != nil:
			return nil, err
		}
		return []string{backend.DefaultWorkspace}, nil
	case !ok:
		return nil, c.failed(errors.ErrUnsupported, errors.New("only an address that ends in {workspace} can be listed"))
	}
	return attempts(ctx, c, func(ctx context.Context, c call) ([]string, error) { return b.listOnce(ctx, c, u) }, settle.Request[[]string]{})
}

func (b *Backend) listOnce(ctx context.Context, c call, u *url.URL) (names []string, err error) {
	r, err := b.send(ctx, c, request{method: http.MethodGet, url: u, limit: wire.MaxList})
	if err != nil {
		return nil, err
	}
	foreign := r.ok() || r.status == http.StatusNotFound || r.status == http.StatusMethodNotAllowed
	switch {
	case !b.isOurs() && foreign:
		return nil, c.failed(errors.ErrUnsupported, errors.New("this server cannot list its states"))
	case !r.ok():
		return nil, c.refused(r)
	}
	if err := json.Unmarshal(r.body, &names); err != nil {
		return nil, c.failed(backend.ErrCorrupt, errors.New("the list is not a list of names"))
	}
	for _, name := range names {
		if err := backend.CheckWorkspace(name); err != nil {
			return nil, c.failed(backend.ErrCorrupt, err)
		}
	}
	return names, nil
}

// Close implements [backend.Backend]: it closes idle connections that are its own.
func (b *Backend) Close() error {
	if b.own != nil {
		b.own.CloseIdleConnections()
	}
	return nil
}

// call starts a call: it checks its arguments. a is what it is about; nil if that is
// not configured.
func (b *Backend) call(ctx context.Context, op, workspace string, a *address) (call, error) {
	c := call{op: op, workspace: workspace, place: where(b.state.of("")), backend: b}
	if err := backend.CheckWorkspace(workspace); err != nil {
		return c, c.failed(err, nil)
	}
	switch {
	case ctx.Err() != nil:
		return c, c.failed(ctx.Err(), nil)
	case a == nil:
		return c, c.failed(errors.ErrUnsupported, errors.New("there is no lock_address, or no unlock_address"))
	case !a.perWorkspace && workspace != backend.DefaultWorkspace:
		return c, c.failed(errors.ErrUnsupported, errors.New("the address is that of one state; where it ends in {workspace}, there are others"))
	}
	c.place = where(a.of(workspace))
	return c, nil
}
