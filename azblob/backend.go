package azblob

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/limit"
	"github.com/statelatch/statelatch/lock"
)

var (
	_ backend.Backend = (*Backend)(nil)
	_ backend.Stater  = (*Backend)(nil)
	_ lock.Locker     = (*Backend)(nil)
	_ lock.Renewer    = (*Backend)(nil)
)

// Backend keeps states in a container, one blob each. Open it with [New].
type Backend struct {
	config    *Config // behind a pointer, so that printing the Backend shows no Secret
	container *container.Client
	idle      func() // closes the connections that New opened

	fresh time.Duration // how long Lock trusts what was seen; then a HEAD is cheaper

	mu   sync.Mutex
	seen map[string]*properties // the last that is known of a workspace's blob
	took map[string]taken       // the locks that this Backend took, by workspace
}

func (b *Backend) name(workspace string) string {
	if workspace == backend.DefaultWorkspace {
		return b.config.Key
	}
	return b.config.Key + "env:" + workspace
}

// Read implements [backend.Backend]: one GET.
func (b *Backend) Read(ctx context.Context, workspace string) (backend.State, error) {
	c, err := b.call(ctx, "read", workspace)
	if err != nil {
		return backend.State{}, err
	}
	data, p, err := b.get(ctx, c)
	if p == nil {
		return backend.State{}, err
	}
	if len(data) == 0 {
		return backend.State{}, c.failed(backend.ErrNotExist, nil)
	}
	return backend.State{Data: data, Revision: p.revision, Modified: p.modified}, err
}

// Stat implements [backend.Stater]: one HEAD.
func (b *Backend) Stat(ctx context.Context, workspace string) (backend.Revision, error) {
	c, err := b.call(ctx, "stat", workspace)
	if err != nil {
		return "", err
	}
	p, err := b.head(ctx, c, "")
	if err != nil {
		return "", err
	}
	if p.revision == "" {
		return "", c.failed(backend.ErrNotExist, nil)
	}
	return p.revision, nil
}

// Write implements [backend.Backend]: one PUT, after one HEAD unless this Backend has
// seen the state before, or creates it.
func (b *Backend) Write(ctx context.Context, workspace string, data []byte, cond backend.Condition) (backend.Revision, error) {
	c, err := b.call(ctx, "write", workspace)
	if err != nil {
		return "", err
	}
	switch most := limit.Of(b.config.MaxSize); {
	case len(data) == 0:
		return "", c.failed(backend.ErrInvalid, errors.New("an empty state is none; use Delete"))
	case int64(len(data)) > most:
		return "", c.failed(backend.ErrTooLarge, limit.Exceeded(int64(len(data)), most))
	}
	p := b.known(workspace)
	switch {
	case p != nil && (cond.Revision == p.revision || cond.Revision == backend.AnyRevision): // the PUT will tell
	case cond == backend.Condition{}:
		p = &properties{}
	default:
		p = nil
	}
	written, err := b.change(ctx, c, cond, p, func(p *properties) (*properties, error) {
		return b.replace(ctx, c, data, p, cond.LockID)
	})
	if err != nil {
		return "", err
	}
	return written.revision, nil
}

// Delete implements [backend.Backend]: a HEAD and a DELETE; or, under a lock or if
// there are snapshots, which go with the blob, a PUT of an empty one.
func (b *Backend) Delete(ctx context.Context, workspace string, cond backend.Condition) error {
	c, err := b.call(ctx, "delete", workspace)
	if err != nil {
		return err
	}
	_, err = b.change(ctx, c, cond, nil, func(p *properties) (*properties, error) {
		if p.revision == "" {
			return nil, c.failed(backend.ErrNotExist, nil)
		}
		if cond.LockID == "" && !b.config.Snapshot {
			if err := b.remove(ctx, c, p); !errors.Is(err, errSnapshots) {
				return nil, err
			}
		}
		return b.replace(ctx, c, nil, p, cond.LockID)
	})
	return err
}

// replace puts data in the place of the state that has the properties p.
func (b *Backend) replace(ctx context.Context, c call, data []byte, p *properties, lockID string) (*properties, error) {
	if err := b.snapshot(ctx, c, p, lockID); err != nil {
		return nil, err
	}
	return b.put(ctx, c, data, p, lockID)
}

// List implements [backend.Backend]: one request for each page of blobs whose names
// begin with the key.
func (b *Backend) List(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		c := call{op: "list", backend: b}
		if ctx.Err() != nil {
			yield("", c.failed(ctx.Err(), nil))
			return
		}
		pages := b.container.NewListBlobsHierarchyPager("/", &container.ListBlobsHierarchyOptions{Prefix: &b.config.Key})
		for pages.More() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield("", b.readError(ctx, c, err))
				return
			}
			if page.Segment == nil { // an empty list has one
				yield("", c.failed(backend.ErrInvalid, errors.New("whoever answers at this endpoint is no blob service: the reply is no list")))
				return
			}
			for _, item := range page.Segment.BlobItems {
				if name, ok := b.workspace(item); ok && !yield(name, nil) {
					return
				}
			}
		}
	}
}

// workspace returns which workspace's state a blob is.
func (b *Backend) workspace(item *container.BlobItem) (string, bool) {
	if item.Name == nil || item.Properties == nil || item.Properties.ContentLength == nil || *item.Properties.ContentLength == 0 {
		return "", false
	}
	if *item.Name == b.config.Key {
		return backend.DefaultWorkspace, true
	}
	name, ok := strings.CutPrefix(*item.Name, b.config.Key+"env:")
	return name, ok && name != backend.DefaultWorkspace && backend.CheckWorkspace(name) == nil
}

// Close implements [backend.Backend].
func (b *Backend) Close() error {
	b.idle()
	return nil
}

// A call is one call of one of the Backend's methods.
type call struct {
	op        string
	workspace string
	backend   *Backend
	blob      *blockblob.Client // of the workspace's state
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
	c.blob = b.container.NewBlockBlobClient(b.name(workspace))
	return c, nil
}

// known returns what was last seen of a workspace's blob, or nil.
func (b *Backend) known(workspace string) *properties {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seen[workspace]
}

func (b *Backend) remember(workspace string, p *properties) *properties {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen[workspace] = p
	return p
}

func (b *Backend) forget(workspace string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.seen, workspace)
}
