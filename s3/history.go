package s3

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/statelatch/statelatch/backend"
)

// Versions implements [backend.Historian]: one request for each 1,000 versions. What
// was no state, because it was deleted or empty, is left out.
func (b *Backend) Versions(ctx context.Context, workspace string) iter.Seq2[backend.Version, error] {
	return func(yield func(backend.Version, error) bool) {
		c, err := b.call(ctx, "versions", workspace)
		if err != nil {
			yield(backend.Version{}, err)
			return
		}
		pages := s3.NewListObjectVersionsPaginator(b.s3, &s3.ListObjectVersionsInput{Bucket: &b.config.Bucket, Prefix: &c.key})
		for last := c.key; pages.HasMorePages() && last == c.key; {
			page, err := pages.NextPage(ctx, b.options)
			if err != nil {
				yield(backend.Version{}, b.readError(ctx, c, b.onBucket("s3:ListBucketVersions"), err))
				return
			}
			for _, v := range page.Versions {
				version := backend.Version{ID: aws.ToString(v.VersionId), Modified: aws.ToTime(v.LastModified), Size: aws.ToInt64(v.Size)}
				if aws.ToString(v.Key) == c.key && version.Size > 0 && !yield(version, nil) {
					return
				}
			}
			last = aws.ToString(page.NextKeyMarker) // the state is the first of the keys that it is a prefix of
		}
	}
}

// noVersion are what the service calls an ID that names no version, is no ID, or is
// that of a deletion.
var noVersion = []string{"NoSuchVersion", "InvalidArgument", "MethodNotAllowed"}

// ReadVersion implements [backend.Historian]: one GET. It compares no digest.
func (b *Backend) ReadVersion(ctx context.Context, workspace, id string) (backend.State, error) {
	c, err := b.call(ctx, "read version", workspace)
	switch {
	case err != nil:
		return backend.State{}, err
	case id == "":
		return backend.State{}, c.failed(backend.ErrNotExist, errors.New("an empty ID names no version"))
	}
	obj, err := b.getVersion(ctx, c, c.key, &id)
	var api smithy.APIError
	switch {
	case errors.As(err, &api) && slices.Contains(noVersion, api.ErrorCode()):
		return backend.State{}, c.failed(backend.ErrNotExist, api)
	case err != nil:
		return backend.State{}, err
	}
	return obj.state(c)
}
