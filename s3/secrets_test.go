package s3_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/s3"
)

// everyKind are the kinds of which an error has one.
var everyKind = []error{
	backend.ErrNotExist, backend.ErrConflict, backend.ErrInvalid, backend.ErrTooLarge, backend.ErrNoStore, backend.ErrCorrupt,
	backend.ErrInvalidName, backend.ErrPermission, backend.ErrTransient, backend.ErrUnknown, lock.ErrNotHeld,
	errors.ErrUnsupported, context.Canceled, context.DeadlineExceeded, fs.ErrNotExist,
}

func kindsOf(err error) []error {
	return slices.DeleteFunc(slices.Clone(everyKind), func(kind error) bool { return !errors.Is(err, kind) })
}

// everyCall makes each call of a Backend once.
var everyCall = map[string]func(context.Context, *client) error{
	"Read": func(ctx context.Context, c *client) error { _, err := c.Read(ctx, "default"); return err },
	"Stat": func(ctx context.Context, c *client) error { _, err := c.Stat(ctx, "default"); return err },
	"Write": func(ctx context.Context, c *client) error {
		_, err := c.Write(ctx, "default", []byte("state"), backend.Condition{Revision: `"etag"`})
		return err
	},
	"create": func(ctx context.Context, c *client) error {
		_, err := c.Write(ctx, "default", []byte("state"), backend.Condition{})
		return err
	},
	"Delete": func(ctx context.Context, c *client) error {
		return c.Delete(ctx, "default", backend.Condition{Revision: backend.AnyRevision})
	},
	"List": func(ctx context.Context, c *client) (last error) {
		for _, err := range c.List(ctx) {
			last = err
		}
		return last
	},
	"Lock": func(ctx context.Context, c *client) error {
		_, err := c.Lock(ctx, "default", lock.NewInfo("test"))
		return err
	},
	"Unlock": func(ctx context.Context, c *client) error { return c.Unlock(ctx, "default", lock.NewID()) },
	"Holder": func(ctx context.Context, c *client) error { _, err := c.Holder(ctx, "default"); return err },
	"Renew": func(ctx context.Context, c *client) error {
		_, err := c.Renew(ctx, "default", lock.NewID())
		return err
	},
	"RepairDigest": func(ctx context.Context, c *client) error { return c.RepairDigest(ctx, "default") },
	"Probe":        func(ctx context.Context, c *client) error { _, err := c.Probe(ctx); return err },
}

// TestNoSecrets has each call refused by replies that repeat, where the services do
// so, what was sent: the error shows no secret, and has one kind.
func TestNoSecrets(t *testing.T) {
	const secretKey, session = "canary-secret-access-key", "canary-session-token"
	key := customerKey()
	echo := fmt.Sprintf("<Token-0>%s</Token-0><StringToSign>%s</StringToSign><SSEKey>%s</SSEKey>", session, secretKey, key)
	objects := func(status int, code string) faultproxy.Fault {
		return faultproxy.Answer(faultproxy.Reply{Status: status, Header: http.Header{"X-Amz-Bucket-Region": {"eu-west-9"}},
			Body: "<Error><Code>" + code + "</Code><Message>no</Message>" + echo + "</Error>"})
	}
	tables := func(code string) faultproxy.Fault {
		return faultproxy.Answer(faultproxy.Reply{Status: 400, Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
			Body: fmt.Sprintf(`{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":"no","echo":%q}`, code, echo)})
	}
	for name, test := range map[string]struct {
		objects, tables faultproxy.Fault
		kinds           []error // one of these
	}{
		"expired":   {objects(400, "ExpiredToken"), tables("ExpiredTokenException"), []error{backend.ErrPermission}},
		"signature": {objects(403, "SignatureDoesNotMatch"), tables("InvalidSignatureException"), []error{backend.ErrPermission}},
		"denied":    {objects(403, "AccessDenied"), tables("AccessDeniedException"), []error{backend.ErrPermission}},
		"region":    {objects(301, "PermanentRedirect"), tables("ValidationException"), []error{backend.ErrInvalid}},
		"throttled": {objects(503, "SlowDown"), tables("ThrottlingException"), []error{backend.ErrTransient}},
		"cut":       {faultproxy.CutBefore(), faultproxy.CutBefore(), []error{backend.ErrTransient, backend.ErrUnknown}},
	} {
		for call, do := range everyCall {
			t.Run(name+"/"+call, func(t *testing.T) {
				t.Parallel()
				n := setup{objects: versitygw, table: dynalite, file: true}.open(t)
				w := n.wire(t)
				w.objects.Add(faultproxy.Rule{Times: faultproxy.Always, Fault: test.objects})
				w.tables.Add(faultproxy.Rule{Times: faultproxy.Always, Fault: test.tables})
				c := n.client(t, w, func(c *s3.Config) {
					c.MaxRetries, c.Encrypt, c.SSECustomerKey = 2, true, key
					provider := credentials.NewStaticCredentialsProvider("AKIA", secretKey, session)
					c.Client = sdk.New(c.Client.Options(), func(o *sdk.Options) { o.Credentials = provider })
					c.DynamoDB = dynamodb.New(c.DynamoDB.Options(), func(o *dynamodb.Options) { o.Credentials = provider })
				})
				err := do(t.Context(), c)
				got := kindsOf(err)
				if len(got) != 1 || !slices.Contains(test.kinds, got[0]) {
					t.Errorf("the error %v is of the kinds %q, want one of %q", err, got, test.kinds)
				}
				for _, secret := range []string{secretKey, session, string(key)} {
					if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, secret) {
						t.Errorf("the error shows %q: %s", secret, text)
					}
				}
			})
		}
	}
}

