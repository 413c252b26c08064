package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/limit"
	"github.com/statelatch/statelatch/internal/settle"
	"github.com/statelatch/statelatch/lock"
)

// tokenKey is the object metadata that holds the token of the call that wrote an
// object.
const tokenKey = "statelatch-call"

// An object is what a GET or a HEAD returned.
type object struct {
	data     []byte // nil after a HEAD
	etag     string
	size     int64 // -1 if the server does not tell
	token    string
	modified time.Time     // by the server's clock
	age      time.Duration // between modified and the reply, by the server's clock; 0 if it does not tell both
}

func (o *object) revision() backend.Revision { return backend.Revision(o.etag) }

func (o *object) state(c call) (backend.State, error) {
	if len(o.data) == 0 {
		return backend.State{}, c.failed(backend.ErrNotExist, nil)
	}
	return backend.State{Data: o.data, Revision: o.revision(), Modified: o.modified}, nil
}

// options set up the vendor's client for every call: the checksum of a request is
// ours to choose, and that of a response is verified unless that is switched off.
func (b *Backend) options(o *s3.Options) {
	o.APIOptions = append(o.APIOptions, refreshing(o.Credentials))
	o.Retryer = patiently(o.Retryer)
	o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenSupported
	if b.config.SkipS3Checksum {
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	}
}

// once is options for a request that the vendor's client must not repeat.
func (b *Backend) once(o *s3.Options) {
	b.options(o)
	o.APIOptions = append(o.APIOptions, watched)
	o.Retryer = aws.NopRetryer{}
}

// get fetches an object by one GET. The vendor's client repeats the request while
// it has no reply; a reply that breaks off is fetched again here. One that is too large
// is returned as well, beside the error, as far as it was read.
func (b *Backend) get(ctx context.Context, c call, key string) (*object, error) {
	return b.getVersion(ctx, c, key, nil)
}

// getVersion is get of an earlier version of an object; nil is the current one.
func (b *Backend) getVersion(ctx context.Context, c call, key string, version *string) (*object, error) {
	permission := b.on("s3:GetObject", key)
	if version != nil {
		permission = b.on("s3:GetObjectVersion", key)
	}
	most := b.limit(c, key)
	var refused error
	obj, err := settled(ctx, b, settle.Request[*object]{Try: func(ctx context.Context) (*object, error) {
		in := &s3.GetObjectInput{Bucket: &b.config.Bucket, Key: &key, VersionId: version}
		in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = b.customerKey()
		out, err := b.s3.GetObject(ctx, in, b.options)
		if err != nil {
			refused = b.readError(ctx, c, permission, err)
			return nil, nil
		}
		defer out.Body.Close()
		obj := newObject(out.ETag, out.ContentLength, out.Metadata, out.LastModified, out.ResultMetadata)
		if refused = c.acceptable(obj, most); refused != nil {
			return obj, nil
		}
		told := obj.size
		if obj.data, err = limit.ReadAll(out.Body, told, most); err != nil {
			return nil, b.bodyError(ctx, c, err)
		}
		obj.size = int64(len(obj.data))
		if told >= 0 && told != obj.size {
			return nil, b.bodyError(ctx, c, fmt.Errorf("it has %d bytes, and was to have %d", obj.size, told))
		}
		refused = c.acceptable(obj, most)
		return obj, nil
	}})
	if refused != nil {
		return obj, refused
	}
	return obj, err
}

// limit is how large an object is read: of the two that are, the state and its lock
// file, only the state has the configured one.
func (b *Backend) limit(c call, key string) int64 {
	if key == c.key {
		return limit.Of(b.config.MaxSize)
	}
	return lock.MaxInfo
}

// acceptable refuses an object that is too large, or has no revision.
func (c call) acceptable(obj *object, most int64) error {
	switch {
	case obj.size > most:
		return c.failed(backend.ErrTooLarge, limit.Exceeded(obj.size, most))
	case obj.etag == "":
		return c.failed(errors.ErrUnsupported, errNoETag)
	}
	return nil
}

var errNoETag = errors.New("the endpoint sent no ETag, without which no write can be made safe")

