package s3_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	diff "github.com/google/go-cmp/cmp"

	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/s3"
)

func onlyFile(c *s3.Config)  { c.DynamoDBTable = "" }
func onlyTable(c *s3.Config) { c.UseLockfile = false }

// lockFile fetches the lock file of the default workspace past the package.
func (n *namespace) lockFile(t testing.TB) (data, contentType string) {
	t.Helper()
	objects, _ := n.sdk(t)
	out, err := objects.GetObject(context.Background(), &sdk.GetObjectInput{Bucket: aws.String(place), Key: aws.String(n.key("default") + ".tflock")})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	all, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(all), aws.ToString(out.ContentType)
}

// lockItem fetches the lock item of the default workspace past the package.
func (n *namespace) lockItem(t testing.TB) map[string]dbtypes.AttributeValue {
	t.Helper()
	_, tables := n.sdk(t)
	out, err := tables.GetItem(context.Background(), &dynamodb.GetItemInput{TableName: aws.String(place), Key: n.lockKey("default"), ConsistentRead: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	return out.Item
}

// lose removes one of the two locks past the package.
func (n *namespace) lose(t testing.TB, file bool) {
	t.Helper()
	objects, tables := n.sdk(t)
	var err error
	if file {
		_, err = objects.DeleteObject(context.Background(), &sdk.DeleteObjectInput{Bucket: aws.String(place), Key: aws.String(n.key("default") + ".tflock")})
	} else {
		_, err = tables.DeleteItem(context.Background(), &dynamodb.DeleteItemInput{TableName: aws.String(place), Key: n.lockKey("default")})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func mustLock(t testing.TB, c *client) lock.Info {
	t.Helper()
	held, err := c.Lock(context.Background(), "default", lock.NewInfo("test"))
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// refuses wants a Lock refused for a holder.
func refuses(t testing.TB, c *client, holder string) {
	t.Helper()
	_, err := c.Lock(context.Background(), "default", lock.NewInfo("another"))
	isHeld(t, "Lock", err, holder)
}

func isHeld(t testing.TB, doing string, err error, holder string) {
	t.Helper()
	var held *lock.HeldError
	if !errors.As(err, &held) || held.Holder.ID != holder || errors.Is(err, lock.ErrUnknown) {
		t.Errorf("%s: got error %v, want it held by %s", doing, err, holder)
	}
}

func unlocks(t testing.TB, c *client, id string) {
	t.Helper()
	if err := c.Unlock(context.Background(), "default", id); err != nil {
		t.Errorf("Unlock of %s: %v", id, err)
	}
}

// heldBy wants a holder, or none for "".
func heldBy(t testing.TB, c *client, want string) {
	t.Helper()
	holder, err := c.Holder(context.Background(), "default")
	switch {
	case want == "" && !errors.Is(err, lock.ErrNotHeld):
		t.Errorf("Holder: got %q, %v, want nobody", holder.ID, err)
	case want != "" && (err != nil || holder.ID != want):
		t.Errorf("Holder: got %q, %v, want %q", holder.ID, err, want)
	}
}

var bothLocks = map[string]setup{
	"conforming": {objects: versitygw, table: dynalite, file: true},
	"found out":  {objects: minio, table: dynalite, file: true},
}

// TestHalfLocked has one of the two locks missing.
func TestHalfLocked(t *testing.T) {
	for name, s := range bothLocks {
		for half, fileGone := range map[string]bool{"file gone": true, "item gone": false} {
			t.Run(name+"/"+half, func(t *testing.T) {
				n := s.open(t)
				taker, stranger := n.client(t, wire{}), n.client(t, wire{})
				for _, c := range []*client{taker, stranger} { // with and without what it remembers
					held := mustLock(t, taker)
					n.lose(t, fileGone)
					heldBy(t, stranger, held.ID)
					refuses(t, stranger, held.ID)
					heldBy(t, n.client(t, wire{}, onlyTable), map[bool]string{true: held.ID}[fileGone])
					heldBy(t, n.client(t, wire{}, onlyFile), map[bool]string{false: held.ID}[fileGone]) // given back
					unlocks(t, c, held.ID)
					heldBy(t, stranger, "")
				}
			})
		}
	}
}

// TestEachAnothers has the two locks held by two clients that know only one.
func TestEachAnothers(t *testing.T) {
	for name, s := range bothLocks {
		t.Run(name, func(t *testing.T) {
			n := s.open(t)
			c := n.client(t, wire{})
			file, item := mustLock(t, n.client(t, wire{}, onlyFile)), mustLock(t, n.client(t, wire{}, onlyTable))
			heldBy(t, c, file.ID)
			refuses(t, c, file.ID)
			isHeld(t, "Unlock of neither", c.Unlock(t.Context(), "default", lock.NewID()), file.ID)
			unlocks(t, c, file.ID)
			heldBy(t, c, item.ID)
			refuses(t, c, item.ID)
			isHeld(t, "Unlock again", c.Unlock(t.Context(), "default", file.ID), item.ID)
			unlocks(t, c, item.ID)
			heldBy(t, c, "")

			held := mustLock(t, c)
			n.lose(t, true)
			file = mustLock(t, n.client(t, wire{}, onlyFile))
			unlocks(t, c, held.ID) // the item, and not what took the file's place
			heldBy(t, c, file.ID)
			if item := n.lockItem(t); len(item) > 0 {
				t.Errorf("the item was left: %v", item)
			}
		})
	}
}

// TestSecondRefused has the item refused after the lock file was taken.
func TestSecondRefused(t *testing.T) {
	for name, s := range bothLocks {
		for who, recall := range map[string]bool{"same process": true, "another process": false} {
			t.Run(name+"/"+who, func(t *testing.T) {
				n := s.open(t)
				item := mustLock(t, n.client(t, wire{}, onlyTable))
				w := n.wire(t)
				c := n.client(t, w)
				denied := w.objects.Add(faultproxy.Rule{Match: isLock("DELETE"), Times: faultproxy.Always,
					Fault: faultproxy.Answer(faultproxy.Reply{Status: 403, Body: "<Error><Code>AccessDenied</Code></Error>"})})
				_, err := c.Lock(t.Context(), "default", lock.NewInfo("test"))
				var unknown *lock.UnknownError
				if !errors.As(err, &unknown) {
					t.Fatalf("the lock file cannot be given back: got error %v, want an *UnknownError", err)
				}
				heldBy(t, c, unknown.ID)
				denied.Remove()
				if !recall {
					c = n.client(t, wire{})
				}
				unlocks(t, c, unknown.ID)
				heldBy(t, c, item.ID)
			})
		}
		t.Run(name+"/broken meanwhile", func(t *testing.T) {
			n := s.open(t)
			item := mustLock(t, n.client(t, wire{}, onlyTable))
			w := n.wire(t)
			var file lock.Info
			w.tables.Add(faultproxy.Rule{Match: isItem("PutItem"), Fault: faultproxy.Before(func(*http.Request) {
				n.lose(t, true)
				file = mustLock(t, n.client(t, wire{}, onlyFile))
			})})
			refuses(t, n.client(t, w), item.ID) // there is nothing of its own to clear
			heldBy(t, n.client(t, wire{}), file.ID)
		})
	}
}

// TestBothInDoubt loses what becomes of the item, and cannot give the lock file back:
// one ID clears both, and is named once.
func TestBothInDoubt(t *testing.T) {
	n := setup{objects: versitygw, table: dynalite, file: true}.open(t)
	w := n.wire(t)
	w.tables.Add(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.CutAfter()})
	w.objects.Add(faultproxy.Rule{Match: isLock("DELETE"), Times: faultproxy.Always, Fault: faultproxy.Answer(s3Error(403, "AccessDenied"))})
	_, err := n.client(t, w, func(c *s3.Config) { c.MaxRetries = 2 }).Lock(t.Context(), "default", lock.NewInfo("test"))
	var unknown *lock.UnknownError
	if !errors.As(err, &unknown) || strings.Count(err.Error(), "unlock it with that ID") != 1 {
		t.Fatalf("got error %v, want an *UnknownError that names its ID once", err)
	}
	unlocks(t, n.client(t, wire{}), unknown.ID)
	heldBy(t, n.client(t, wire{}), "")
}

// TestLockRecords compares what is stored with what Terraform stores, byte for byte.
func TestLockRecords(t *testing.T) {
	n := setup{objects: versitygw, table: dynalite, file: true}.open(t)
	info := lock.Info{ID: "b9c0ffee-0000-4000-8000-000000000001", Operation: "OperationTypeApply", Info: "<&>", Who: "me@host",
		Version: "1.2.3", Created: time.Date(2026, 5, 6, 7, 8, 9, 120e6, time.UTC), Ref: "reference"}
	record := `{"ID":"b9c0ffee-0000-4000-8000-000000000001","Operation":"OperationTypeApply","Info":"\u003c\u0026\u003e","Who":"me@host",` +
		`"Version":"1.2.3","Created":"2026-05-06T07:08:09.12Z","Path":"statelatch/` + n.config.Key + `"`
	c := n.client(t, wire{})
	if _, err := c.Lock(t.Context(), "default", info); err != nil {
		t.Fatal(err)
	}
	got, contentType := n.lockFile(t)
	if want := record + `,"Ref":"reference"}`; got != want || contentType != "application/json" {
		t.Errorf("the lock file, of type %s (-want +got):\n%s", contentType, diff.Diff(want, got))
	}
	texts := map[string]string{}
	for name, value := range n.lockItem(t) {
		texts[name] = value.(*dbtypes.AttributeValueMemberS).Value
	}
	if token := texts["StatelatchCall"]; len(token) < 20 {
		t.Errorf("the call's token is %q", token)
	}
	delete(texts, "StatelatchCall")
	if d := diff.Diff(map[string]string{"LockID": place + "/" + n.config.Key, "Info": record + "}", "StatelatchRef": "reference"}, texts); d != "" {
		t.Errorf("the item (-want +got):\n%s", d)
	}
	unlocks(t, c, info.ID)

	info.TTL, info.Ref = time.Minute, ""
	c = n.client(t, wire{}, onlyFile)
	if _, err := c.Lock(t.Context(), "default", info); err != nil {
		t.Fatal(err)
	}
	if got, _ = n.lockFile(t); got != record+`,"TTL":60}` {
		t.Errorf("the lock file with a TTL (-want +got):\n%s", diff.Diff(record+`,"TTL":60}`, got))
	}
}
