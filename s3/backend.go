package s3

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/limit"
	"github.com/statelatch/statelatch/internal/settle"
	"github.com/statelatch/statelatch/lock"
)

var (
	_ backend.Backend   = (*Backend)(nil)
	_ backend.Stater    = (*Backend)(nil)
	_ backend.Historian = (*Backend)(nil)
	_ lock.Locker       = (*Backend)(nil)
	_ lock.Renewer      = (*Backend)(nil)
)

// Backend keeps states in a bucket, one object each. Open it with [New].
type Backend struct {
	config   *Config // behind a pointer, so that printing the Backend shows no Secret
	s3       *s3.Client
	dynamodb *dynamodb.Client // nil unless a table is configured
	endpoint endpoint

	connections *http.Transport // of the clients that it made itself; nil if it was given them

	digestPause, digestLimit time.Duration // 0 = Terraform's; set by tests
	moment                   time.Duration // 0 = the constant; set by tests

	mu    sync.Mutex
	taken map[string]taken // the locks that this Backend took, by ID
}

// key returns the object of a workspace's state.
func (b *Backend) key(workspace string) string {
	if workspace == backend.DefaultWorkspace {
		return b.config.Key
	}
	return path.Join(b.config.WorkspaceKeyPrefix, workspace, b.config.Key)
}

// Read implements [backend.Backend]: one GET, and beside it one GetItem of the
// digest where a table is configured.
func (b *Backend) Read(ctx context.Context, workspace string) (backend.State, error) {
	c, err := b.call(ctx, "read", workspace)
	if err != nil {
		return backend.State{}, err
	}
	if b.dynamodb != nil {
		return b.readVerified(ctx, c)
	}
	obj, err := b.get(ctx, c, c.key)
	if err != nil {
		return backend.State{}, err
	}
	return obj.state(c)
}

// Stat implements [backend.Stater]: one HEAD. It does not verify the digest.
func (b *Backend) Stat(ctx context.Context, workspace string) (backend.Revision, error) {
	c, err := b.call(ctx, "stat", workspace)
	if err != nil {
		return "", err
	}
	obj, err := b.head(ctx, c, c.key)
	if err != nil {
		return "", err
	}
	if obj.size == 0 {
		return "", c.failed(backend.ErrNotExist, nil)
	}
	return obj.revision(), nil
}

// Write implements [backend.Backend]: one PUT, and the digest after it where a
// table is configured.
func (b *Backend) Write(ctx context.Context, workspace string, data []byte, cond backend.Condition) (backend.Revision, error) {
	c, err := b.call(ctx, "write", workspace)
	if err != nil {
		return "", err
	}
	switch most := b.limit(c, c.key); {
	case len(data) == 0:
		return "", c.failed(backend.ErrInvalid, errors.New("an empty state is none; use Delete"))
	case int64(len(data)) > most:
		return "", c.failed(backend.ErrTooLarge, limit.Exceeded(int64(len(data)), most))
	case cond.Revision != backend.AnyRevision && !isETag(cond.Revision):
		return "", c.failed(backend.ErrConflict, errors.New("no endpoint gives such a revision"))
	}
	if err := b.prepareWrite(ctx, c, cond.Revision); err != nil {
		return "", err
	}
	etag, err := b.replace(ctx, c, data, cond.Revision)
	if err != nil || b.dynamodb == nil {
		return backend.Revision(etag), b.agree(ctx, c, err)
	}
	if err := b.writeDigest(ctx, c, "written", string(cond.Revision), &object{data: data, etag: etag}, cond.LockID != ""); err != nil {
		return "", err
	}
	return backend.Revision(etag), nil
}

// isETag reports whether a revision means itself in a header: it is not trimmed, no
// list, and no wildcard.
func isETag(revision backend.Revision) bool {
	odd := func(r rune) bool { return r < ' ' || r > '~' || r == ',' || r == '*' }
	return !strings.ContainsFunc(string(revision), odd) && strings.TrimSpace(string(revision)) == string(revision)
}

// replace puts data in the place of revision.
func (b *Backend) replace(ctx context.Context, c call, data []byte, revision backend.Revision) (etag string, err error) {
	p := b.newPut(c.key, data, b.config.StateTags)
	switch revision {
	case backend.AnyRevision:
	case "":
		p.ifNoneMatch = "*"
	default:
		p.ifMatch = string(revision)
	}
	etag, err = b.put(ctx, c, p)
	if revision == "" && errors.Is(err, backend.ErrConflict) {
		empty, looked := b.overEmpty(ctx, c, p)
		if looked != nil {
			return "", looked
		}
		if empty {
			return b.put(ctx, c, p)
		}
	}
	return etag, err
}

// overEmpty reports whether p, which creates a state, has met an empty object. That
// counts as none, and p takes its place from now on.
func (b *Backend) overEmpty(ctx context.Context, c call, p *put) (bool, error) {
	obj, err := b.orNothing(b.head(ctx, c, p.key))
	if err != nil || obj.etag == "" || obj.size > 0 {
		return false, err
	}
	if err := b.requireReplace(ctx, c); err != nil {
		return false, err
	}
	p.ifNoneMatch, p.ifMatch = "", obj.etag
	return true, nil
}