// head asks for an object without its bytes.
func (b *Backend) head(ctx context.Context, c call, key string) (*object, error) {
	in := &s3.HeadObjectInput{Bucket: &b.config.Bucket, Key: &key}
	in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = b.customerKey()
	out, err := b.s3.HeadObject(ctx, in, b.options)
	if err == nil {
		obj := newObject(out.ETag, out.ContentLength, out.Metadata, out.LastModified, out.ResultMetadata)
		return obj, c.acceptable(obj, b.limit(c, key))
	}
	err = b.readError(ctx, c, b.on("s3:GetObject", key), err)
	if errors.Is(err, backend.ErrInvalid) {
		return b.get(ctx, c, key) // a GET tells what a HEAD does not: is it the object or the bucket that is missing, have the credentials expired
	}
	return nil, err
}

func newObject(etag *string, size *int64, meta map[string]string, modified *time.Time, reply middleware.Metadata) *object {
	obj := &object{etag: aws.ToString(etag), size: -1, token: meta[tokenKey], modified: aws.ToTime(modified)}
	if size != nil {
		obj.size = *size
	}
	if now, ok := awsmiddleware.GetServerTime(reply); ok && modified != nil {
		obj.age = now.Sub(obj.modified)
	}
	return obj
}

// A put is a PUT that may be made several times as one call.
type put struct {
	key, ifMatch, ifNoneMatch string
	data                      []byte
	tags                      map[string]string
	token                     string
	sha256                    [sha256.Size]byte
}

// newPut prepares a PUT of data, without a condition. The data is hashed once, for
// the signature and the checksum, and not copied.
func (b *Backend) newPut(key string, data []byte, tags map[string]string) *put {
	return &put{key: key, data: data, tags: tags, token: rand.Text(), sha256: sha256.Sum256(data)}
}

// made reports whether an object is what this very PUT stored, by its token and its
// bytes: Terraform carries metadata over to other bytes.
func (p *put) made(obj *object) bool { return obj.token == p.token && bytes.Equal(obj.data, p.data) }

// put makes the PUT, and finds out what became of it if no reply tells.
func (b *Backend) put(ctx context.Context, c call, p *put) (etag string, err error) {
	return settled(ctx, b, settle.Request[string]{
		Try: func(ctx context.Context) (string, error) { return b.tryPut(ctx, c, p) },
		Look: func(ctx context.Context) (string, settle.Found, error) {
			obj, found, err := b.lookAtPut(ctx, c, p)
			if err == nil && found == settle.Other && p.ifNoneMatch != "" {
				if empty, err := b.overEmpty(ctx, c, p); empty || err != nil {
					return "", settle.Before, err
				}
			}
			return obj.etag, found, err
		},
		Once:    p.ifMatch == "" && p.ifNoneMatch == "",
		Unknown: func(why error) error { return c.failed(backend.ErrUnknown, why) },
	})
}

// tryPut is putOnce for an object that others change as well. A server that refuses
// a large PUT by its head may close the connection, and its reply is lost. And a PUT
// that was delivered twice, which middleboxes do, is refused against itself.
func (b *Backend) tryPut(ctx context.Context, c call, p *put) (etag string, err error) {
	etag, err = b.putOnce(ctx, c, p)
	if p.ifMatch+p.ifNoneMatch == "" {
		return etag, err
	}
	switch {
	case errors.Is(err, errCutShort):
		if _, found, failed := b.lookAtPut(ctx, c, p); failed == nil && found == settle.Other {
			return "", c.failed(backend.ErrConflict, nil)
		}
	case errors.Is(err, backend.ErrConflict):
		obj, failed := b.orNothing(b.head(ctx, c, p.key))
		switch {
		case obj == nil:
			return "", c.failed(backend.ErrUnknown, settle.Unseen(err, failed))
		case obj.token == p.token: // look at the bytes too
			return "", c.failed(backend.ErrUnknown, errors.New(err.Error()))
		}
	}
	return etag, err
}

