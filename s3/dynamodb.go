package s3

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/settle"
	"github.com/statelatch/statelatch/lock"
)

// lockItem is the lock that is an item of a DynamoDB table.
//
// Its attribute Info is the JSON of Terraform's seven names and nothing else:
// OpenTofu releases a lock only if Info has, byte for byte, what it would write
// itself. More goes into attributes of their own.
type lockItem struct{ b *Backend }

const (
	tokenAttribute = "StatelatchCall" // the token of the call that wrote the item
	refAttribute   = "StatelatchRef"  // lock.Info.Ref
)

type attributes = map[string]types.AttributeValue

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func textOf(v types.AttributeValue) string {
	if s, ok := v.(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

func (b *Backend) itemKey(c call) attributes {
	return attributes{"LockID": text(b.config.Bucket + "/" + c.key)}
}

// dynamo sets up the vendor's client for every call.
func dynamo(o *dynamodb.Options) {
	o.APIOptions = append(o.APIOptions, refreshing(o.Credentials))
	o.Retryer = patiently(o.Retryer)
}

// dynamoOnce is dynamo for a request that the vendor's client must not repeat.
func dynamoOnce(o *dynamodb.Options) {
	dynamo(o)
	o.APIOptions = append(o.APIOptions, watched)
	o.Retryer = aws.NopRetryer{}
}

func (l lockItem) acquire(ctx context.Context, c call, info lock.Info, t *taken) error {
	item := l.b.itemKey(c)
	item[tokenAttribute] = text(rand.Text())
	if info.Ref != "" {
		item[refAttribute] = text(info.Ref)
	}
	info.Ref = ""
	record, err := json.Marshal(info)
	if err != nil {
		return c.failed(backend.ErrInvalid, err)
	}
	item["Info"] = text(string(record))
	for range 3 {
		if err = l.put(ctx, c, item, info); !errors.Is(err, backend.ErrConflict) {
			t.info = item["Info"]
			return err
		}
		now, err := l.get(ctx, c)
		switch {
		case err != nil:
			return unseen(ctx, c, info.ID, err)
		case now == nil: // released in between
		case textOf(now[tokenAttribute]) == textOf(item[tokenAttribute]): // delivered twice, refused against itself
			t.info = item["Info"]
			return nil
		default:
			return &lock.HeldError{Workspace: c.workspace, Holder: itemInfo(now)}
		}
	}
	return c.failed(backend.ErrTransient, errors.New("the lock was taken and released all the time"))
}

func (l lockItem) put(ctx context.Context, c call, item attributes, info lock.Info) error {
	var holder *lock.HeldError
	_, err := settled(ctx, l.b, settle.Request[struct{}]{
		Try: func(ctx context.Context) (none struct{}, err error) {
			_, err = l.b.dynamodb.PutItem(ctx, &dynamodb.PutItemInput{
				TableName: &l.b.config.DynamoDBTable, Item: item, ConditionExpression: aws.String("attribute_not_exists(LockID)"),
			}, dynamoOnce)
			if err != nil {
				return none, l.b.changeError(ctx, c, l.b.onTable("dynamodb:PutItem"), err)
			}
			return none, nil
		},
		Look: func(ctx context.Context) (none struct{}, found settle.Found, err error) {
			now, err := l.get(ctx, c)
			switch {
			case err != nil:
				return none, settle.Other, err
			case now == nil:
				return none, settle.Before, nil
			case textOf(now[tokenAttribute]) == textOf(item[tokenAttribute]):
				return none, settle.Ours, nil
			}
			holder = &lock.HeldError{Workspace: c.workspace, Holder: itemInfo(now)}
			return none, settle.Other, nil
		},
		Unknown: func(why error) error {
			unknown := &lock.UnknownError{Workspace: c.workspace, ID: info.ID, Err: why}
			if holder != nil {
				holder.Err = unknown // not ours now; but an attempt may arrive late
				return holder
			}
			return unknown
		},
	})
	return err
}

func (l lockItem) release(ctx context.Context, c call, id string, t taken) error {
	if t.info == nil {
		item, err := l.get(ctx, c)
		if err != nil {
			return err
		}
		if item == nil {
			return c.failed(lock.ErrNotHeld, nil)
		}
		if err := mustHold(c, itemInfo(item), id); err != nil {
			return err
		}
		t.info = item["Info"]
	}
	err := l.remove(ctx, c, t.info)
	if !errors.Is(err, backend.ErrConflict) {
		return err
	}
	holder, err := l.holder(ctx, c)
	if err != nil {
		return err
	}
	return &lock.HeldError{Workspace: c.workspace, Holder: holder}
}

// remove deletes the item if its Info is still info, which is nil for an item
// without.
func (l lockItem) remove(ctx context.Context, c call, info types.AttributeValue) error {
	in := &dynamodb.DeleteItemInput{TableName: &l.b.config.DynamoDBTable, Key: l.b.itemKey(c)}
	if info == nil {
		in.ConditionExpression = aws.String("attribute_exists(LockID) AND attribute_not_exists(Info)")
	} else {
		in.ConditionExpression = aws.String("Info = :info")
		in.ExpressionAttributeValues = attributes{":info": info}
	}
	_, err := settled(ctx, l.b, settle.Request[struct{}]{
		Try: func(ctx context.Context) (none struct{}, err error) {
			if _, err = l.b.dynamodb.DeleteItem(ctx, in, dynamoOnce); err != nil {
				return none, l.b.changeError(ctx, c, l.b.onTable("dynamodb:DeleteItem"), err)
			}
			return none, nil
		},
		// Gone, or another's: this lock, which was held, is not held any longer.
		Look: func(ctx context.Context) (none struct{}, found settle.Found, err error) {
			item, err := l.get(ctx, c)
			switch {
			case err != nil:
				return none, settle.Other, err
			case item != nil && reflect.DeepEqual(item["Info"], info):
				return none, settle.Before, nil
			}
			return none, settle.Ours, nil
		},
		Unknown: func(why error) error { return c.failed(backend.ErrUnknown, why) },
	})
	return err
}

func (l lockItem) holder(ctx context.Context, c call) (lock.Info, error) {
	item, err := l.get(ctx, c)
	switch {
	case err != nil:
		return lock.Info{}, err
	case item == nil:
		return lock.Info{}, c.failed(lock.ErrNotHeld, nil)
	}
	return itemInfo(item), nil
}

// get fetches the item; nil if there is none.
func (l lockItem) get(ctx context.Context, c call) (attributes, error) {
	return l.b.getItem(ctx, c, l.b.itemKey(c))
}

func (b *Backend) getItem(ctx context.Context, c call, key attributes) (attributes, error) {
	out, err := b.dynamodb.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &b.config.DynamoDBTable, Key: key, ConsistentRead: aws.Bool(true),
	}, dynamo)
	if err != nil {
		return nil, b.readError(ctx, c, b.onTable("dynamodb:GetItem"), err)
	}
	if len(out.Item) == 0 {
		return nil, nil
	}
	return out.Item, nil
}

func itemInfo(item attributes) lock.Info {
	record := textOf(item["Info"])
	sum := sha256.Sum256([]byte(record))
	info := lock.ParseInfo([]byte(record), fmt.Sprintf("%x", sum[:8]))
	info.Ref = textOf(item[refAttribute])
	return info
}
