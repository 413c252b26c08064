package azblob

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/limit"
	"github.com/statelatch/statelatch/internal/settle"
	"github.com/statelatch/statelatch/lock"
)

const (
	lockKey  = "terraformlockid" // the metadata that holds the lock's record
	tokenKey = "statelatchcall"  // the metadata that holds the token of the call that wrote a state
)

type metadata = map[string]*string

// properties are what is known of a blob beside its content. The zero properties are
// those of a blob that does not exist.
type properties struct {
	etag     azcore.ETag
	revision backend.Revision // "" for an empty blob
	metadata metadata         // with lower-case keys
	leased   bool             // when they were fetched; leases leave the ETag alone
	modified time.Time        // by the server's clock
	seen     time.Time        // when they were, by this machine's clock
}

// with returns the metadata with another value of key; "" takes it out.
func (p *properties) with(key, value string) metadata {
	meta := maps.Clone(p.metadata)
	if meta == nil {
		meta = metadata{}
	}
	delete(meta, key)
	if value != "" {
		meta[key] = &value
	}
	return meta
}

// once is for a request that the vendor's client must not repeat: package settle
// does.
func (b *Backend) once(ctx context.Context) context.Context {
	return policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1, TryTimeout: b.config.timeout()})
}

// get fetches a state and its properties by one GET. It carries no lease's ID: a
// lease does not keep readers out.
func (b *Backend) get(ctx context.Context, c call) ([]byte, *properties, error) {
	reply, err := c.blob.DownloadStream(ctx, &blob.DownloadStreamOptions{CPKInfo: b.config.cpk()})
	if err != nil {
		return nil, nil, b.readError(ctx, c, err)
	}
	// Where the body breaks off, it goes on with the rest of what has the same ETag.
	body := reply.NewRetryReader(ctx, nil)
	defer body.Close()
	if err = genuine(nil, reply.RequestID, (*string)(reply.ETag)); err != nil {
		return nil, nil, b.readError(ctx, c, err)
	}
	size, most := int64(-1), limit.Of(b.config.MaxSize)
	if reply.ContentLength != nil {
		size = *reply.ContentLength
	}
	var data []byte
	if size <= most {
		data, err = limit.ReadAll(body, size, most)
	}
	switch got := max(size, int64(len(data))); {
	case err != nil:
		return nil, nil, b.bodyError(ctx, c, err)
	case got > most:
		return nil, nil, c.failed(backend.ErrTooLarge, limit.Exceeded(got, most))
	case got > int64(len(data)):
		return nil, nil, b.bodyError(ctx, c, io.ErrUnexpectedEOF)
	}
	p := &properties{value(reply.ETag), revisionOf(data), lowered(reply.Metadata), leased(reply.LeaseStatus), value(reply.LastModified), time.Now()}
	if sum := reply.ContentMD5; len(data) > 0 && len(sum) > 0 && p.revision != asRevision(sum) {
		p.revision = asRevision(sum) // by which it can be replaced
		err = c.failed(backend.ErrCorrupt, errors.New("the content does not have the MD5 that the service keeps for it"))
	}
	return data, b.remember(c.workspace, p), err
}

// head fetches the properties alone; with a lease's ID, only if that holds. Only if
// the service keeps no MD5, because somebody stored the state in blocks, it takes a
// GET more.
func (b *Backend) head(ctx context.Context, c call, leaseID string) (*properties, error) {
	options := &blob.GetPropertiesOptions{CPKInfo: b.config.cpk()}
	if leaseID != "" {
		options.AccessConditions = &blob.AccessConditions{LeaseAccessConditions: &blob.LeaseAccessConditions{LeaseID: &leaseID}}
	}
	reply, err := c.blob.GetProperties(ctx, options)
	if err = genuine(err, reply.RequestID, (*string)(reply.ETag)); err != nil {
		return nil, b.readError(ctx, c, err)
	}
	if value(reply.ContentLength) > 0 && len(reply.ContentMD5) == 0 {
		_, p, err := b.get(ctx, c)
		return p, err
	}
	p := &properties{value(reply.ETag), "", lowered(reply.Metadata), leased(reply.LeaseStatus), value(reply.LastModified), time.Now()}
	if value(reply.ContentLength) > 0 {
		p.revision = asRevision(reply.ContentMD5)
	}
	return b.remember(c.workspace, p), nil
}

// current is head, and the zero properties for a blob that does not exist.
func (b *Backend) current(ctx context.Context, c call) (*properties, error) {
	p, err := b.head(ctx, c, "")
	if errors.Is(err, backend.ErrNotExist) {
		return &properties{}, nil
	}
	return p, err
}