// TestWaitedOut has the servers ask for patience: the call waits as long, and goes on.
func TestWaitedOut(t *testing.T) {
	for name, test := range map[string]struct {
		call  string
		match faultproxy.Match
		table bool
		reply faultproxy.Reply
		wait  time.Duration
	}{
		"read, 429":        {"Read", isState("GET"), false, faultproxy.Throttled(1), time.Second},
		"write, 429":       {"create", isState("PUT"), false, faultproxy.Throttled(1), time.Second},
		"lock, 429":        {"Lock", isLock("PUT"), false, faultproxy.Throttled(1), time.Second},
		"lock, table, 429": {"Lock", isItem("PutItem"), true, faultproxy.Throttled(1), time.Second},
		"write, SlowDown":  {"create", isState("PUT"), false, busy, 0},
		"lock, SlowDown":   {"Lock", isLock("PUT"), false, busy, 0},
		"read, SlowDown":   {"Read", isState("GET"), false, busy, 0},
		"write, 409":       {"create", isState("PUT"), false, beaten, 0},
		"lock, 409":        {"Lock", isLock("PUT"), false, beaten, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup{objects: versitygw, file: !test.table}
			if test.table {
				s.table = dynalite
			}
			n := s.open(t)
			if test.call == "Read" {
				n.put(t, n.key("default"), "state")
			}
			w := n.wire(t)
			refused := w.add(faultproxy.Rule{Match: test.match, Fault: faultproxy.Answer(test.reply)})
			if err := everyCall[test.call](t.Context(), n.client(t, w)); err != nil || refused() != 1 {
				t.Fatalf("refused %d times: %v", refused(), err)
			}
			var at []time.Time
			for _, q := range w.requests() {
				if test.match(&http.Request{Method: q.Method, Header: q.Header, URL: &url.URL{Path: q.Path}}) {
					at = append(at, q.Start)
				}
			}
			if len(at) != 2 || at[1].Sub(at[0]) < test.wait {
				t.Errorf("it was asked at %v, want twice, with %v in between", at, test.wait)
			}
		})
	}
}

// TestDeniedByRequest has each request of a call refused, which names what it takes.
func TestDeniedByRequest(t *testing.T) {
	denied := faultproxy.Reply{Status: 403, Body: "<Error><Code>AccessDenied</Code></Error>"}
	for name, test := range map[string]struct {
		match      faultproxy.Match
		call       string
		permission string
	}{
		"Delete": {isState("DELETE"), "Delete", "s3:DeleteObject on arn:aws:s3:::" + place + "/KEY"},
		"Read":   {isState("GET"), "Read", "s3:GetObject on arn:aws:s3:::" + place + "/KEY"},
		"Holder": {isLock("GET"), "Holder", "s3:GetObject on arn:aws:s3:::" + place + "/KEY.tflock"},
		"Lock":   {isLock("PUT"), "Lock", "s3:PutObject on arn:aws:s3:::" + place + "/KEY.tflock"},
		"item":   {isItem("PutItem"), "Lock", "dynamodb:PutItem on table/" + place},
		"digest": {isItem("GetItem"), "Read", "dynamodb:GetItem on table/" + place},
	} {
		t.Run(name, func(t *testing.T) {
			n := setup{objects: versitygw, table: dynalite, file: true}.open(t)
			n.put(t, n.key("default"), "state")
			w := n.wire(t)
			reply := denied
			if name == "item" || name == "digest" {
				reply = faultproxy.Reply{Status: 400, Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
					Body: `{"__type":"com.amazonaws.dynamodb.v20120810#AccessDeniedException"}`}
			}
			w.add(faultproxy.Rule{Match: test.match, Times: faultproxy.Always, Fault: faultproxy.Answer(reply)})
			err := everyCall[test.call](t.Context(), n.client(t, w))
			want := strings.ReplaceAll(test.permission, "KEY", n.config.Key)
			if !errors.Is(err, backend.ErrPermission) || len(kindsOf(err)) != 1 || !strings.Contains(err.Error(), want+":") {
				t.Errorf("got error %v, want one that names %s", err, want)
			}
			heldBy(t, n.client(t, wire{}), "")
		})
	}
}

// TestExpiredHead has a HEAD refused, whose reply has no body to say why: a GET does,
// and the credentials are fetched anew.
func TestExpiredHead(t *testing.T) {
	n := setup{objects: versitygw}.open(t)
	n.put(t, n.key("default"), "state")
	want, err := n.client(t, wire{}).Stat(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	w := n.wire(t)
	refused := w.add(faultproxy.Rule{Times: 2, Fault: faultproxy.Answer(faultproxy.Reply{Status: 400, Body: "<Error><Code>ExpiredToken</Code></Error>"})})
	got, err := n.client(t, w, func(c *s3.Config) {
		c.Client = sdk.New(c.Client.Options(), func(o *sdk.Options) { o.Credentials = aws.NewCredentialsCache(o.Credentials) })
	}).Stat(t.Context(), "default")
	if err != nil || got != want || refused() != 2 {
		t.Errorf("got revision %q, %v, want %q; refused %d times", got, err, want, refused())
	}
}
