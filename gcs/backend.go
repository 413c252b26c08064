package gcs

import (
	"context"
	"errors"
	"iter"
	"path"
	"strconv"
	"strings"
	"sync/atomic"

	"cloud.google.com/go/storage"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/limit"
	"github.com/statelatch/statelatch/lock"
	"google.golang.org/api/iterator"
)

var (
	_ backend.Backend   = (*Backend)(nil)
	_ backend.Stater    = (*Backend)(nil)
	_ backend.Historian = (*Backend)(nil)
	_ lock.Locker       = (*Backend)(nil)
)

// Backend keeps states in a bucket, one object each. Open it with [New].
type Backend struct {
	config *Config // behind a pointer, so that printing the Backend shows no Secret
	client *storage.Client
	bucket *storage.BucketHandle
	csek   *[32]byte   // the customer-supplied key, or nil
	own    bool        // the client was made by New
	asks   bool        // it makes no request without one of our tokens
	found  atomic.Bool // something has shown that there is a bucket
}

func (b *Backend) stateName(workspace string) string {
	return path.Join(b.config.Prefix, workspace+".tfstate")
}

func (b *Backend) lockName(workspace string) string {
	return path.Join(b.config.Prefix, workspace+".tflock")
}

// Read implements [backend.Backend]: one GET.
func (b *Backend) Read(ctx context.Context, workspace string) (backend.State, error) {
	c, err := b.call(ctx, "read", workspace, b.stateName)
	if err != nil {
		return backend.State{}, err
	}
	return b.read(ctx, c, b.state(c))
}

func (b *Backend) read(ctx context.Context, c call, handle *storage.ObjectHandle) (backend.State, error) {
	obj, err := b.get(ctx, c, handle, limit.Of(b.config.MaxSize))
	if err != nil {
		return backend.State{}, err
	}
	if len(obj.data) == 0 {
		return backend.State{}, c.failed(backend.ErrNotExist, nil)
	}
	return backend.State{Data: obj.data, Revision: revision(obj.generation), Modified: obj.modified}, nil
}

// Stat implements [backend.Stater]: one GET of the attributes.
func (b *Backend) Stat(ctx context.Context, workspace string) (backend.Revision, error) {
	c, err := b.call(ctx, "stat", workspace, b.stateName)
	if err != nil {
		return "", err
	}
	generation, err := b.stat(ctx, c)
	if err != nil {
		return "", err
	}
	return revision(generation), nil
}

// stat returns the generation of the state; an empty object counts as none.
func (b *Backend) stat(ctx context.Context, c call) (generation int64, err error) {
	attrs, err := b.attrs(ctx, c, b.state(c))
	switch {
	case err != nil:
		return 0, err
	case attrs.Size == 0:
		return 0, c.failed(backend.ErrNotExist, nil)
	}
	return attrs.Generation, nil
}

// Write implements [backend.Backend]: one upload.
func (b *Backend) Write(ctx context.Context, workspace string, data []byte, cond backend.Condition) (backend.Revision, error) {
	c, err := b.call(ctx, "write", workspace, b.stateName)
	if err != nil {
		return "", err
	}
	switch most := limit.Of(b.config.MaxSize); {
	case len(data) == 0:
		return "", c.failed(backend.ErrInvalid, errors.New("an empty state is none; use Delete"))
	case int64(len(data)) > most:
		return "", c.failed(backend.ErrTooLarge, limit.Exceeded(int64(len(data)), most))
	}
	replaces, err := c.generation(cond.Revision)
	if err != nil {
		return "", err
	}
	p := newPut(b.state(c), data, replaces, b.config.KMSEncryptionKey)
	generation, err := b.put(ctx, c, p)
	if cond.Revision == "" && errors.Is(err, backend.ErrConflict) {
		// An empty object counts as none: take its place instead.
		attrs, failed := b.attrs(ctx, c, p.handle)
		if failed == nil && attrs.Size == 0 {
			p.replaces = attrs.Generation
			generation, err = b.put(ctx, c, p)
		}
	}
	if err != nil {
		return "", err
	}
	return revision(generation), nil
}