// change does what changes the state that cond describes, and which p are the
// properties of; nil has to be looked up. It does it again if the blob has another
// ETag, and the state has not changed: a lock came or went. do returns what it has
// stored; if it was refused, what is there instead, or nil.
func (b *Backend) change(ctx context.Context, c call, cond backend.Condition, p *properties, do func(*properties) (*properties, error)) (_ *properties, err error) {
	for range 10 {
		if p == nil {
			if p, err = b.current(ctx, c); err != nil {
				return nil, err
			}
		}
		if cond.Revision != backend.AnyRevision && cond.Revision != p.revision {
			return nil, b.stale(ctx, c, p, cond.LockID)
		}
		p, err = do(p)
		switch {
		case errors.Is(err, errLeased):
			held := b.heldBy(ctx, c)
			if cond.LockID != "" || !errors.Is(held, lock.ErrNotHeld) {
				return nil, held
			}
		case !errors.Is(err, backend.ErrConflict):
			return p, err
		}
	}
	return nil, c.failed(backend.ErrTransient, errors.New("the blob was changed all the time"))
}

// stale is the error for a revision that does not hold, or for the lock, if that
// does not hold either.
func (b *Backend) stale(ctx context.Context, c call, p *properties, id string) error {
	var err error
	switch {
	case p.revision == "" && c.op == "delete":
		return c.failed(backend.ErrNotExist, nil)
	case id == "" && p.leased:
		err = b.heldBy(ctx, c)
	case id != "" && p.etag != "":
		if _, err = b.head(ctx, c, id); errors.Is(err, errLeased) {
			err = b.heldBy(ctx, c)
		}
	}
	if errors.As(err, new(*lock.HeldError)) || id != "" && errors.Is(err, lock.ErrNotHeld) {
		return err
	}
	return c.failed(backend.ErrConflict, nil)
}

// put makes the PUT on an ETag, and finds out what became of it if no reply tells:
// it is ours by its token and its bytes. Terraform carries metadata over to other
// bytes. If it was refused, put returns what is there instead.
func (b *Backend) put(ctx context.Context, c call, data []byte, replaces *properties, leaseID string) (*properties, error) {
	token := rand.Text()
	meta := replaces.with(tokenKey, token)
	var instead *properties
	written, err := settle.Do(ctx, settle.Request[*properties]{
		Try: func(ctx context.Context) (*properties, error) {
			written, err := b.putOnce(ctx, c, data, meta, replaces.etag, leaseID)
			if errors.Is(err, backend.ErrConflict) {
				instead, err = b.refused(ctx, c, token, err)
			}
			return written, err
		},
		Look: func(ctx context.Context) (*properties, settle.Found, error) {
			now, p, err := b.get(ctx, c)
			switch {
			case errors.Is(err, backend.ErrNotExist):
				p = &properties{}
			case err != nil:
				return nil, settle.Other, err
			}
			switch {
			case value(p.metadata[tokenKey]) == token && bytes.Equal(now, data):
				return p, settle.Ours, nil
			case p.etag == replaces.etag:
				return nil, settle.Before, nil
			}
			return nil, settle.Other, nil
		},
		Unknown: func(why error) error { return c.failed(backend.ErrUnknown, why) },
	})
	if errors.Is(err, backend.ErrConflict) {
		return instead, err
	}
	return written, err
}

// refused looks after a PUT that was refused with err. One that was delivered twice,
// which middleboxes do, is refused against itself: it has left its token.
func (b *Backend) refused(ctx context.Context, c call, token string, err error) (instead *properties, _ error) {
	now, failed := b.current(ctx, c)
	switch {
	case failed != nil:
		return nil, c.failed(backend.ErrUnknown, settle.Unseen(err, failed))
	case value(now.metadata[tokenKey]) == token: // look at the bytes too
		return nil, c.failed(backend.ErrUnknown, errors.New(err.Error()))
	}
	return now, err
}

func (b *Backend) putOnce(ctx context.Context, c call, data []byte, meta metadata, replaces azcore.ETag, leaseID string) (*properties, error) {
	sum := md5.Sum(data)
	body := newBody(data)
	defer body.release()
	reply, err := c.blob.Upload(b.once(ctx), body, &blockblob.UploadOptions{
		Metadata:                meta,
		HTTPHeaders:             &blob.HTTPHeaders{BlobContentType: new("application/json")},
		TransactionalValidation: blob.TransferValidationTypeMD5(sum[:]), // the service compares it, and keeps it
		CPKInfo:                 b.config.cpk(),
		CPKScopeInfo:            b.config.scope(),
		AccessConditions:        conditions(replaces, leaseID),
	})
	if err = genuine(err, reply.RequestID, (*string)(reply.ETag)); err != nil {
		return nil, b.changeError(ctx, c, err)
	}
	p := &properties{value(reply.ETag), revisionOf(data), meta, leaseID != "", value(reply.LastModified), time.Now()}
	b.wrote(c.workspace, leaseID, p)
	return b.remember(c.workspace, p), nil
}

