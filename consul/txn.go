package consul

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"

	"github.com/hashicorp/consul/api"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/settle"
)

// newToken returns the flags of a key that this very call writes. They have 53 bits,
// which every JSON reader keeps; Terraform writes 0.
func newToken() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])>>11 | 1
}

// replace puts value in the place of the state whose modify index is given, and
// returns its own. It finds out what became of that if no reply tells.
func (b *Backend) replace(ctx context.Context, c call, value []byte, replaces uint64, cond backend.Condition) (modified uint64, err error) {
	set := &api.KVTxnOp{Verb: api.KVCAS, Key: c.key, Value: value, Flags: newToken(), Index: replaces}
	if cond.Revision == backend.AnyRevision {
		set.Verb = api.KVSet
	}
	return settle.Do(ctx, settle.Request[uint64]{
		Try: func(ctx context.Context) (uint64, error) { return b.trySet(ctx, c, set, cond.LockID) },
		Look: func(ctx context.Context) (uint64, settle.Found, error) {
			pair, err := b.get(ctx, c)
			switch {
			case err != nil:
				return 0, settle.Other, err
			case made(pair, set):
				return pair.ModifyIndex, settle.Ours, nil
			case pair != nil && pair.ModifyIndex == set.Index:
				return 0, settle.Before, nil
			case pair == nil && set.Index == 0 && cond.LockID != "":
				return 0, settle.Before, nil // without the lock, others may have deleted what was ours
			}
			return 0, settle.Other, nil
		},
		Once:    set.Verb == api.KVSet,
		Unknown: func(why error) error { return c.failed(backend.ErrUnknown, why) },
	})
}

// made reports whether a pair is what this very call has set, by its flags and its
// bytes.
func made(pair *api.KVPair, set *api.KVTxnOp) bool {
	return pair != nil && pair.Flags == set.Flags && bytes.Equal(pair.Value, set.Value)
}

// trySet sets the state's key once. A request that was delivered twice, which
// middleboxes do, is refused against itself. An empty value counts as no state: its
// place is taken instead.
func (b *Backend) trySet(ctx context.Context, c call, set *api.KVTxnOp, id string) (modified uint64, err error) {
	modified, err = b.fenced(ctx, c, []*api.KVTxnOp{set}, id)
	if !errors.Is(err, backend.ErrConflict) {
		return modified, err
	}
	pair, failed := b.get(ctx, c)
	switch {
	case failed != nil:
		return 0, c.failed(backend.ErrUnknown, settle.Unseen(err, failed))
	case made(pair, set):
		return pair.ModifyIndex, nil
	case set.Index == 0 && pair != nil && len(pair.Value) == 0:
		set.Index = pair.ModifyIndex
		return b.trySet(ctx, c, set, id)
	}
	return 0, err
}

// remove deletes the state. Afterwards nothing tells whose deletion it was.
func (b *Backend) remove(ctx context.Context, c call, modified uint64, cond backend.Condition) error {
	ops := []*api.KVTxnOp{ // delete-cas is content where there is nothing
		{Verb: api.KVCheckIndex, Key: c.key, Index: modified},
		{Verb: api.KVDelete, Key: c.key},
	}
	_, err := settle.Do(ctx, settle.Request[uint64]{
		Try: func(ctx context.Context) (uint64, error) { return b.fenced(ctx, c, ops, cond.LockID) },
		Look: func(ctx context.Context) (uint64, settle.Found, error) {
			pair, err := b.get(ctx, c)
			if err == nil && pair != nil && pair.ModifyIndex == modified {
				return 0, settle.Before, nil
			}
			return 0, settle.Other, err
		},
		Unknown: func(why error) error { return c.failed(backend.ErrUnknown, why) },
	})
	return err
}

// fenced makes operations on the state, in one transaction with the check that id
// still holds the lock, where id is given. It returns the modify index, if the state
// is there afterwards.
func (b *Backend) fenced(ctx context.Context, c call, ops []*api.KVTxnOp, id string) (modified uint64, err error) {
	if id != "" {
		ops = append([]*api.KVTxnOp{c.checkHeld(id)}, ops...)
	}
	pairs, failed, err := b.txn(ctx, c, ops)
	switch {
	case err != nil:
		return 0, err
	case failed != nil && id != "" && failed.OpIndex == 0:
		return 0, b.notHeld(ctx, c, id, failed.What)
	case failed != nil:
		return 0, c.failed(backend.ErrConflict, errors.New(failed.What))
	}
	for _, pair := range pairs {
		if pair.Key == c.key { // not the lock's, which is checked
			modified = pair.ModifyIndex
		}
	}
	return modified, nil
}

// readTxn makes a transaction that only reads. The pairs it returns are one for each
// operation, without its value where the key does not exist.
func (b *Backend) readTxn(ctx context.Context, c call, ops []*api.KVTxnOp) (api.KVPairs, error) {
	return repeat(ctx, func(ctx context.Context) (api.KVPairs, error) {
		pairs, failed, err := b.txn(ctx, c, ops)
		switch {
		case err == nil && failed != nil:
			err = c.failed(backend.ErrInvalid, errors.New(failed.What))
		case errors.Is(err, errLeftOut):
			err = c.denied("some keys were left out of the reply")
		}
		return pairs, c.unchanged(ctx, err)
	})
}

// errLeftOut: the reply to a transaction lacks some of its results. Consul leaves out
// what the token may not read; something else that answers may leave out all.
var errLeftOut = errors.New("the reply does not say what became of each operation")

// txn makes a transaction, and returns the results of its operations; a deletion has
// none. failed says which operation was refused, if any: then nothing has changed.
func (b *Backend) txn(ctx context.Context, c call, ops []*api.KVTxnOp) (pairs api.KVPairs, failed *api.TxnError, err error) {
	var all api.TxnOps
	answers := 0
	for _, op := range ops {
		all = append(all, &api.TxnOp{KV: op})
		if op.Verb != api.KVDelete && op.Verb != api.KVCheckNotExists { // these leave nothing to answer
			answers++
		}
	}
	ok, reply, _, err := b.client.Txn().Txn(all, consistent(ctx))
	switch {
	case err != nil:
		return nil, nil, c.changeError(ctx, err)
	case !ok && (len(reply.Errors) == 0 || reply.Errors[0] == nil):
		return nil, nil, c.failed(backend.ErrUnknown, errors.New("the transaction was refused without a reason"))
	case !ok && isDenied(reply.Errors[0].What):
		return nil, nil, c.denied(reply.Errors[0].What)
	case !ok:
		return nil, reply.Errors[0], nil
	}
	for _, result := range reply.Results {
		if result != nil && result.KV != nil {
			pairs = append(pairs, result.KV)
		}
	}
	if len(pairs) != answers {
		return nil, nil, c.failed(backend.ErrUnknown, errLeftOut)
	}
	return pairs, nil, nil
}
