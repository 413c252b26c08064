package consul

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/limit"
	"github.com/statelatch/statelatch/internal/settle"
)

const (
	// chunkSize is the size of Terraform's chunks, and Consul's limit for a value.
	chunkSize = 512 << 10
	// readAtOnce bounds what one transaction reads to 8 MiB.
	readAtOnce = 16
	// deleteAtOnce keeps within the operations that one transaction may have (64 in
	// older versions of Consul).
	deleteAtOnce = 60
)

var errChunkGone = errors.New("a chunk that the index names is not there")

// storeChunks stores chunks, of which nobody knows before an index names them.
func (b *Backend) storeChunks(ctx context.Context, c call, chunks api.KVPairs) error {
	for _, chunk := range chunks {
		_, err := repeat(ctx, func(ctx context.Context) (none struct{}, err error) {
			return none, b.storeChunk(ctx, c, chunk)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// storeChunk creates a chunk. Of a plain PUT, the vendor's client does not tell what
// was answered: it may be the page of a middlebox.
func (b *Backend) storeChunk(ctx context.Context, c call, chunk *api.KVPair) error {
	created, _, err := b.client.KV().CAS(chunk, writes(ctx))
	if err != nil || created {
		return c.readError(ctx, err)
	}
	c.key = chunk.Key
	pair, err := b.get(ctx, c) // it may have been created by a request whose reply was lost
	if err == nil && (pair == nil || !bytes.Equal(pair.Value, chunk.Value)) {
		err = c.failed(backend.ErrTransient, errors.New("the agent does not say that a chunk is stored, and it is not"))
	}
	return err
}

// join fetches the chunks of a state; as far as they are there, also with an error.
func (b *Backend) join(ctx context.Context, c call, keys []string) (data []byte, err error) {
	for some := range slices.Chunk(keys, readAtOnce) {
		var ops []*api.KVTxnOp
		for _, key := range some {
			if !strings.HasPrefix(key, c.tree()) {
				return data, c.failed(backend.ErrCorrupt, fmt.Errorf("the index names the key %q, which is no chunk of this state", key))
			}
			ops = append(ops, &api.KVTxnOp{Verb: api.KVGetOrEmpty, Key: key})
		}
		pairs, err := b.readTxn(ctx, c, ops)
		if err != nil {
			return nil, err
		}
		for _, pair := range pairs {
			if len(pair.Value) == 0 {
				return data, errChunkGone
			}
			if data == nil { // all chunks but the last are as long as the first
				data = make([]byte, 0, min(int64(len(keys))*int64(len(pair.Value)), limit.Of(b.config.MaxSize)))
			}
			data = append(data, pair.Value...)
		}
		if err := c.checkSize(len(data)); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// replacing returns the chunks of the state that is to be replaced, and spares the
// storing of others if another is there.
func (b *Backend) replacing(ctx context.Context, c call, r backend.Revision) ([]string, error) {
	pair, err := b.get(ctx, c)
	if err != nil {
		return nil, err
	}
	var now backend.Revision
	if pair != nil && len(pair.Value) > 0 {
		now = revisionOf(pair)
	}
	if r != backend.AnyRevision && r != now {
		return nil, c.failed(backend.ErrConflict, nil)
	}
	return c.chunksOf(pair), nil
}

// deleteChunks deletes chunks, as far as that goes: those that the state's key does
// not name at the very moment of the deletion. Terraform gives the same names to
// equal contents, so that chunks once replaced may be back.
func (b *Backend) deleteChunks(ctx context.Context, c call, keys []string) {
	ctx, cancel := grace(ctx)
	defer cancel()
	for some := range slices.Chunk(keys, deleteAtOnce) {
		_, err := settle.Do(ctx, settle.Request[struct{}]{Try: func(ctx context.Context) (none struct{}, err error) {
			return none, b.deleteUnnamed(ctx, c, some)
		}})
		if err != nil {
			return
		}
	}
}

// deleteUnnamed deletes chunks unless the key names them; what it deletes may be
// deleted again, so its error is never more than transient.
func (b *Backend) deleteUnnamed(ctx context.Context, c call, keys []string) error {
	pair, err := b.get(ctx, c)
	if err != nil {
		return err
	}
	ops := []*api.KVTxnOp{{Verb: api.KVCheckNotExists, Key: c.key}}
	if pair != nil {
		ops[0] = &api.KVTxnOp{Verb: api.KVCheckIndex, Key: c.key, Index: pair.ModifyIndex}
	}
	live := c.chunksOf(pair)
	for _, key := range keys {
		if !slices.Contains(live, key) {
			ops = append(ops, &api.KVTxnOp{Verb: api.KVDelete, Key: key})
		}
	}
	_, failed, err := b.txn(ctx, c, ops)
	if failed != nil {
		err = c.failed(backend.ErrTransient, errors.New(failed.What))
	}
	return c.unchanged(ctx, err)
}
