package consul

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/settle"
)

// inChunks ends the revision of a state that is kept in chunks, so that whoever
// replaces another need not look for any.
const inChunks = "c"

func revision(modified uint64, chunked bool) backend.Revision {
	text := strconv.FormatUint(modified, 10)
	if chunked {
		text += inChunks
	}
	return backend.Revision(text)
}

func revisionOf(pair *api.KVPair) backend.Revision {
	_, chunked := parseIndex(pair.Value)
	return revision(pair.ModifyIndex, chunked)
}

// parse reads a condition's revision: the modify index, 0 if there is to be no state,
// and whether there may be chunks. A revision that is none of ours cannot hold.
func (c call) parse(r backend.Revision) (modified uint64, chunked bool, err error) {
	switch r {
	case "":
		return 0, false, nil
	case backend.AnyRevision:
		return 0, true, nil
	}
	text, chunked := strings.CutSuffix(string(r), inChunks)
	modified, err = strconv.ParseUint(text, 10, 64)
	if err != nil || modified == 0 || revision(modified, chunked) != r {
		return 0, false, c.failed(backend.ErrConflict, errors.New("the revision is none of this backend's"))
	}
	return modified, chunked, nil
}

// state fetches what the state's key holds; an empty value is no state.
func (b *Backend) state(ctx context.Context, c call) (*api.KVPair, error) {
	pair, err := b.get(ctx, c)
	if err == nil && (pair == nil || len(pair.Value) == 0) {
		err = c.failed(backend.ErrNotExist, nil)
	}
	return pair, err
}

// get fetches what the state's key holds; nil if it does not exist.
func (b *Backend) get(ctx context.Context, c call) (*api.KVPair, error) {
	return repeat(ctx, func(ctx context.Context) (*api.KVPair, error) {
		pair, meta, err := b.client.KV().Get(c.key, consistent(ctx))
		return pair, c.answered(ctx, meta, err)
	})
}

// keys lists the keys that begin with the path. What lies below a state, its lock
// and its chunks, is folded.
func (b *Backend) keys(ctx context.Context, c call) ([]string, error) {
	list := func(prefix string) (keys []string, filtered bool, err error) {
		keys, err = repeat(ctx, func(ctx context.Context) ([]string, error) {
			keys, meta, err := b.client.KV().Keys(prefix, "/", consistent(ctx))
			filtered = meta != nil && meta.ResultsFilteredByACLs
			return keys, c.answered(ctx, meta, err)
		})
		return keys, filtered, err
	}
	keys, filtered, err := list(b.config.Path)
	if err != nil || !filtered {
		return keys, err
	}
	// The token may not see all keys. Those that are ours it must.
	if _, filtered, err = list(b.config.Path + workspaces); err == nil && filtered {
		err = c.denied("some workspaces were left out of the list")
	}
	if err == nil {
		c.key = b.config.Path
		_, err = b.get(ctx, c)
	}
	return keys, err
}

// repeat makes a request that may be made twice, again where that may help.
func repeat[T any](ctx context.Context, try func(context.Context) (T, error)) (T, error) {
	return settle.Do(ctx, settle.Request[T]{Try: try})
}

func consistent(ctx context.Context) *api.QueryOptions {
	return (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx)
}

func writes(ctx context.Context) *api.WriteOptions {
	return (&api.WriteOptions{}).WithContext(ctx)
}

// tidyTime is how long tidying up goes on when the caller's context has ended.
const tidyTime = time.Second

// grace returns a context that goes on for that long after ctx.
func grace(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(tidyTime, cancel) })
	return longer, func() { stop(); cancel() }
}
