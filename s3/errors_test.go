package s3_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/s3"
)

func s3Error(status int, code string, header ...string) faultproxy.Reply {
	r := faultproxy.Reply{Status: status, Header: http.Header{"Content-Type": {"application/xml"}},
		Body: fmt.Sprintf("<Error><Code>%s</Code><Message>as told</Message></Error>", code)}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func tableError(code string) faultproxy.Reply {
	return faultproxy.Reply{Status: 400, Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
		Body: fmt.Sprintf(`{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":"as told"}`, code)}
}

// notFound is what a proxy answers that knows no such place. It is XML too.
var notFound = faultproxy.Reply{Status: 404, Header: http.Header{"Content-Type": {"text/html"}},
	Body: "<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>"}

// TestErrorKinds has the servers refuse every request, and wants the kind, and what
// to do about it.
func TestErrorKinds(t *testing.T) {
	ctx := context.Background()
	read := func(c *client) error { _, err := c.Read(ctx, "w"); return err }
	stat := func(c *client) error { _, err := c.Stat(ctx, "w"); return err }
	write := func(c *client) error {
		_, err := c.Write(ctx, "w", []byte("x"), backend.Condition{Revision: `"etag"`})
		return err
	}
	list := func(c *client) error {
		for _, err := range c.List(ctx) {
			return err
		}
		return nil
	}
	lockIt := func(c *client) error { _, err := c.Lock(ctx, "w", lock.NewInfo("test")); return err }
	unlock := func(c *client) error { return c.Unlock(ctx, "w", "x") }
	file, table := setup{objects: versitygw, file: true}, setup{objects: versitygw, table: dynalite}
	for name, test := range map[string]struct {
		setup setup
		reply faultproxy.Reply
		call  func(*client) error
		kind  error
		says  []string
	}{
		"no permission to read":    {file, s3Error(403, "AccessDenied"), read, backend.ErrPermission, []string{"s3:GetObject", "arn:aws:s3:::statelatch/env:", "/w/"}},
		"no permission to stat":    {file, faultproxy.Reply{Status: 403}, stat, backend.ErrPermission, []string{"s3:GetObject", "/w/"}},
		"no permission to write":   {file, s3Error(403, "AccessDenied"), write, backend.ErrPermission, []string{"s3:PutObject", "/w/"}},
		"no permission to list":    {file, s3Error(403, "AccessDenied"), list, backend.ErrPermission, []string{"s3:ListBucket", "arn:aws:s3:::statelatch:"}},
		"no permission to lock":    {file, s3Error(403, "AccessDenied"), lockIt, backend.ErrPermission, []string{"s3:PutObject", ".tflock"}},
		"no permission to unlock":  {file, s3Error(403, "AccessDenied"), unlock, backend.ErrPermission, []string{"s3:GetObject", ".tflock"}},
		"no permission, table":     {table, tableError("AccessDeniedException"), lockIt, backend.ErrPermission, []string{"dynamodb:PutItem", "table/statelatch"}},
		"no permission to release": {table, tableError("AccessDeniedException"), unlock, backend.ErrPermission, []string{"dynamodb:GetItem"}},
		"wrong secret key":         {file, s3Error(403, "SignatureDoesNotMatch"), read, backend.ErrPermission, []string{"secret key"}},
		"wrong access key, table":  {table, tableError("UnrecognizedClientException"), lockIt, backend.ErrPermission, []string{"access key"}},
		"wrong region":             {file, s3Error(301, "PermanentRedirect", "X-Amz-Bucket-Region", "eu-west-9"), read, backend.ErrInvalid, []string{"eu-west-9", "setting region"}},
		"wrong region, HEAD":       {file, faultproxy.Reply{Status: 301, Header: http.Header{"X-Amz-Bucket-Region": {"eu-west-9"}}}, stat, backend.ErrInvalid, []string{"eu-west-9"}},
		"wrong region, write":      {file, s3Error(301, "PermanentRedirect", "X-Amz-Bucket-Region", "eu-west-9"), write, backend.ErrInvalid, []string{"eu-west-9"}},
		"wrong region to sign for": {file, s3Error(400, "AuthorizationHeaderMalformed"), read, backend.ErrInvalid, []string{"setting region"}},
		"expired credentials":      {file, s3Error(400, "ExpiredToken"), read, backend.ErrPermission, []string{"expired", "renew"}},
		"expired, lock":            {file, s3Error(400, "ExpiredToken"), lockIt, backend.ErrPermission, []string{"expired"}},
		"expired, table":           {table, tableError("ExpiredTokenException"), lockIt, backend.ErrPermission, []string{"expired"}},
		"wrong clock":              {file, s3Error(403, "RequestTimeTooSkewed"), read, backend.ErrPermission, []string{"clock"}},
		"throttled":                {file, s3Error(503, "SlowDown"), read, backend.ErrTransient, []string{"throttling"}},
		"throttled, write":         {file, s3Error(503, "SlowDown"), write, backend.ErrTransient, []string{"throttling"}},
		"throttled, 429":           {file, faultproxy.Reply{Status: 429}, write, backend.ErrTransient, []string{"throttling"}},
		"throttled, table":         {table, tableError("ProvisionedThroughputExceededException"), lockIt, backend.ErrTransient, []string{"throttling"}},
		"failing":                  {file, s3Error(500, "InternalError"), read, backend.ErrTransient, nil},
		"no bucket":                {file, s3Error(404, "NoSuchBucket"), read, backend.ErrNoStore, []string{`no bucket "statelatch"`, "setting bucket"}},
		"no bucket, lock":          {file, s3Error(404, "NoSuchBucket"), lockIt, backend.ErrNoStore, []string{"setting bucket"}},
		"404 of a proxy":           {file, notFound, read, backend.ErrInvalid, []string{"settings endpoints"}},
		"404 of a proxy, stat":     {file, notFound, stat, backend.ErrInvalid, []string{"settings endpoints"}},
		"404 of a proxy, write":    {file, notFound, write, backend.ErrInvalid, []string{"settings endpoints"}},
		"404 of a proxy, list":     {file, notFound, list, backend.ErrInvalid, []string{"settings endpoints"}},
		"404 of a proxy, lock":     {file, notFound, lockIt, backend.ErrInvalid, []string{"settings endpoints"}},
		"404 of a proxy, unlock":   {file, notFound, unlock, backend.ErrInvalid, []string{"settings endpoints"}},
		"404 of a proxy, table":    {table, notFound, lockIt, backend.ErrInvalid, []string{"settings endpoints"}},
		"404 of a proxy, digest":   {table, notFound, read, backend.ErrInvalid, []string{"settings endpoints"}},
		"404 without a body":       {file, faultproxy.Reply{Status: 404}, read, backend.ErrInvalid, []string{"settings endpoints"}},
		"no table":                 {table, tableError("ResourceNotFoundException"), lockIt, backend.ErrNoStore, []string{`no DynamoDB table "statelatch"`, "LockID"}},
		"too large":                {file, s3Error(400, "EntityTooLarge"), write, backend.ErrTooLarge, nil},
		"not implemented":          {file, s3Error(501, "NotImplemented"), write, errors.ErrUnsupported, nil},
		"no ETag":                  {file, faultproxy.Reply{Status: 200, Header: http.Header{"Content-Length": {"1"}}, Body: "x"}, read, errors.ErrUnsupported, []string{"no ETag"}},
		"no ETag, stat":            {file, faultproxy.Reply{Status: 200}, stat, errors.ErrUnsupported, []string{"no ETag"}},
		"rubbish":                  {file, faultproxy.Reply{Status: 400, Body: "<<<"}, read, backend.ErrInvalid, nil},
		"rubbish, table":           {table, faultproxy.Reply{Status: 200, Body: "<<<"}, func(c *client) error { _, err := c.Holder(ctx, "w"); return err }, backend.ErrTransient, nil},
	} {
		t.Run(name, func(t *testing.T) {
			n := test.setup.open(t)
			w := n.wire(t)
			w.add(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Answer(test.reply)})
			err := test.call(n.client(t, w, func(c *s3.Config) { c.MaxRetries = 2 }))
			var shape *backend.Error
			if !errors.Is(err, test.kind) || !errors.As(err, &shape) {
				t.Fatalf("got error %v, want %v", err, test.kind)
			}
			for _, kind := range []error{backend.ErrNotExist, backend.ErrConflict, backend.ErrUnknown, lock.ErrNotHeld} {
				if errors.Is(err, kind) {
					t.Errorf("the error matches %q too: %v", kind, err)
				}
			}
			for _, part := range test.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error does not say %q: %v", part, err)
				}
			}
			if strings.Contains(err.Error(), n.server.SecretKey) {
				t.Errorf("the error shows the secret key: %v", err)
			}
		})
	}
}

