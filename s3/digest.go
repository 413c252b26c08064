package s3

import (
	"cmp"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
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
		obj, item, err := b.readBoth(ctx, c)
		if err != nil {
			return backend.State{}, err
		}
		actual, digest := digestOf(obj.data), textOf(item["Digest"])
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

// readBoth fetches the object, empty if there is none, and the item with its digest,
// nil if there is none.
func (b *Backend) readBoth(ctx context.Context, c call) (*object, attributes, error) {
	var obj *object
	var item attributes
	both, within := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		obj, err = b.orNothing(b.get(within, c, c.key))
		return err
	})
	both.Go(func() (err error) {
		item, err = b.getItem(within, c, b.digestKey(c))
		return err
	})
	err := both.Wait()
	return obj, item, err
}

// writeDigest stores the digest of what was just written in the place of the revision
// over, or deletes it if that is nothing. Without a lock, another may have written
// since: then its digest is stored, until object and digest agree. done says what was
// done to the state.
func (b *Backend) writeDigest(ctx context.Context, c call, done, over string, obj *object, locked bool) error {
	for {
		err := b.putDigest(ctx, c, over, obj)
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
		if err == nil || errors.Is(err, backend.ErrConflict) { // the digest is another revision's
			obj, over, err = b.readForDigest(ctx, c)
		}
		if err != nil {
			// Of err only the text: its kind would claim that nothing has changed.
			return c.failed(backend.ErrUnknown, ended(ctx, fmt.Errorf("the state was %s, but perhaps not its digest, with which it has to agree; RepairDigest makes sure: %v", done, err)))
		}
	}
}

// readForDigest fetches the object, and the revision that the stored digest is of.
func (b *Backend) readForDigest(ctx context.Context, c call) (obj *object, of string, err error) {
	obj, item, err := b.readBoth(ctx, c)
	return obj, textOf(item[revisionAttribute]), err
}

// agree makes object and digest agree, whatever they are, after a change whose
// outcome is unknown, and returns that outcome.
func (b *Backend) agree(ctx context.Context, c call, outcome error) error {
	if b.dynamodb != nil && errors.Is(outcome, backend.ErrUnknown) && ctx.Err() == nil {
		if obj, over, err := b.readForDigest(ctx, c); err == nil {
			_ = b.writeDigest(ctx, c, "", over, obj, false) // if that fails, Read and RepairDigest will tell
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

const (
	revisionAttribute = "StatelatchRevision" // the revision that a digest is of; Terraform does not store it
	digestCondition   = "attribute_not_exists(" + revisionAttribute + ") OR " + revisionAttribute + " IN (:over, :now)"
)

// putDigest stores the digest of obj, or deletes it if there is no obj, unless the one
// that is there is known to be of another revision than over and obj: a request that
// arrives late, when others have written since, changes nothing. The vendor's client
// may repeat it.
func (b *Backend) putDigest(ctx context.Context, c call, over string, obj *object) (err error) {
	table, item, action := &b.config.DynamoDBTable, b.digestKey(c), "dynamodb:PutItem"
	var condition *string
	var values attributes
	if over != string(backend.AnyRevision) {
		condition = aws.String(digestCondition)
		values = attributes{":over": text(cmp.Or(over, "none")), ":now": text(cmp.Or(obj.etag, "none"))}
	}
	if digest := digestOf(obj.data); digest == "" {
		action = "dynamodb:DeleteItem"
		_, err = b.dynamodb.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: table, Key: item, ConditionExpression: condition, ExpressionAttributeValues: values}, dynamo)
	} else {
		item["Digest"], item[revisionAttribute] = text(digest), text(obj.etag)
		_, err = b.dynamodb.PutItem(ctx, &dynamodb.PutItemInput{TableName: table, Item: item, ConditionExpression: condition, ExpressionAttributeValues: values}, dynamo)
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
	obj, over, err := b.readForDigest(ctx, c)
	if err != nil {
		return err
	}
	return b.writeDigest(ctx, c, "left as it is", over, obj, false)
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
