package s3_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/testservice"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/s3"
)

// What no setup has.
var lacks = backendtest.Skips{
	"Advance": "the clock of a server cannot be set",
	"Waiter":  "S3 and DynamoDB tell nobody of a release",
	"Watcher": "S3 and DynamoDB tell nobody of a loss",
}

// What a lock in DynamoDB has not.
var cannotExpire = backendtest.Skips{
	"write under an expired lock":        "a lock in DynamoDB cannot expire",
	"lock/expired lock is taken over":    "a lock in DynamoDB cannot expire",
	"lock/one winner of an expired lock": "a lock in DynamoDB cannot expire",
	"lock/expired lock is not held":      "a lock in DynamoDB cannot expire",
	"lock/renew":                         "a lock in DynamoDB cannot expire",
	"lock/renew with another ID":         "a lock in DynamoDB cannot expire",
}

// What takes long, and has nothing to do with locks or digests.
var long = backendtest.Skips{
	"large states":    "done with the lock file alone; a table plays no part in it",
	"many workspaces": "done with the lock file alone; a table plays no part in it",
}

// What a lock file has not where If-Match of DELETE is ignored, or a DELETE of what
// is gone succeeds: of two who release one lock at once, both may succeed, and a lock
// taken in between may go. TestLockRounds does without such clients there.
var ignoresDelete = backendtest.Skips{
	"lock/linearizable":        "the endpoint does not honour If-Match of DELETE",
	"lock/context ends during": "the endpoint does not honour If-Match of DELETE",
}

// What two locks have not.
var notAtOnce = backendtest.Skips{
	"lock/linearizable":        "two locks are not taken at one moment: a Holder may see who has only the first",
	"lock/context ends during": "two locks are not taken at one moment: a Holder may see who has only the first",
}

func TestConformance(t *testing.T) {
	for _, test := range []struct {
		name  string
		setup setup
		skips []backendtest.Skips
	}{
		{"minio, lock file", setup{objects: minio, file: true}, []backendtest.Skips{ignoresDelete}},
		{"versitygw, lock file", setup{objects: versitygw, file: true}, nil},
		{"versitygw found out, proxy, lock file", setup{objects: versitygw, unknown: true, proxied: true, file: true}, []backendtest.Skips{ignoresDelete, long}},
		{"versitygw, table", setup{objects: versitygw, table: dynalite}, []backendtest.Skips{long, cannotExpire}},
		{"minio, proxy, both", setup{objects: minio, table: dynalite, file: true, proxied: true}, []backendtest.Skips{notAtOnce, long, cannotExpire}},
	} {
		t.Run(test.name, func(t *testing.T) { backendtest.Run(t, test.setup.target(t, test.skips...)) })
	}
}

// TestConformanceMinidyn has the other stand-in for DynamoDB hold the locks.
func TestConformanceMinidyn(t *testing.T) {
	backendtest.Run(t, setup{objects: versitygw, table: minidyn, file: true}.target(t, notAtOnce, long, cannotExpire))
}

// target is the setup, for the suites.
func (s setup) target(t testing.TB, skips ...backendtest.Skips) backendtest.Target {
	all := maps.Clone(lacks)
	for _, some := range skips {
		maps.Copy(all, some)
	}
	return backendtest.Target{
		New:    s.namespace,
		TTL:    6 * time.Second, // a slow machine does no race in less than a third of it
		Canary: s.objects.start(t).SecretKey,
		Skips:  all,
	}
}

func (s setup) namespace(t testing.TB) backendtest.Namespace {
	n := s.open(t)
	open := func(change ...func(*s3.Config)) func(testing.TB) backend.Backend {
		return func(t testing.TB) backend.Backend { return n.client(t, wire{}, change...) }
	}
	return backendtest.Namespace{
		Open:        open(),
		Empty:       func(t testing.TB, workspace string) { n.put(t, n.key(workspace), "") },
		Beside:      open(func(c *s3.Config) { c.Key += ".bak" }),
		Unlocked:    open(func(c *s3.Config) { c.UseLockfile, c.DynamoDBTable = false, "" }),
		CorruptLock: n.corruptLock,
		Lossy:       n.faulty(faultproxy.Rule{Match: changes, Fault: faultproxy.CutAfter()}),
		Hung:        n.faulty(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Hang()}),
		Limited: func(t testing.TB, limit int) backend.Backend {
			return n.client(t, wire{}, func(c *s3.Config) { c.MaxSize = int64(limit) })
		},
	}
}

// faulty opens a client each of whose servers is behind a proxy with that rule.
func (n *namespace) faulty(rule faultproxy.Rule) func(testing.TB) backend.Backend {
	return func(t testing.TB) backend.Backend {
		w := n.wire(t)
		w.add(rule)
		return n.client(t, w)
	}
}

// corruptLock puts rubbish in the place of one lock: that of two, whose IDs then
// differ, which Holder names.
func (n *namespace) corruptLock(t testing.TB, workspace string) {
	t.Helper()
	if n.file {
		n.put(t, n.key(workspace)+".tflock", "rubbish")
	} else {
		n.item(t, n.lockKey(workspace), "Info", "rubbish")
	}
}

// TestRefused has an endpoint that ignores every condition refused, by the name of the
// header.
func TestRefused(t *testing.T) {
	n := setup{objects: s3rver, file: true}.open(t)
	ctx := t.Context()
	c := n.client(t, wire{})
	refused := func(doing, header string, err error) {
		t.Helper()
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), header+",") || !strings.Contains(err.Error(), `conditions = "ignored"`) {
			t.Errorf("%s: got error %v, want one that names %s and the setting", doing, err, header)
		}
	}
	for range 2 { // found out, and remembered
		_, err := c.Lock(ctx, "default", lock.NewInfo("test"))
		refused("Lock", "If-None-Match", err)
	}
	if _, err := n.client(t, wire{}).Holder(ctx, "default"); !errors.Is(err, lock.ErrNotHeld) {
		t.Errorf("Holder after a refused Lock: %v", err)
	}
	c = n.client(t, wire{})
	_, err := c.Write(ctx, "default", []byte("one"), backend.Condition{})
	refused("Write of the first state", "If-None-Match", err)
	if _, err := c.Read(ctx, "default"); !errors.Is(err, backend.ErrNotExist) {
		t.Errorf("Read after a refused Write: %v", err)
	}
	n.put(t, n.key("default"), "one")
	st, err := c.Read(ctx, "default")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Write(ctx, "default", []byte("two"), backend.Condition{Revision: st.Revision})
	refused("Write", "If-Match", err)
	refused("Delete", "If-Match", n.client(t, wire{}).Delete(ctx, "default", backend.Condition{Revision: st.Revision}))
}

// versioned makes a bucket that keeps earlier versions the namespace's.
func (n *namespace) versioned(t testing.TB) {
	t.Helper()
	objects, _ := n.sdk(t)
	n.config.Bucket = testservice.Name(t)
	if _, err := objects.CreateBucket(context.Background(), &sdk.CreateBucketInput{Bucket: &n.config.Bucket}); err != nil {
		t.Fatal(err)
	}
	if _, err := objects.PutBucketVersioning(context.Background(), &sdk.PutBucketVersioningInput{Bucket: &n.config.Bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}}); err != nil {
		t.Fatal(err)
	}
}

func TestProbeVersioning(t *testing.T) {
	n := setup{objects: minio}.open(t)
	n.versioned(t)
	got, err := n.client(t, wire{}).Probe(t.Context())
	if err != nil || !got.Versioning || got.VersioningUnknown {
		t.Errorf("got %+v, %v", got, err)
	}
}
