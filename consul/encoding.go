package consul

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/limit"
)

const (
	// txnLimit is what fits into one transaction, whose body is bounded to 512 KiB: the
	// value in base64, and the keys and the rest around it.
	txnLimit = (512<<10 - 8<<10) / 4 * 3
	// gzipMagic begins a value that is compressed.
	gzipMagic = 0x1f
)

// A chunkIndex is what stands in the place of a state that is kept in chunks.
type chunkIndex struct {
	Chunks []string `json:"chunks"`       // their keys
	Hash   string   `json:"current-hash"` // the MD5 of the state, decompressed
}

// parseIndex reports whether a value is an index of chunks.
func parseIndex(value []byte) (idx chunkIndex, ok bool) {
	if !bytes.Contains(value, []byte(`"current-hash"`)) || json.Unmarshal(value, &idx) != nil {
		return chunkIndex{}, false
	}
	return idx, idx.Hash != ""
}

// encode returns the value that stands for a state, and the chunks that it names,
// which are to be stored before.
func (b *Backend) encode(c call, data []byte) (value []byte, chunks api.KVPairs, err error) {
	stored := data
	_, ambiguous := parseIndex(data)
	if b.config.GZIP || ambiguous || data[0] == gzipMagic { // a reader goes by what it finds
		if stored, err = compress(data); err != nil {
			return nil, nil, c.failed(backend.ErrInvalid, err)
		}
	}
	if len(stored) <= txnLimit {
		return stored, nil, nil
	}
	idx := chunkIndex{Hash: md5Of(data)}
	// Terraform deletes the chunks of a state that it replaces by the first part.
	tree := c.tree() + idx.Hash + "/" + rand.Text() + "/"
	for part := range slices.Chunk(stored, chunkSize) {
		chunks = append(chunks, &api.KVPair{Key: fmt.Sprint(tree, len(chunks)), Value: part})
	}
	idx.Chunks = keysOf(chunks)
	value, err = json.Marshal(idx)
	if err == nil && len(value) > txnLimit {
		err = fmt.Errorf("it has %d bytes, and the index of its chunks more than a transaction takes", len(data))
	}
	if err != nil {
		return nil, nil, c.failed(backend.ErrTooLarge, err)
	}
	return value, chunks, nil
}

// compress does as Terraform does: with a flush before the end.
func compress(data []byte) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(data)
	err = errors.Join(err, w.Flush(), w.Close())
	return out.Bytes(), err
}

// decode returns the state that a pair holds, or leads to; as far as it goes, also
// with an error. Without an error it is not empty.
func (b *Backend) decode(ctx context.Context, c call, pair *api.KVPair) (st backend.State, err error) {
	st = backend.State{Data: pair.Value, Revision: revisionOf(pair)}
	idx, chunked := parseIndex(pair.Value)
	if chunked {
		if st.Data, err = b.join(ctx, c, idx.Chunks); err != nil {
			return st, err
		}
	}
	if len(st.Data) > 0 && st.Data[0] == gzipMagic {
		if st.Data, err = c.decompress(st.Data); err != nil {
			return st, err
		}
	}
	if err := c.checkSize(len(st.Data)); err != nil {
		return backend.State{}, err
	}
	if actual := md5Of(st.Data); chunked && idx.Hash != actual {
		err = c.failed(backend.ErrCorrupt, fmt.Errorf("the chunks have the MD5 %s, but their index says %s", actual, idx.Hash))
	} else if len(st.Data) == 0 {
		err = c.failed(backend.ErrCorrupt, errors.New("what is stored stands for an empty state"))
	}
	return st, err
}

// decompress returns data as it is if it is damaged.
func (c call) decompress(data []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return data, c.failed(backend.ErrCorrupt, err)
	}
	plain, err := limit.ReadAll(r, -1, limit.Of(c.backend.config.MaxSize))
	if err != nil {
		return data, c.failed(backend.ErrCorrupt, err)
	}
	return plain, c.checkSize(len(plain))
}

func md5Of(data []byte) string { return fmt.Sprintf("%x", md5.Sum(data)) }

// tree is the prefix of a state's chunks.
func (c call) tree() string { return c.below() + "tfstate." }

func keysOf(chunks api.KVPairs) (keys []string) {
	for _, chunk := range chunks {
		keys = append(keys, chunk.Key)
	}
	return keys
}

// chunksOf returns the keys of the chunks that a pair names, those that are the
// state's own.
func (c call) chunksOf(pair *api.KVPair) []string {
	if pair == nil {
		return nil
	}
	idx, _ := parseIndex(pair.Value)
	return slices.DeleteFunc(idx.Chunks, func(key string) bool { return !strings.HasPrefix(key, c.tree()) })
}