// TestMissingPlaces has real servers without the bucket and the table.
func TestMissingPlaces(t *testing.T) {
	ctx := t.Context()
	for name, objects := range map[string]*store{"minio": minio, "versitygw": versitygw} {
		t.Run(name, func(t *testing.T) {
			c := setup{objects: objects, file: true}.open(t).client(t, wire{}, func(c *s3.Config) { c.Bucket = "there-is-none" })
			_, err := c.Read(ctx, "default")
			_, stat := c.Stat(ctx, "default")
			_, write := c.Write(ctx, "default", []byte("x"), backend.Condition{})
			_, lockErr := c.Lock(ctx, "default", lock.NewInfo("test"))
			for doing, err := range map[string]error{"Read": err, "Stat": stat, "Write": write, "Lock": lockErr,
				"Delete": c.Delete(ctx, "default", backend.Condition{Revision: backend.AnyRevision})} {
				if !errors.Is(err, backend.ErrNoStore) || errors.Is(err, backend.ErrNotExist) {
					t.Errorf("%s: %v", doing, err)
				}
			}
		})
	}
	n := setup{objects: versitygw, table: dynalite}.open(t)
	c := n.client(t, wire{}, func(c *s3.Config) { c.DynamoDBTable = "there-is-none" })
	if _, err := c.Lock(ctx, "default", lock.NewInfo("test")); !errors.Is(err, backend.ErrNoStore) {
		t.Errorf("Lock: %v", err)
	}
	if _, err := c.Read(ctx, "default"); !errors.Is(err, backend.ErrNoStore) {
		t.Errorf("Read: %v", err)
	}
}

