package gcs

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"time"

	"cloud.google.com/go/storage"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/limit"
	"github.com/statelatch/statelatch/internal/settle"
)

const (
	// contentType is what Terraform's client sniffs for a state and for a lock.
	contentType = "text/plain; charset=utf-8"
	// tokenKey is the metadata that holds the token of the call that wrote an object.
	tokenKey = "statelatch-call"
	// patience is how often a change is tried that the service puts off: it takes one a
	// second of one object. With the delays of package settle that is some 20 s.
	patience = 10
)

// never switches off the vendor's own repetitions: see package settle.
var never = storage.WithPolicy(storage.RetryNever)

// An object is what a GET returned.
type object struct {
	data       []byte
	generation int64
	token      string
	modified   time.Time
}

// handle returns the object of a call; the customer's key is that of states alone.
func (b *Backend) handle(c call, csek *[32]byte) *storage.ObjectHandle {
	handle := b.bucket.Object(c.object).Retryer(never)
	if csek != nil {
		handle = handle.Key(csek[:])
	}
	return handle
}

// get fetches an object, its generation and its metadata by one GET. An object of
// more than most bytes is ErrTooLarge, and comes without its data.
func (b *Backend) get(ctx context.Context, c call, handle *storage.ObjectHandle, most int64) (obj *object, err error) {
	_, err = settle.Do(ctx, settle.Request[struct{}]{Try: func(ctx context.Context) (none struct{}, err error) {
		obj, err = b.getOnce(ctx, c, handle, most)
		return none, err
	}})
	return obj, err
}

func (b *Backend) getOnce(ctx context.Context, c call, handle *storage.ObjectHandle, most int64) (*object, error) {
	reply, err := handle.NewReader(ctx)
	if errors.Is(err, storage.ErrObjectNotExist) && !b.found.Load() {
		// The client drops what this reply says: is it the object that is missing, or
		// the bucket? It is asked once, until something shows that there is a bucket.
		if _, told := handle.Attrs(ctx); told != nil {
			err = told
		}
	}
	if err != nil {
		return nil, b.readError(ctx, c, toGet, err)
	}
	defer reply.Close()
	b.found.Store(true)
	obj := &object{
		generation: reply.Attrs.Generation,
		token:      token(reply.Metadata()),
		modified:   reply.Attrs.LastModified,
	}
	if obj.generation <= 0 {
		return nil, c.failed(errors.ErrUnsupported, errNoGeneration)
	}
	if reply.Attrs.Size > most {
		return obj, c.failed(backend.ErrTooLarge, limit.Exceeded(reply.Attrs.Size, most))
	}
	obj.data, err = limit.ReadAll(reply, reply.Attrs.Size, most)
	switch {
	case err != nil && ctx.Err() == nil:
		// The client has tried to go on where the connection broke. It has not found the
		// object any longer if it was replaced meanwhile: that must not read as "none".
		return nil, c.failed(backend.ErrTransient, fmt.Errorf("the reply broke off: %s", err.Error()))
	case err != nil:
		return nil, c.failed(ctx.Err(), err)
	case int64(len(obj.data)) > most:
		obj.data = nil
		return obj, c.failed(backend.ErrTooLarge, limit.Exceeded(most+1, most))
	}
	return obj, nil
}

var errNoGeneration = errors.New("the endpoint does not tell the generation of what it returns")

// token finds the token in metadata, whose names HTTP spells in its own way.
func token(metadata map[string]string) string {
	return cmp.Or(metadata[tokenKey], metadata[http.CanonicalHeaderKey(tokenKey)])
}

// attrs fetches the attributes of an object.
func (b *Backend) attrs(ctx context.Context, c call, handle *storage.ObjectHandle) (*storage.ObjectAttrs, error) {
	return settle.Do(ctx, settle.Request[*storage.ObjectAttrs]{Try: func(ctx context.Context) (*storage.ObjectAttrs, error) {
		attrs, err := handle.Attrs(ctx)
		switch {
		case err != nil:
			return nil, b.readError(ctx, c, toGet, err)
		case attrs.Generation <= 0:
			return nil, c.failed(errors.ErrUnsupported, errNoGeneration)
		}
		return attrs, nil
	}})
}

// A put is an upload that may be made several times as one call.
type put struct {
	handle   *storage.ObjectHandle
	data     []byte
	replaces int64 // the generation; 0 if there is none; or anyGeneration
	kmsKey   string
	token    string
}

func newPut(handle *storage.ObjectHandle, data []byte, replaces int64, kmsKey string) *put {
	return &put{handle, data, replaces, kmsKey, rand.Text()}
}

// made reports whether the object is what this call has stored.
func (p *put) made(obj *object) bool {
	return obj.token == p.token && bytes.Equal(obj.data, p.data)
}

