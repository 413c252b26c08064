package azblob

import (
	"context"
	"encoding/base64"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"github.com/statelatch/statelatch/lock"
)

// lease returns a client of the blob's lease by an ID.
func (c call) lease(id string) *lease.BlobClient {
	client, _ := lease.NewBlobClient(c.blob, &lease.BlobClientOptions{LeaseID: &id}) // fails only to make an ID
	return client
}

func ifMatch(etag azcore.ETag) *lease.ModifiedAccessConditions {
	return &lease.ModifiedAccessConditions{IfMatch: &etag}
}

func (b *Backend) acquireOnce(ctx context.Context, c call, id string, duration int32, etag azcore.ETag) error {
	reply, err := c.lease(id).AcquireLease(b.once(ctx), duration, &lease.BlobAcquireOptions{ModifiedAccessConditions: ifMatch(etag)})
	if err = genuine(err, reply.RequestID); err != nil {
		return b.changeError(ctx, c, err)
	}
	return nil
}

func (b *Backend) releaseOnce(ctx context.Context, c call, id string, etag azcore.ETag) error {
	reply, err := c.lease(id).ReleaseLease(b.once(ctx), &lease.BlobReleaseOptions{ModifiedAccessConditions: ifMatch(etag)})
	if err = genuine(err, reply.RequestID); err != nil {
		return b.changeError(ctx, c, err)
	}
	return nil
}

func (b *Backend) breakOnce(ctx context.Context, c call, etag azcore.ETag) error {
	reply, err := c.lease("").BreakLease(b.once(ctx), &lease.BlobBreakOptions{BreakPeriod: new(int32(0)), ModifiedAccessConditions: ifMatch(etag)})
	if err = genuine(err, reply.RequestID); err != nil {
		return b.changeError(ctx, c, err)
	}
	return nil
}

// renewOnce leaves it to the vendor's client to repeat the request: twice is as good
// as once.
func (b *Backend) renewOnce(ctx context.Context, c call, id string) error {
	reply, err := c.lease(id).RenewLease(ctx, nil)
	if err = genuine(err, reply.RequestID); err != nil {
		return b.readError(ctx, c, err)
	}
	return nil
}

var leaseID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// isLeaseID reports whether a lease can have this ID.
func isLeaseID(id string) bool { return leaseID.MatchString(id) }

// info reads the lock's record.
func info(p *properties) lock.Info {
	record, err := base64.StdEncoding.DecodeString(value(p.metadata[lockKey]))
	if err != nil {
		record = []byte("not base64")
	}
	return lock.ParseInfo(record, fingerprint(p))
}

// unreadable describes the holder of a lease that has no record of its own.
func unreadable(p *properties) lock.Info {
	if own := info(p); !isLeaseID(own.ID) && strings.HasSuffix(own.ID, fingerprint(p)) {
		return own
	}
	return lock.ParseInfo(nil, fingerprint(p))
}

func fingerprint(p *properties) string { return strings.Trim(string(p.etag), `"`) }