// TestTruncated has a body break off, once and always.
func TestTruncated(t *testing.T) {
	ctx := t.Context()
	n := setup{objects: versitygw, file: true}.open(t)
	n.put(t, n.key("default"), strings.Repeat("state ", 1000))
	for times, want := range map[int]error{1: nil, faultproxy.Always: backend.ErrTransient} {
		w := n.wire(t)
		w.add(faultproxy.Rule{Match: isState("GET"), Times: times, Fault: faultproxy.Truncate(100)})
		st, err := n.client(t, w, func(c *s3.Config) { c.MaxRetries = 2 }).Read(ctx, "default")
		if !errors.Is(err, want) || err == nil && len(st.Data) != 6000 {
			t.Errorf("Read: %d bytes, %v, want %v", len(st.Data), err, want)
		}
	}
}

// TestNoLength reads from a server that does not tell how long a state is.
func TestNoLength(t *testing.T) {
	n := setup{objects: versitygw}.open(t)
	n.put(t, n.key("default"), "state")
	w := n.wire(t)
	w.objects.Use(func(rw http.ResponseWriter, r *http.Request, forward http.Handler) { forward.ServeHTTP(unsized{rw}, r) })
	if st, err := n.client(t, w).Read(t.Context(), "default"); err != nil || string(st.Data) != "state" {
		t.Errorf("Read: %q, %v", st.Data, err)
	}
	if _, err := n.client(t, w, func(c *s3.Config) { c.MaxSize = 4 }).Read(t.Context(), "default"); !errors.Is(err, backend.ErrTooLarge) {
		t.Errorf("Read with a smaller MaxSize: %v", err)
	}
}

type unsized struct{ http.ResponseWriter }

func (w unsized) WriteHeader(status int) {
	w.Header().Del("Content-Length")
	w.ResponseWriter.WriteHeader(status)
}

// TestOddRevisions has callers name revisions that no endpoint gives.
func TestOddRevisions(t *testing.T) {
	n := setup{objects: versitygw}.open(t)
	c := n.client(t, wire{})
	if _, err := c.Write(t.Context(), "default", []byte("one"), backend.Condition{}); err != nil {
		t.Fatal(err)
	}
	for _, revision := range []backend.Revision{"x", "\"", `"x`, "a\nb", "a\x00", "é", " ", `W/"x"`, `"a", "b"`, backend.Revision(strings.Repeat("x", 1000))} {
		if _, err := c.Write(t.Context(), "default", []byte("two"), backend.Condition{Revision: revision}); !errors.Is(err, backend.ErrConflict) {
			t.Errorf("Write with revision %q: %v", revision, err)
		}
		if err := c.Delete(t.Context(), "default", backend.Condition{Revision: revision}); !errors.Is(err, backend.ErrConflict) {
			t.Errorf("Delete with revision %q: %v", revision, err)
		}
	}
}