// Delete implements [backend.Backend]: one DELETE on the generation; without a
// revision to go by, the generation is asked for first.
func (b *Backend) Delete(ctx context.Context, workspace string, cond backend.Condition) error {
	c, err := b.call(ctx, "delete", workspace, b.stateName)
	if err != nil {
		return err
	}
	if generation, err := c.generation(cond.Revision); err == nil && generation > 0 {
		return b.remove(ctx, c, b.state(c), generation)
	}
	for range 4 {
		generation, err := b.stat(ctx, c)
		if err != nil {
			return err
		}
		if cond.Revision != backend.AnyRevision {
			return c.failed(backend.ErrConflict, nil)
		}
		if err := b.remove(ctx, c, b.state(c), generation); !errors.Is(err, backend.ErrConflict) {
			return err
		}
	}
	return c.failed(backend.ErrTransient, errors.New("it was replaced all the time"))
}

// List implements [backend.Backend]: one request for each page of objects under the
// prefix.
func (b *Backend) List(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		prefix := strings.TrimSuffix(b.stateName("x"), "x.tfstate")
		c := call{op: "list", object: prefix, backend: b}
		if ctx.Err() != nil {
			yield("", c.failed(ctx.Err(), nil))
			return
		}
		for attrs, err := range b.objects(ctx, prefix) {
			if err != nil {
				yield("", b.readError(ctx, c, toList, err))
				return
			}
			b.found.Store(true)
			name, isState := strings.CutSuffix(strings.TrimPrefix(attrs.Name, prefix), ".tfstate")
			if isState && attrs.Size > 0 && backend.CheckWorkspace(name) == nil && !yield(name, nil) {
				return
			}
		}
	}
}

// objects lists what is directly under prefix. Each page may be asked for again, as
// any read may.
func (b *Backend) objects(ctx context.Context, prefix string) iter.Seq2[*storage.ObjectAttrs, error] {
	return func(yield func(*storage.ObjectAttrs, error) bool) {
		query := &storage.Query{Prefix: prefix, Delimiter: "/", Projection: storage.ProjectionNoACL}
		err := query.SetAttrSelection([]string{"Name", "Size"})
		if err != nil {
			yield(nil, err)
			return
		}
		objects := b.bucket.Retryer(storage.WithMaxAttempts(5)).Objects(ctx, query)
		for {
			attrs, err := objects.Next()
			if errors.Is(err, iterator.Done) || !yield(attrs, err) || err != nil {
				return
			}
		}
	}
}

// Close implements [backend.Backend]: it closes a client that was made by New.
func (b *Backend) Close() error {
	if b.own {
		return b.client.Close()
	}
	return nil
}

// state returns the handle of a state, with the customer's key.
func (b *Backend) state(c call) *storage.ObjectHandle { return b.handle(c, b.csek) }

func revision(generation int64) backend.Revision {
	return backend.Revision(strconv.FormatInt(generation, 10))
}

// anyGeneration stands for backend.AnyRevision; 0 means that there is none.
const anyGeneration = -1

// generation reads a revision. One that is none of ours cannot hold.
func (c call) generation(r backend.Revision) (int64, error) {
	switch r {
	case "":
		return 0, nil
	case backend.AnyRevision:
		return anyGeneration, nil
	}
	generation, err := strconv.ParseInt(string(r), 10, 64)
	if err != nil || generation <= 0 {
		return 0, c.failed(backend.ErrConflict, errors.New("the revision is not a generation"))
	}
	return generation, nil
}

// A call is one call of one of the Backend's methods.
type call struct {
	op        string
	workspace string
	object    string // what it is about
	backend   *Backend
}

// call starts a call: it checks its arguments. name gives the object that it is about.
func (b *Backend) call(ctx context.Context, op, workspace string, name func(string) string) (call, error) {
	c := call{op, workspace, "", b}
	if err := backend.CheckWorkspace(workspace); err != nil {
		return c, c.failed(err, nil)
	}
	c.object = name(workspace)
	if ctx.Err() != nil {
		return c, c.failed(ctx.Err(), nil)
	}
	return c, nil
}