// conditions are those of a change: on an ETag, or that there is no blob, and by a
// lease.
func conditions(etag azcore.ETag, leaseID string) *blob.AccessConditions {
	modified := &blob.ModifiedAccessConditions{IfMatch: &etag}
	if etag == "" {
		modified = &blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}
	}
	conditions := &blob.AccessConditions{ModifiedAccessConditions: modified}
	if leaseID != "" {
		conditions.LeaseAccessConditions = &blob.LeaseAccessConditions{LeaseID: &leaseID}
	}
	return conditions
}

// setMetadata replaces the metadata of a blob that has the properties p.
func (b *Backend) setMetadata(ctx context.Context, c call, p *properties, leaseID string, meta metadata) (*properties, error) {
	moved := false
	next, err := settle.Do(ctx, settle.Request[*properties]{
		Try: func(ctx context.Context) (*properties, error) {
			reply, err := c.blob.SetMetadata(b.once(ctx), meta, &blob.SetMetadataOptions{
				AccessConditions: conditions(p.etag, leaseID), CPKInfo: b.config.cpk(), CPKScopeInfo: b.config.scope(),
			})
			if err = genuine(err, reply.RequestID, (*string)(reply.ETag)); err != nil {
				return nil, b.changeError(ctx, c, err)
			}
			return &properties{value(reply.ETag), p.revision, meta, leaseID != "", value(reply.LastModified), time.Now()}, nil
		},
		Look: func(ctx context.Context) (*properties, settle.Found, error) {
			now, err := b.current(ctx, c)
			switch {
			case err != nil:
				return nil, settle.Other, err
			case now.etag == p.etag:
				return nil, settle.Before, nil
			case now.revision == p.revision && maps.EqualFunc(now.metadata, meta, equal) && !maps.EqualFunc(p.metadata, meta, equal):
				return now, settle.Ours, nil // where nothing differs, nothing tells
			}
			moved = true
			return nil, settle.Other, nil
		},
		Unknown: func(why error) error {
			switch {
			case moved: // whatever became of it, it is so no longer
				return c.failed(backend.ErrConflict, why)
			case ctx.Err() != nil:
				return c.failed(nil, why)
			}
			return c.failed(backend.ErrTransient, why)
		},
	})
	if err == nil {
		b.remember(c.workspace, next)
	}
	return next, err
}

// remove deletes the blob by a DELETE on its ETag. Afterwards nothing tells whose
// DELETE it was.
func (b *Backend) remove(ctx context.Context, c call, p *properties) error {
	_, err := settle.Do(ctx, settle.Request[struct{}]{
		Try: func(ctx context.Context) (none struct{}, err error) {
			reply, err := c.blob.Delete(b.once(ctx), &blob.DeleteOptions{AccessConditions: conditions(p.etag, "")})
			if err = genuine(err, reply.RequestID); err != nil {
				return none, b.changeError(ctx, c, err)
			}
			return none, nil
		},
		Look: func(ctx context.Context) (none struct{}, found settle.Found, err error) {
			now, err := b.current(ctx, c)
			if err == nil && now.etag == p.etag {
				return none, settle.Before, nil
			}
			return none, settle.Other, err
		},
		Unknown: func(why error) error { return c.failed(backend.ErrUnknown, why) },
	})
	b.forget(c.workspace)
	return err
}

// snapshot keeps the state that is about to be replaced, where that is configured.
// One that is made twice does no harm.
func (b *Backend) snapshot(ctx context.Context, c call, p *properties, leaseID string) error {
	if !b.config.Snapshot || p.revision == "" {
		return nil
	}
	reply, err := c.blob.CreateSnapshot(ctx, &blob.CreateSnapshotOptions{
		AccessConditions: conditions(p.etag, leaseID), CPKInfo: b.config.cpk(), CPKScopeInfo: b.config.scope(),
	})
	if err = genuine(err, reply.RequestID); err != nil {
		return b.readError(ctx, c, err)
	}
	return nil
}

// revisionOf returns the revision of a state; "" for none.
func revisionOf(data []byte) backend.Revision {
	if len(data) == 0 {
		return ""
	}
	sum := md5.Sum(data)
	return asRevision(sum[:])
}

func asRevision(sum []byte) backend.Revision { return backend.Revision(hex.EncodeToString(sum)) }

// lowered returns metadata with lower-case keys: HTTP changes their case.
func lowered(meta metadata) metadata {
	lower := metadata{}
	for key, value := range meta {
		lower[strings.ToLower(key)] = value
	}
	return lower
}

func leased(status *lease.StatusType) bool { return value(status) == lease.StatusTypeLocked }

func equal(a, b *string) bool { return value(a) == value(b) }

func value[T any](p *T) T {
	if p == nil {
		return *new(T)
	}
	return *p
}
