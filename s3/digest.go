package s3

import (
	"cmp"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/statelatch/statelatch/backend"
	"golang.org/x/sync/errgroup"
)

// Terraform's rule for a digest that does not match: read again every 2 s, for 10 s.
const (
	digestPause = 2 * time.Second
	digestLimit = 10 * time.Second
)

func digestOf(data []byte) string {
	if len(data) == 0 {
		return ""
	}
	return fmt.Sprintf("%x", md5.Sum(data))
}

func (b *Backend) digestKey(c call) attributes {
	return attributes{"LockID": text(b.config.Bucket + "/" + c.key + "-md5")}
}

// readVerified reads the state and its digest at the same time, until they agree
// or it gives up: then the error matches ErrCorrupt and the State comes with it.
func (b *Backend) readVerified(ctx context.Context, c call) (backend.State, error) {
	for start := time.Now(); ; {
		obj, digest, err := b.readBoth(ctx, c)
		if err != nil {
			return backend.State{}, err
		}
		actual := digestOf(obj.data)
		if digest == "" || digest == actual {
			return obj.state(c)
		}
		if time.Since(start) < cmp.Or(b.digestLimit, digestLimit) && sleep(ctx, cmp.Or(b.digestPause, digestPause)) {
			continue
		}
		st, _ := obj.state(c)
		return st, c.failed(cmp.Or(ctx.Err(), backend.ErrCorrupt), fmt.Errorf("the digest of the state is %q, but table %s has %q: "+
			"somebody wrote one without the other; if the state is the right one, RepairDigest makes them agree", actual, b.config.DynamoDBTable, digest))
	}
}

// readBoth fetches the object, empty if there is none, and the digest, "" if there
// is none.
func (b *Backend) readBoth(ctx context.Context, c call) (*object, string, error) {
	var obj *object
	var digest string
	both, within := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		obj, err = b.orNothing(b.get(within, c, c.key))
		return err
	})
	both.Go(func() error {
		item, err := b.getItem(within, c, b.digestKey(c))
		digest = textOf(item["Digest"])
		return err
	})
	err := both.Wait()
	return obj, digest, err
}

// writeDigest stores the digest of what was just written, or deletes it if that is
// nothing. Without a lock, another may have written since: then its digest is
// stored, until object and digest agree. done says what was done to the state.
func (b *Backend) writeDigest(ctx context.Context, c call, done string, obj *object, locked bool) error {
	for {
		err := b.putDigest(ctx, c, digestOf(obj.data))
		if err == nil && locked {
			return nil
		}
		var now *object
		if err == nil {
			now, err = b.orNothing(b.head(ctx, c, c.key))
		}
		if err == nil && now.etag == obj.etag {
			return nil
		}
		if err == nil {
			obj, err = b.orNothing(b.get(ctx, c, c.key))
		}
		if err != nil {
			// Of err only the text: its kind would claim that nothing has changed.
			return c.failed(backend.ErrUnknown, ended(ctx, fmt.Errorf("the state was %s, but perhaps not its digest, with which it has to agree; RepairDigest makes sure: %v", done, err)))
		}
	}
}

// agree makes object and digest agree, whatever they are, after a change whose
// outcome is unknown, and returns that outcome.
func (b *Backend) agree(ctx context.Context, c call, outcome error) error {
	if b.dynamodb != nil && errors.Is(outcome, backend.ErrUnknown) && ctx.Err() == nil {
		if obj, err := b.orNothing(b.get(ctx, c, c.key)); err == nil {
			_ = b.writeDigest(ctx, c, "", obj, false) // if that fails, Read and RepairDigest will tell
		}
	}
	return outcome
}

// orNothing makes an empty object of one that does not exist.
func (b *Backend) orNothing(obj *object, err error) (*object, error) {
	if errors.Is(err, backend.ErrNotExist) {
		return &object{}, nil
	}
	return obj, err
}

// ended adds to err that ctx has ended, if it has.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// putDigest stores a digest, or deletes it if it is "". The request has no condition;
// the vendor's client may repeat it.
func (b *Backend) putDigest(ctx context.Context, c call, digest string) (err error) {
	item, action := b.digestKey(c), "dynamodb:PutItem"
	if digest == "" {
		action = "dynamodb:DeleteItem"
		_, err = b.dynamodb.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &b.config.DynamoDBTable, Key: item}, dynamo)
	} else {
		item["Digest"] = text(digest)
		_, err = b.dynamodb.PutItem(ctx, &dynamodb.PutItemInput{TableName: &b.config.DynamoDBTable, Item: item}, dynamo)
	}
	if err != nil {
		return b.changeError(ctx, c, b.onTable(action), err)
	}
	return nil
}

// RepairDigest makes the digest in the DynamoDB table that of the state that is
// stored, whatever both are. Hold the lock while calling it.
func (b *Backend) RepairDigest(ctx context.Context, workspace string) error {
	c, err := b.call(ctx, "repair digest", workspace)
	if err != nil {
		return err
	}
	if b.dynamodb == nil {
		return c.failed(errors.ErrUnsupported, errors.New("no dynamodb_table is configured"))
	}
	obj, err := b.orNothing(b.get(ctx, c, c.key))
	if err != nil {
		return err
	}
	return b.writeDigest(ctx, c, "left as it is", obj, false)
}

// sleep reports false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