// put makes the upload, and finds out what became of it if no reply tells.
func (b *Backend) put(ctx context.Context, c call, p *put) (generation int64, err error) {
	return settle.Do(ctx, settle.Request[int64]{
		Try: func(ctx context.Context) (int64, error) { return b.tryPut(ctx, c, p) },
		Look: func(ctx context.Context) (int64, settle.Found, error) {
			obj, found, err := b.lookAtPut(ctx, c, p, int64(len(p.data)))
			if err != nil || found != settle.Ours {
				return 0, found, err
			}
			return obj.generation, found, nil
		},
		Once:     p.replaces == anyGeneration,
		Attempts: patience,
		Unknown:  func(why error) error { return c.failed(backend.ErrUnknown, why) },
	})
}

// tryPut is putOnce where the object is no lock. An upload that was delivered twice,
// which middleboxes do, is refused against itself.
func (b *Backend) tryPut(ctx context.Context, c call, p *put) (generation int64, err error) {
	generation, err = b.putOnce(ctx, c, p)
	if !errors.Is(err, backend.ErrConflict) {
		return generation, err
	}
	attrs, failed := b.attrs(ctx, c, p.handle)
	switch {
	case errors.Is(failed, backend.ErrNotExist):
		return 0, err
	case failed != nil:
		return 0, c.failed(backend.ErrUnknown, settle.Unseen(err, failed))
	case attrs.Metadata[tokenKey] == p.token: // look at the bytes too
		return 0, c.failed(backend.ErrUnknown, errors.New(err.Error()))
	}
	return 0, err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// putOnce makes one request. The checksum is sent: without it, an upload that breaks
// off might count as a shorter one.
func (b *Backend) putOnce(ctx context.Context, c call, p *put) (generation int64, err error) {
	handle := p.handle
	switch p.replaces {
	case anyGeneration:
	case 0:
		handle = handle.If(storage.Conditions{DoesNotExist: true})
	default:
		handle = handle.If(storage.Conditions{GenerationMatch: p.replaces})
	}
	ctx, cancel := context.WithCancel(ctx) // abandons the upload if it fails
	defer cancel()
	ctx, attempt := b.newAttempt(ctx)
	w := handle.NewWriter(ctx)
	w.ChunkSize = 0 // one request
	w.ContentType = contentType
	w.KMSKeyName = p.kmsKey
	w.Metadata = map[string]string{tokenKey: p.token}
	w.CRC32C, w.SendCRC32C = crc32.Checksum(p.data, castagnoli), true
	_, err = w.Write(p.data)
	if closed := w.Close(); err == nil || closed != nil {
		err = closed // the server's answer, where there is one
	}
	if err != nil {
		return 0, b.changeError(c, toPut, attempt.cause(ctx, err))
	}
	if generation = w.Attrs().Generation; generation <= 0 {
		return 0, c.failed(backend.ErrUnknown, errNoGeneration)
	}
	b.found.Store(true)
	return generation, nil
}

// lookAtPut finds out whether an upload was applied. An object of more than most
// bytes is another's.
func (b *Backend) lookAtPut(ctx context.Context, c call, p *put, most int64) (*object, settle.Found, error) {
	obj, err := b.get(ctx, c, p.handle, most)
	switch {
	case errors.Is(err, backend.ErrNotExist) && p.replaces == 0:
		return nil, settle.Before, nil
	case errors.Is(err, backend.ErrNotExist):
		return nil, settle.Other, nil
	case err != nil && !errors.Is(err, backend.ErrTooLarge):
		return nil, settle.Other, err
	case obj.generation == p.replaces:
		return obj, settle.Before, nil
	case err == nil && p.made(obj):
		return obj, settle.Ours, nil
	}
	return obj, settle.Other, nil
}

// remove deletes one generation of an object. Afterwards nothing tells whose DELETE
// it was: if the reply is lost and that generation is gone, the outcome is unknown.
func (b *Backend) remove(ctx context.Context, c call, handle *storage.ObjectHandle, generation int64) error {
	_, err := settle.Do(ctx, settle.Request[struct{}]{
		Try: func(ctx context.Context) (none struct{}, err error) {
			ctx, attempt := b.newAttempt(ctx)
			if err := handle.If(storage.Conditions{GenerationMatch: generation}).Delete(ctx); err != nil {
				return none, b.changeError(c, toDelete, attempt.cause(ctx, err))
			}
			return none, nil
		},
		Look: func(ctx context.Context) (none struct{}, found settle.Found, err error) {
			attrs, err := b.attrs(ctx, c, handle)
			switch {
			case errors.Is(err, backend.ErrNotExist):
				return none, settle.Other, nil
			case err == nil && attrs.Generation == generation:
				return none, settle.Before, nil
			}
			return none, settle.Other, err
		},
		Attempts: patience,
		Unknown:  func(why error) error { return c.failed(backend.ErrUnknown, why) },
	})
	return err
}