func (b *Backend) putOnce(ctx context.Context, c call, p *put) (etag string, err error) {
	in := &s3.PutObjectInput{
		Bucket:      &b.config.Bucket,
		Key:         &p.key,
		Body:        bytes.NewReader(p.data),
		ContentType: aws.String("application/json"),
		Metadata:    map[string]string{tokenKey: p.token},
		IfMatch:     optional(p.ifMatch),
		IfNoneMatch: optional(p.ifNoneMatch),
		ACL:         types.ObjectCannedACL(b.config.ACL),
		Tagging:     optional(tagging(p.tags)),
	}
	if !b.config.SkipS3Checksum {
		in.ChecksumSHA256 = aws.String(base64.StdEncoding.EncodeToString(p.sha256[:]))
	}
	b.encrypt(in)
	out, err := b.s3.PutObject(ctx, in, b.once, payloadHash(p.sha256))
	if err != nil {
		return "", b.changeError(ctx, c, b.on("s3:PutObject", p.key), err)
	}
	if etag = aws.ToString(out.ETag); etag == "" {
		return "", c.failed(backend.ErrUnknown, errNoETag)
	}
	return etag, nil
}

// lookAtPut finds out whether a PUT was applied, and returns what there is, empty if
// that is nothing.
func (b *Backend) lookAtPut(ctx context.Context, c call, p *put) (*object, settle.Found, error) {
	obj, err := b.orNothing(b.get(ctx, c, p.key))
	switch {
	case obj == nil, err != nil && !errors.Is(err, backend.ErrTooLarge):
		return &object{}, settle.Other, err
	case err == nil && p.made(obj):
		return obj, settle.Ours, nil
	case obj.etag == p.ifMatch:
		return obj, settle.Before, nil
	}
	return obj, settle.Other, nil
}

// remove deletes an object by a DELETE on its ETag. Afterwards nothing tells whose
// DELETE it was: if the reply is lost and the object is gone, the outcome is
// unknown.
func (b *Backend) remove(ctx context.Context, c call, key, etag string) error {
	_, err := settled(ctx, b, settle.Request[struct{}]{
		Try: func(ctx context.Context) (none struct{}, err error) { return none, b.removeOnce(ctx, c, key, etag) },
		Look: func(ctx context.Context) (none struct{}, found settle.Found, err error) {
			obj, err := b.get(ctx, c, key)
			switch {
			case errors.Is(err, backend.ErrNotExist):
				return none, settle.Other, nil
			case err == nil && obj.etag == etag:
				return none, settle.Before, nil
			}
			return none, settle.Other, err
		},
		Unknown: func(why error) error { return c.failed(backend.ErrUnknown, why) },
	})
	return err
}

func (b *Backend) removeOnce(ctx context.Context, c call, key, etag string) error {
	_, err := b.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.config.Bucket, Key: &key, IfMatch: optional(etag)}, b.once)
	if err != nil {
		return b.changeError(ctx, c, b.on("s3:DeleteObject", key), err)
	}
	return nil
}

// encrypt sets the encryption that the configuration asks for.
func (b *Backend) encrypt(in *s3.PutObjectInput) {
	if !b.config.Encrypt {
		return
	}
	switch {
	case b.config.KMSKeyID != "":
		in.ServerSideEncryption, in.SSEKMSKeyId = types.ServerSideEncryptionAwsKms, &b.config.KMSKeyID
	case b.config.SSECustomerKey != "":
		in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = b.customerKey()
	default:
		in.ServerSideEncryption = types.ServerSideEncryptionAes256
	}
}

// customerKey returns the three values of SSE-C, which a read needs too.
func (b *Backend) customerKey() (algorithm, key, keyMD5 *string) {
	raw, err := base64.StdEncoding.DecodeString(string(b.config.SSECustomerKey))
	if !b.config.Encrypt || err != nil || len(raw) == 0 {
		return nil, nil, nil
	}
	sum := md5.Sum(raw)
	return aws.String("AES256"), aws.String(string(b.config.SSECustomerKey)), aws.String(base64.StdEncoding.EncodeToString(sum[:]))
}

// payloadHash gives the signer the hash that is known already.
func payloadHash(sum [sha256.Size]byte) func(*s3.Options) {
	set := middleware.BuildMiddlewareFunc("statelatch:PayloadHash", func(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
		return next.HandleBuild(v4.SetPayloadHash(ctx, hex.EncodeToString(sum[:])), in)
	})
	return func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error { return stack.Build.Add(set, middleware.Before) })
	}
}

func tagging(tags map[string]string) string {
	values := url.Values{}
	for name, value := range tags {
		values.Set(name, value)
	}
	return values.Encode()
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
