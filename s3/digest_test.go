package s3_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/respawn"
	"github.com/statelatch/statelatch/s3"
)

const digestOfOther = "795f3202b17cb6bc3d4b771d8c6c9eaf" // of "other"

func TestDigestMismatch(t *testing.T) {
	n := setup{objects: minio, table: dynalite}.open(t)
	b := n.client(t, wire{})
	rev, err := b.Write(t.Context(), "w", []byte("state"), backend.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	n.item(t, n.itemKey("w", "-md5"), "Digest", digestOfOther)

	st, err := b.Read(t.Context(), "w")
	if !errors.Is(err, backend.ErrCorrupt) || string(st.Data) != "state" || st.Revision != rev {
		t.Fatalf("%q at %q, %v", st.Data, st.Revision, err)
	}
	for _, want := range []string{"9ed39e2ea931586b6a985a6942ef573e", digestOfOther, "RepairDigest", place} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if err := b.RepairDigest(t.Context(), "w"); err != nil {
		t.Fatal(err)
	}
	if st, err := b.Read(t.Context(), "w"); err != nil || string(st.Data) != "state" {
		t.Errorf("after the repair: %q, %v", st.Data, err)
	}

	// A digest that a deleted state has left is repaired by deleting it.
	n.item(t, n.itemKey("gone", "-md5"), "Digest", digestOfOther)
	if _, err := b.Read(t.Context(), "gone"); !errors.Is(err, backend.ErrCorrupt) {
		t.Errorf("a digest without a state: %v", err)
	}
	if err := b.RepairDigest(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(t.Context(), "gone"); !errors.Is(err, backend.ErrNotExist) {
		t.Errorf("after the repair: %v", err)
	}
}

// TestDigestIsWaitedFor: another writes the state, and the digest a moment later.
func TestDigestIsWaitedFor(t *testing.T) {
	n := setup{objects: minio, table: dynalite}.open(t)
	n.put(t, n.key("w"), "state")
	n.item(t, n.itemKey("w", "-md5"), "Digest", digestOfOther)
	w := n.wire(t)
	w.tables.Add(faultproxy.Rule{Nth: 3, Fault: faultproxy.Before(func(*http.Request) {
		n.item(t, n.itemKey("w", "-md5"), "Digest", "9ed39e2ea931586b6a985a6942ef573e")
	})})
	if st, err := n.client(t, w).Read(t.Context(), "w"); err != nil || string(st.Data) != "state" {
		t.Errorf("%q, %v", st.Data, err)
	}
}

func TestDigestThatIsMissingIsNotChecked(t *testing.T) {
	n := setup{objects: minio, table: dynalite}.open(t)
	n.put(t, n.key("w"), "state")
	if st, err := n.client(t, wire{}).Read(t.Context(), "w"); err != nil || string(st.Data) != "state" {
		t.Errorf("%q, %v", st.Data, err)
	}
}

// TestLateDigest has the digest of a change arrive again after the next change, which
// it does not know of.
func TestLateDigest(t *testing.T) {
	ctx := t.Context()
	write := func(t *testing.T, c *client, data string, rev backend.Revision, lockID string) backend.Revision {
		t.Helper()
		rev, err := c.Write(ctx, "w", []byte(data), backend.Condition{Revision: rev, LockID: lockID})
		if err != nil {
			t.Fatal(err)
		}
		return rev
	}
	for name, table := range map[string]*store{"dynalite": dynalite, "minidyn": minidyn} {
		for locked, lockID := range map[string]string{"locked": "x", "not locked": ""} {
			t.Run(name+"/of a Write, "+locked, func(t *testing.T) {
				n := setup{objects: versitygw, table: table}.open(t)
				rev := write(t, n.client(t, wire{}), "zero", "", lockID)
				w := n.wire(t)
				deliver := late(w.tables, isItem("PutItem"))
				c := n.client(t, w)
				rev = write(t, c, "one", rev, lockID)
				write(t, n.client(t, wire{}), "two", rev, lockID)
				deliver()
				if st, err := c.Read(ctx, "w"); err != nil || string(st.Data) != "two" {
					t.Errorf("Read: %q, %v", st.Data, err)
				}
			})
			t.Run(name+"/of a Delete, "+locked, func(t *testing.T) {
				n := setup{objects: versitygw, table: table}.open(t)
				rev := write(t, n.client(t, wire{}), "one", "", lockID)
				w := n.wire(t)
				deliver := late(w.tables, isItem("DeleteItem"))
				c := n.client(t, w)
				if err := c.Delete(ctx, "w", backend.Condition{Revision: rev, LockID: lockID}); err != nil {
					t.Fatal(err)
				}
				write(t, n.client(t, wire{}), "two", "", lockID)
				before := n.digest(t)
				deliver()
				if after := n.digest(t); after == "" || after != before {
					t.Errorf("the digest is %q, and was %q", after, before)
				}
			})
		}
	}
}

// digest fetches the digest of w past the package.
func (n *namespace) digest(t testing.TB) string {
	t.Helper()
	_, tables := n.sdk(t)
	out, err := tables.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: aws.String(place), Key: n.itemKey("w", "-md5"), ConsistentRead: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	digest, _ := out.Item["Digest"].(*dbtypes.AttributeValueMemberS)
	if digest == nil {
		return ""
	}
	return digest.Value
}

// TestDigestOfAnother has a digest that was stored of a revision which nobody knows of.
func TestDigestOfAnother(t *testing.T) {
	ctx := t.Context()
	for name, change := range map[string]func(c *client, rev backend.Revision) error{
		"Write, locked": func(c *client, rev backend.Revision) error {
			_, err := c.Write(ctx, "w", []byte("other"), backend.Condition{Revision: rev, LockID: "x"})
			return err
		},
		"Write": func(c *client, rev backend.Revision) error {
			_, err := c.Write(ctx, "w", []byte("other"), backend.Condition{Revision: rev})
			return err
		},
		"Write, forced": func(c *client, _ backend.Revision) error {
			_, err := c.Write(ctx, "w", []byte("other"), backend.Condition{Revision: backend.AnyRevision, LockID: "x"})
			return err
		},
		"RepairDigest": func(c *client, _ backend.Revision) error { return c.RepairDigest(ctx, "w") },
		"Delete": func(c *client, rev backend.Revision) error {
			return c.Delete(ctx, "w", backend.Condition{Revision: rev, LockID: "x"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := setup{objects: versitygw, table: dynalite}.open(t)
			c := n.client(t, wire{})
			rev, err := c.Write(ctx, "w", []byte("state"), backend.Condition{})
			if err != nil {
				t.Fatal(err)
			}
			n.item(t, n.itemKey("w", "-md5"), "StatelatchRevision", "another")
			if err := change(c, rev); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"RepairDigest": "9ed39e2ea931586b6a985a6942ef573e", "Delete": ""}
			digest, ok := want[name]
			if !ok {
				digest = digestOfOther
			}
			if got := n.digest(t); got != digest {
				t.Errorf("the digest is %q, want %q", got, digest)
			}
		})
	}
}

// TestDigestAfterRacingWrites: writers without a lock race, and the digest is that
// of the state which stays; each that was told of its success was there.
func TestDigestAfterRacingWrites(t *testing.T) {
	n := setup{objects: minio, table: dynalite}.open(t)
	ctx := t.Context()
	first := n.client(t, wire{})
	if _, err := first.Write(ctx, "w", []byte("0"), backend.Condition{}); err != nil {
		t.Fatal(err)
	}
	const writers = 16
	var mu sync.Mutex
	succeeded := 0
	var all sync.WaitGroup
	for i := range writers {
		b := n.client(t, wire{})
		all.Go(func() {
			for range 3 { // each edits what it has read
				st, err := b.Read(ctx, "w")
				if err != nil {
					continue // the digest of another's write is under way
				}
				_, err = b.Write(ctx, "w", fmt.Appendf(st.Data, ",%d", i), backend.Condition{Revision: st.Revision})
				if err == nil {
					mu.Lock()
					succeeded++
					mu.Unlock()
				} else if !errors.Is(err, backend.ErrConflict) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	st, err := first.Read(ctx, "w")
	if err != nil {
		t.Fatal(err)
	}
	if edits := strings.Count(string(st.Data), ","); edits != succeeded || succeeded == 0 {
		t.Errorf("%d edits are there, %d writes succeeded", edits, succeeded)
	}
}

const dieWith = "STATELATCH_TEST_S3_WRITE"

// TestKilledBetweenStateAndDigest: a process dies after the PUT of the state, before
// its digest is written.
func TestKilledBetweenStateAndDigest(t *testing.T) {
	if args := os.Getenv(dieWith); args != "" {
		writeAndDie(t, strings.Split(args, "\n"))
		return
	}
	n := setup{objects: minio, table: dynalite}.open(t)
	b := n.client(t, wire{})
	if _, err := b.Write(t.Context(), "w", []byte("before"), backend.Condition{}); err != nil {
		t.Fatal(err)
	}
	w := n.wire(t)
	digest := w.tables.Add(faultproxy.Rule{Match: faultproxy.Header("X-Amz-Target", "DynamoDB_20120810.PutItem"), Fault: faultproxy.Hang()})
	cmd := respawn.Command(t.Context(), []string{"-test.run=^TestKilledBetweenStateAndDigest$"}, dieWith+"="+strings.Join([]string{
		w.objects.URL(), n.server.AccessKey, n.server.SecretKey, w.tables.URL(), n.tables.AccessKey, n.tables.SecretKey, n.config.Key, n.config.WorkspaceKeyPrefix,
	}, "\n"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-digest.Reached()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	st, err := b.Read(t.Context(), "w")
	if !errors.Is(err, backend.ErrCorrupt) || string(st.Data) != "after" {
		t.Fatalf("%q, %v", st.Data, err)
	}
	if err := b.RepairDigest(t.Context(), "w"); err != nil {
		t.Fatal(err)
	}
	if st, err := b.Read(t.Context(), "w"); err != nil || string(st.Data) != "after" {
		t.Errorf("after the repair: %q, %v", st.Data, err)
	}
}

// writeAndDie is what the process does that is killed.
func writeAndDie(t *testing.T, args []string) {
	b, err := s3.New(t.Context(), s3.Config{
		Bucket: place, Key: args[6], WorkspaceKeyPrefix: args[7], DynamoDBTable: place, Region: "us-east-1",
		Client: sdk.New(sdk.Options{BaseEndpoint: &args[0], Region: "us-east-1", UsePathStyle: true,
			Credentials: credentials.NewStaticCredentialsProvider(args[1], args[2], "")}),
		DynamoDB: dynamodb.New(dynamodb.Options{BaseEndpoint: &args[3], Region: "us-east-1",
			Credentials: credentials.NewStaticCredentialsProvider(args[4], args[5], "")}),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Write(t.Context(), "w", []byte("after"), backend.Condition{Revision: backend.AnyRevision})
	t.Fatalf("it was not killed: %v", err)
}
