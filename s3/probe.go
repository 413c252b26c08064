package s3

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// A Report is what [Backend.Probe] found out about an endpoint and its bucket.
type Report struct {
	CreateOnce        bool // If-None-Match on PUT is honoured: lock files work
	ReplaceOnMatch    bool // If-Match on PUT is honoured: no update is lost
	DeleteOnMatch     bool // If-Match on DELETE is honoured: nobody deletes what he did not see
	Versioning        bool // the bucket keeps earlier versions of a state
	VersioningUnknown bool // the endpoint does not tell, or not to these credentials
}

// Probe tells an operator what the endpoint honours and what the bucket keeps. It
// writes, reads and deletes an object of its own beside the state. The Backend
// remembers the result and asks no more by itself. An object KEY.statelatch-probe-…
// that a call has left, since it was cancelled or lost its replies, can be deleted.
func (b *Backend) Probe(ctx context.Context) (Report, error) {
	c := call{op: "probe", backend: b}
	if ctx.Err() != nil {
		return Report{}, c.failed(ctx.Err(), nil)
	}
	var r Report
	refused := func(into *bool, condition *verdict, err error) error {
		known := b.endpoint.learn(condition, err)
		if *into = known == honoured; known == unknown {
			return err
		}
		return nil
	}
	err := b.onScratch(ctx, c, func(p *put) error {
		p.ifNoneMatch = "*"
		_, err := b.putOnce(ctx, c, p)
		if err := refused(&r.CreateOnce, &b.endpoint.creates, err); err != nil {
			return err
		}
		p.ifNoneMatch, p.ifMatch = "", wrongETag
		_, err = b.putOnce(ctx, c, p)
		if err := refused(&r.ReplaceOnMatch, &b.endpoint.replaces, err); err != nil {
			return err
		}
		known, err := b.tryDelete(ctx, c, p)
		r.DeleteOnMatch = known == honoured
		return err
	})
	if err != nil {
		return Report{}, c.unchanged(ctx, err)
	}
	r.Versioning, r.VersioningUnknown = b.versioning(ctx)
	return r, nil
}

func (b *Backend) versioning(ctx context.Context) (enabled, unknown bool) {
	out, err := b.s3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &b.config.Bucket}, b.options)
	if err != nil {
		return false, true
	}
	return out.Status == types.BucketVersioningStatusEnabled, false
}