// Delete implements [backend.Backend]: a HEAD and a conditional DELETE. Where the
// endpoint ignores the condition of a DELETE, the state is replaced by an empty
// object, which counts as none and stays.
func (b *Backend) Delete(ctx context.Context, workspace string, cond backend.Condition) error {
	c, err := b.call(ctx, "delete", workspace)
	if err != nil {
		return err
	}
	for range 4 {
		obj, err := b.head(ctx, c, c.key)
		switch {
		case err != nil:
			return err
		case obj.size == 0:
			return c.failed(backend.ErrNotExist, nil)
		case cond.Revision != backend.AnyRevision && cond.Revision != obj.revision():
			return c.failed(backend.ErrConflict, nil)
		}
		err = b.erase(ctx, c, obj.etag)
		if err == nil && b.dynamodb != nil {
			return b.writeDigest(ctx, c, "deleted", obj.etag, &object{}, cond.LockID != "")
		}
		if !errors.Is(err, backend.ErrConflict) {
			return b.agree(ctx, c, err)
		}
	} // replaced or deleted by another since the HEAD
	return c.failed(backend.ErrTransient, errors.New("it was replaced all the time while it was being deleted"))
}

// erase makes an end of the state that has etag.
func (b *Backend) erase(ctx context.Context, c call, etag string) error {
	conditionally, err := b.deletesConditionally(ctx, c)
	if err != nil {
		return err
	}
	if conditionally {
		return b.remove(ctx, c, c.key, etag)
	}
	if err := b.prepareWrite(ctx, c, backend.Revision(etag)); err != nil {
		return err
	}
	p := b.newPut(c.key, nil, b.config.StateTags)
	p.ifMatch = etag
	_, err = b.put(ctx, c, p)
	return err
}

// List implements [backend.Backend]: one request for each 1,000 objects under the
// workspace prefix, and one for the default workspace, whose object lies elsewhere.
func (b *Backend) List(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		c := call{op: "list", backend: b}
		if ctx.Err() != nil {
			yield("", c.failed(ctx.Err(), nil))
			return
		}
		prefix := b.config.WorkspaceKeyPrefix
		if prefix != "" {
			prefix += "/"
			exists, err := b.listsDefault(ctx, c)
			if err != nil {
				yield("", err)
				return
			}
			if exists && !yield(backend.DefaultWorkspace, nil) {
				return
			}
		}
		pages := s3.NewListObjectsV2Paginator(b.s3, &s3.ListObjectsV2Input{Bucket: &b.config.Bucket, Prefix: &prefix})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx, b.options)
			if err != nil {
				yield("", b.readError(ctx, c, b.onBucket("s3:ListBucket"), err))
				return
			}
			for _, object := range page.Contents {
				name := b.workspace(strings.TrimPrefix(aws.ToString(object.Key), prefix), prefix)
				if name != "" && aws.ToInt64(object.Size) > 0 && !yield(name, nil) {
					return
				}
			}
		}
	}
}

// listsDefault reports whether the default workspace has a state. Its key is the
// first of those that it is a prefix of.
func (b *Backend) listsDefault(ctx context.Context, c call) (bool, error) {
	page, err := b.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
		Bucket: &b.config.Bucket, Prefix: &b.config.Key, MaxKeys: aws.Int32(1),
	}, b.options)
	if err != nil {
		return false, b.readError(ctx, c, b.onBucket("s3:ListBucket"), err)
	}
	for _, object := range page.Contents {
		if aws.ToString(object.Key) == b.config.Key {
			return aws.ToInt64(object.Size) > 0, nil
		}
	}
	return false, nil
}

// workspace returns which workspace's state an object is, by its key without the
// prefix, or "".
func (b *Backend) workspace(key, prefix string) string {
	name, rest, _ := strings.Cut(key, "/")
	switch {
	case rest == b.config.Key && name != backend.DefaultWorkspace && backend.CheckWorkspace(name) == nil:
		return name
	case prefix == "" && key == b.config.Key:
		return backend.DefaultWorkspace
	}
	return ""
}

// Close implements [backend.Backend]: it closes the connections of the clients that
// the Backend has made itself.
func (b *Backend) Close() error {
	if b.connections != nil {
		b.connections.CloseIdleConnections()
	}
	return nil
}

// A call is one call of one of the Backend's methods.
type call struct {
	op        string
	workspace string
	key       string // the object of the workspace's state
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
	c.key = b.key(workspace)
	return c, nil
}

// settled makes a conditional request by the rules of package settle.
func settled[T any](ctx context.Context, b *Backend, r settle.Request[T]) (T, error) {
	r.Attempts = b.config.MaxRetries
	return settle.Do(ctx, r)
}
