package consul

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/limit"
	"github.com/statelatch/statelatch/lock"
)

var (
	_ backend.Backend = (*Backend)(nil)
	_ backend.Stater  = (*Backend)(nil)
	_ lock.Locker     = (*Backend)(nil)
	_ lock.Renewer    = (*Backend)(nil)
	_ lock.Waiter     = (*Backend)(nil)
	_ lock.Watcher    = (*Backend)(nil)
	_ lock.Leaser     = (*Backend)(nil)
)

// Backend keeps states in Consul's key-value store. Open it with [New].
type Backend struct {
	config    *Config // behind a pointer, so that printing the Backend shows no Secret
	client    *api.Client
	transport http.RoundTripper // of a client that was made by New
}

// Read implements [backend.Backend]: one GET, and one transaction for 16 chunks each.
func (b *Backend) Read(ctx context.Context, workspace string) (backend.State, error) {
	c, err := b.call(ctx, "read", workspace)
	if err != nil {
		return backend.State{}, err
	}
	last := uint64(0)
	for range 10 {
		pair, err := b.state(ctx, c)
		if err != nil {
			return backend.State{}, err
		}
		st, err := b.decode(ctx, c, pair)
		switch {
		case !errors.Is(err, errChunkGone):
			return st, err
		case pair.ModifyIndex == last: // nobody has replaced it
			return st, c.failed(backend.ErrCorrupt, errChunkGone)
		}
		last = pair.ModifyIndex
	}
	return backend.State{}, c.failed(backend.ErrTransient, errors.New("it was replaced again each time before it was read"))
}

// Stat implements [backend.Stater]: one GET.
func (b *Backend) Stat(ctx context.Context, workspace string) (backend.Revision, error) {
	c, err := b.call(ctx, "stat", workspace)
	if err != nil {
		return "", err
	}
	pair, err := b.state(ctx, c)
	if err != nil {
		return "", err
	}
	return revisionOf(pair), nil
}

// Write implements [backend.Backend]: one transaction. Where the state that is
// written or replaced is in chunks, or may be ([backend.AnyRevision]), one GET more;
// one PUT for each new chunk; and GET and transaction for each 60 old ones.
func (b *Backend) Write(ctx context.Context, workspace string, data []byte, cond backend.Condition) (backend.Revision, error) {
	c, err := b.call(ctx, "write", workspace)
	if err != nil {
		return "", err
	}
	if len(data) == 0 {
		return "", c.failed(backend.ErrInvalid, errors.New("an empty state is none; use Delete"))
	}
	if err := c.checkSize(len(data)); err != nil {
		return "", err
	}
	modified, chunked, err := c.parse(cond.Revision)
	if err != nil {
		return "", err
	}
	value, chunks, err := b.encode(c, data)
	if err != nil {
		return "", err
	}
	var old []string
	if chunked || chunks != nil {
		if old, err = b.replacing(ctx, c, cond.Revision); err != nil {
			return "", err
		}
	}
	if err := b.storeChunks(ctx, c, chunks); err != nil {
		b.deleteChunks(ctx, c, keysOf(chunks))
		return "", err
	}
	modified, err = b.replace(ctx, c, value, modified, cond)
	if err != nil {
		if !errors.Is(err, backend.ErrUnknown) {
			b.deleteChunks(ctx, c, keysOf(chunks))
		}
		return "", err
	}
	b.deleteChunks(ctx, c, old)
	return revision(modified, chunks != nil), nil
}

// Delete implements [backend.Backend]: one GET, for the chunks, and one transaction;
// where there are chunks, two more.
func (b *Backend) Delete(ctx context.Context, workspace string, cond backend.Condition) error {
	c, err := b.call(ctx, "delete", workspace)
	if err != nil {
		return err
	}
	pair, err := b.state(ctx, c)
	switch {
	case err != nil:
		return err
	case cond.Revision != backend.AnyRevision && cond.Revision != revisionOf(pair):
		return c.failed(backend.ErrConflict, nil)
	}
	err = b.remove(ctx, c, pair.ModifyIndex, cond)
	if err == nil {
		b.deleteChunks(ctx, c, c.chunksOf(pair))
	}
	if !errors.Is(err, backend.ErrConflict) {
		return err
	}
	if _, gone := b.state(ctx, c); gone != nil {
		return gone
	}
	if cond.Revision == backend.AnyRevision {
		return c.failed(backend.ErrTransient, errors.New("it was replaced while it was being deleted"))
	}
	return err
}

// List implements [backend.Backend]: one request.
func (b *Backend) List(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		c := call{op: "list", backend: b}
		if ctx.Err() != nil {
			yield("", c.failed(ctx.Err(), nil))
			return
		}
		keys, err := b.keys(ctx, c)
		if err != nil {
			yield("", err)
			return
		}
		for _, key := range keys {
			name, ok := strings.CutPrefix(key, b.config.Path+workspaces)
			if key == b.config.Path {
				name, ok = backend.DefaultWorkspace, true
			} else if name == backend.DefaultWorkspace {
				ok = false // another's: this name has another key
			}
			if ok && backend.CheckWorkspace(name) == nil && !yield(name, nil) {
				return
			}
		}
	}
}

// Close implements [backend.Backend]: it closes the connections of a client that
// was made by New.
func (b *Backend) Close() error {
	if b.transport != nil {
		(&http.Client{Transport: b.transport}).CloseIdleConnections()
	}
	return nil
}

// A call is one call of one of the Backend's methods.
type call struct {
	op        string
	workspace string
	key       string // of the workspace's state
	backend   *Backend
}

// call starts a call: it checks its arguments.
func (b *Backend) call(ctx context.Context, op, workspace string) (call, error) {
	c := call{op: op, workspace: workspace, backend: b}
	if err := backend.CheckWorkspace(workspace); err != nil {
		return c, c.failed(err, nil)
	}
	if ctx.Err() != nil {
		return c, c.failed(ctx.Err(), nil)
	}
	c.key = b.config.Path
	if workspace != backend.DefaultWorkspace {
		c.key += workspaces + workspace
	}
	return c, nil
}

// workspaces is what lies between the path and the name of a workspace.
const workspaces = "-env:"

// below is the prefix of the keys that belong to a state.
func (c call) below() string { return strings.TrimRight(c.key, "/") + "/" }

func (c call) checkSize(size int) error {
	if most := limit.Of(c.backend.config.MaxSize); int64(size) > most {
		return c.failed(backend.ErrTooLarge, limit.Exceeded(int64(size), most))
	}
	return nil
}
