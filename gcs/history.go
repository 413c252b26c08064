package gcs

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"strconv"

	"cloud.google.com/go/storage"
	"github.com/statelatch/statelatch/backend"
	"google.golang.org/api/iterator"
)

// Versions implements [backend.Historian]: one request for each page. All are fetched
// before the first is yielded, since the newest does not come first. What was no state,
// because it was empty, is left out.
func (b *Backend) Versions(ctx context.Context, workspace string) iter.Seq2[backend.Version, error] {
	return func(yield func(backend.Version, error) bool) {
		c, err := b.call(ctx, "versions", workspace, b.stateName)
		if err != nil {
			yield(backend.Version{}, err)
			return
		}
		objects, err := b.versions(ctx, c)
		if err != nil {
			yield(backend.Version{}, b.readError(ctx, c, toList, err))
			return
		}
		b.found.Store(true)
		for _, attrs := range objects {
			id := strconv.FormatInt(attrs.Generation, 10)
			if attrs.Size > 0 && !yield(backend.Version{ID: id, Modified: attrs.Created, Size: attrs.Size}, nil) {
				return
			}
		}
	}
}

// versions returns those of an object, the newest first.
func (b *Backend) versions(ctx context.Context, c call) (versions []*storage.ObjectAttrs, err error) {
	query := &storage.Query{Prefix: c.object, Versions: true, Projection: storage.ProjectionNoACL}
	if err := query.SetAttrSelection([]string{"Name", "Size", "Generation", "Created"}); err != nil {
		return nil, err
	}
	objects := b.bucket.Retryer(storage.WithMaxAttempts(5)).Objects(ctx, query)
	for {
		attrs, err := objects.Next()
		switch {
		case errors.Is(err, iterator.Done), err == nil && attrs.Name != c.object: // it is the first that it is a prefix of
			slices.SortFunc(versions, func(a, b *storage.ObjectAttrs) int { return cmp.Compare(b.Generation, a.Generation) })
			return versions, nil
		case err != nil:
			return nil, err
		}
		versions = append(versions, attrs)
	}
}

// ReadVersion implements [backend.Historian]: one GET. The ID is the generation.
func (b *Backend) ReadVersion(ctx context.Context, workspace, id string) (backend.State, error) {
	c, err := b.call(ctx, "read version", workspace, b.stateName)
	if err != nil {
		return backend.State{}, err
	}
	generation, err := strconv.ParseInt(id, 10, 64)
	if err != nil || generation <= 0 {
		return backend.State{}, c.failed(backend.ErrNotExist, errors.New("the ID is not a generation"))
	}
	return b.read(ctx, c, b.state(c).Generation(generation))
}