// TestWrongCustomerKey reads what was encrypted with another key, or with none.
func TestWrongCustomerKey(t *testing.T) {
	ctx := t.Context()
	n := setup{objects: minioTLS, file: true}.open(t)
	key := func(b byte) func(*s3.Config) {
		return func(c *s3.Config) {
			c.Encrypt = true
			c.SSECustomerKey = backend.Secret(base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(b), 32))))
		}
	}
	if _, err := n.client(t, wire{}, key('a')).Write(ctx, "default", []byte("one"), backend.Condition{}); err != nil {
		t.Fatal(err)
	}
	wrong := n.client(t, wire{}, key('b'))
	_, err := wrong.Read(ctx, "default")
	if !errors.Is(err, backend.ErrPermission) || !strings.Contains(err.Error(), "sse_customer_key") {
		t.Errorf("Read with another key: %v", err)
	}
	if secret := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("b", 32))); strings.Contains(err.Error(), secret) {
		t.Errorf("the error shows the key: %v", err)
	}
	if _, err := n.client(t, wire{}).Read(ctx, "default"); !errors.Is(err, backend.ErrInvalid) || !strings.Contains(err.Error(), "sse_customer_key") {
		t.Errorf("Read without a key: %v", err)
	}
}

// TestUntrusted has a certificate that nobody vouches for.
func TestUntrusted(t *testing.T) {
	n := setup{objects: minioTLS, file: true}.open(t)
	c := n.client(t, wire{}, func(c *s3.Config) {
		c.Client = sdk.New(c.Client.Options(), func(o *sdk.Options) { o.HTTPClient = &http.Client{} })
	})
	if _, err := c.Write(t.Context(), "default", []byte("x"), backend.Condition{Revision: backend.AnyRevision}); !errors.Is(err, backend.ErrInvalid) || !strings.Contains(err.Error(), "custom_ca_bundle") {
		t.Errorf("Write: %v", err)
	}
}

// TestUnreachable has nobody listen: nothing was applied.
func TestUnreachable(t *testing.T) {
	n := setup{objects: versitygw, file: true}.open(t)
	w := n.wire(t)
	w.objects.Close()
	c := n.client(t, w, func(c *s3.Config) { c.MaxRetries = 2 })
	if _, err := c.Write(t.Context(), "default", []byte("x"), backend.Condition{Revision: backend.AnyRevision}); !errors.Is(err, backend.ErrTransient) || errors.Is(err, backend.ErrUnknown) {
		t.Errorf("Write: %v", err)
	}
	if _, err := c.Lock(t.Context(), "default", lock.NewInfo("test")); !errors.Is(err, backend.ErrTransient) || errors.Is(err, backend.ErrUnknown) {
		t.Errorf("Lock: %v", err)
	}
}

// TestExpiredOnce fetches credentials anew when the service says that they have
// expired, and makes the request once more.
func TestExpiredOnce(t *testing.T) {
	n := setup{objects: versitygw, table: dynalite, file: true}.open(t)
	var fetched atomic.Int32
	cache := aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		fetched.Add(1)
		return aws.Credentials{AccessKeyID: n.server.AccessKey, SecretAccessKey: n.server.SecretKey}, nil
	}))
	w := n.wire(t)
	c := n.client(t, w, func(c *s3.Config) {
		o := c.Client.Options()
		o.Credentials = cache
		c.Client = sdk.New(o)
	})
	for i, call := range []func() error{
		func() error {
			_, err := c.Write(t.Context(), "default", []byte("one"), backend.Condition{LockID: "x"})
			return err
		},
		func() error { _, err := c.Read(t.Context(), "default"); return err },
		func() error { _, err := c.Lock(t.Context(), "default", lock.NewInfo("test")); return err },
	} {
		w.objects.Add(faultproxy.Rule{Fault: faultproxy.Answer(s3Error(400, "ExpiredToken"))})
		if err := call(); err != nil {
			t.Errorf("call %d: %v", i, err)
		}
		if got := int(fetched.Load()); got != i+2 {
			t.Errorf("call %d: credentials were fetched %d times, want %d", i, got, i+2)
		}
	}
}
