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
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	smithy "github.com/aws/smithy-go/endpoints"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/s3"
)

func isScratch(method string) faultproxy.Match {
	return func(r *http.Request) bool {
		return r.Method == method && strings.Contains(r.URL.Path, ".statelatch-probe-")
	}
}

// object fetches an object past the package; "" if there is none.
func (n *namespace) object(t testing.TB, key string) string {
	t.Helper()
	objects, _ := n.sdk(t)
	out, err := objects.GetObject(context.Background(), &sdk.GetObjectInput{Bucket: aws.String(place), Key: &key})
	if err != nil {
		return ""
	}
	defer out.Body.Close()
	data, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// noScratch wants no scratch object left.
func (n *namespace) noScratch(t testing.TB) {
	t.Helper()
	objects, _ := n.sdk(t)
	page, err := objects.ListObjectsV2(context.Background(), &sdk.ListObjectsV2Input{Bucket: aws.String(place), Prefix: aws.String(n.config.Key + ".statelatch-probe-")})
	if err != nil || len(page.Contents) > 0 {
		t.Errorf("%d scratch objects are left, %v", len(page.Contents), err)
	}
}

// wants checks which kinds of everyKind an error has.
func wants(t testing.TB, doing string, err error, kinds ...error) {
	t.Helper()
	for _, kind := range everyKind {
		want := false
		for _, k := range kinds {
			want = want || k == kind
		}
		if errors.Is(err, kind) != want {
			t.Errorf("%s: got error %v, want kinds %v", doing, err, kinds)
			return
		}
	}
}

// TestUndecidedWrite has what is to show that the endpoint ignores If-Match fail, and
// wants what another wrote meanwhile left alone.
func TestUndecidedWrite(t *testing.T) {
	ctx := t.Context()
	always := func(match faultproxy.Match, fault faultproxy.Fault) faultproxy.Rule {
		return faultproxy.Rule{Match: match, Times: faultproxy.Always, Fault: fault}
	}
	for name, test := range map[string]struct {
		rule faultproxy.Rule
		kind error
		left bool // the scratch object
	}{
		"no permission to clean up": {always(isScratch("DELETE"), faultproxy.Answer(s3Error(403, "AccessDenied"))), errors.ErrUnsupported, true},
		"no permission":             {always(isScratch("PUT"), faultproxy.Answer(s3Error(403, "AccessDenied"))), backend.ErrPermission, false},
		"throttled once":            {faultproxy.Rule{Match: isScratch("PUT"), Fault: faultproxy.Answer(busy)}, errors.ErrUnsupported, false},
		"throttled":                 {always(isScratch("PUT"), faultproxy.Answer(busy)), backend.ErrTransient, false},
		"failing":                   {always(isScratch("PUT"), faultproxy.Answer(failing)), backend.ErrTransient, false},
		"lost once":                 {faultproxy.Rule{Match: isScratch("PUT"), Fault: faultproxy.CutAfter()}, errors.ErrUnsupported, false},
		"lost":                      {always(isScratch("PUT"), faultproxy.CutAfter()), backend.ErrTransient, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := setup{objects: s3rver}.open(t)
			w := n.wire(t)
			c := n.client(t, w, func(c *s3.Config) { c.MaxRetries = 2 })
			n.put(t, n.config.Key, "one")
			st, err := c.Read(ctx, "default")
			if err != nil {
				t.Fatal(err)
			}
			n.put(t, n.config.Key, "another's")
			w.add(test.rule)
			_, err = c.Write(ctx, "default", []byte("two"), backend.Condition{Revision: st.Revision})
			wants(t, "Write", err, test.kind)
			if got := n.object(t, n.config.Key); got != "another's" {
				t.Errorf("the state is %q", got)
			}
			if !test.left {
				n.noScratch(t)
			}
		})
	}
}

// TestUndecidedLock has what is to show that the endpoint ignores If-None-Match, or
// that it honours it, fail after the lock was taken.
func TestUndecidedLock(t *testing.T) {
	for name, test := range map[string]struct {
		objects *store
		nth     int // of the PUTs of the lock file
		times   int
		fault   faultproxy.Fault
		kinds   []error
	}{
		"honoured, throttled once":     {minio, 2, 1, faultproxy.Answer(busy), nil},
		"honoured, lost once":          {minio, 2, 1, faultproxy.CutAfter(), nil},
		"honoured, throttled":          {minio, 2, faultproxy.Always, faultproxy.Answer(busy), []error{backend.ErrTransient}},
		"honoured, If-Match throttled": {minio, 3, faultproxy.Always, faultproxy.Answer(busy), []error{backend.ErrTransient}},
		"honoured, If-Match not known": {minio, 3, faultproxy.Always, faultproxy.Answer(s3Error(501, "NotImplemented")), []error{errors.ErrUnsupported}},
		"ignored, throttled once":      {s3rver, 2, 1, faultproxy.Answer(busy), []error{errors.ErrUnsupported}},
		"ignored, throttled":           {s3rver, 2, faultproxy.Always, faultproxy.Answer(busy), []error{backend.ErrTransient}},
		"ignored, second throttled":    {s3rver, 3, faultproxy.Always, faultproxy.Answer(busy), []error{backend.ErrTransient}},
		"ignored, lost":                {s3rver, 2, faultproxy.Always, faultproxy.CutAfter(), []error{lock.ErrUnknown}},
	} {
		t.Run(name, func(t *testing.T) {
			n := setup{objects: test.objects, file: true}.open(t)
			w := n.wire(t)
			if test.objects == s3rver {
				n.put(t, n.config.Key+".tflock", `{"ID":"Terraform's"}`)
			}
			w.objects.Add(faultproxy.Rule{Match: isLock("PUT"), Nth: test.nth, Times: test.times, Fault: test.fault})
			held, err := n.client(t, w, func(c *s3.Config) { c.MaxRetries = 2 }).Lock(t.Context(), "default", lock.NewInfo("test"))
			wants(t, "Lock", err, test.kinds...)
			var unknown *lock.UnknownError
			if errors.As(err, &unknown) {
				held.ID = unknown.ID
			}
			heldBy(t, n.client(t, wire{}), held.ID)
		})
	}
}

// TestUndecidedCreation has what is to show that the endpoint ignores If-None-Match
// fail: nothing is written over what another has created.
func TestUndecidedCreation(t *testing.T) {
	for name, test := range map[string]struct {
		rule faultproxy.Rule
		kind error
	}{
		"second throttled":          {faultproxy.Rule{Match: isScratch("PUT"), Nth: 2, Times: faultproxy.Always, Fault: faultproxy.Answer(busy)}, backend.ErrTransient},
		"throttled once":            {faultproxy.Rule{Match: isScratch("PUT"), Nth: 2, Fault: faultproxy.Answer(busy)}, errors.ErrUnsupported},
		"no permission to clean up": {faultproxy.Rule{Match: isScratch("DELETE"), Times: faultproxy.Always, Fault: faultproxy.Answer(s3Error(403, "AccessDenied"))}, errors.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			n := setup{objects: s3rver}.open(t)
			w := n.wire(t)
			n.put(t, n.config.Key, "another's")
			w.add(test.rule)
			_, err := n.client(t, w, func(c *s3.Config) { c.MaxRetries = 2 }).Write(t.Context(), "default", []byte("one"), backend.Condition{})
			wants(t, "Write", err, test.kind)
			if got := n.object(t, n.config.Key); got != "another's" {
				t.Errorf("the state is %q", got)
			}
		})
	}
}

// TestFoundOutByAnother has a lock taken while another call of the same Backend finds
// out that the endpoint cannot lock.
func TestFoundOutByAnother(t *testing.T) {
	n := setup{objects: s3rver, file: true}.open(t)
	w := n.wire(t)
	c := n.client(t, w)
	w.objects.Add(faultproxy.Rule{Match: isLock("PUT"), Fault: faultproxy.After(func(*http.Request) {
		_, err := c.Probe(t.Context())
		wants(t, "Probe", err)
	})})
	_, err := c.Lock(t.Context(), "default", lock.NewInfo("test"))
	wants(t, "Lock", err, errors.ErrUnsupported)
	heldBy(t, c, "")
}

// creating makes of an endpoint that ignores every condition one that honours
// If-None-Match.
func (n *namespace) creating(t testing.TB) faultproxy.Middleware {
	objects, _ := n.sdk(t)
	return func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if r.Method == "PUT" && r.Header.Get("If-None-Match") != "" {
			key := strings.TrimPrefix(r.URL.Path, "/"+place+"/")
			if _, err := objects.HeadObject(r.Context(), &sdk.HeadObjectInput{Bucket: aws.String(place), Key: &key}); err == nil {
				w.WriteHeader(http.StatusPreconditionFailed)
				return
			}
		}
		forward.ServeHTTP(w, r)
	}
}

// TestOnlyCreating has an endpoint that honours If-None-Match, and ignores If-Match: a
// call that creates comes to the latter where there is an empty state, or an expired
// lock.
func TestOnlyCreating(t *testing.T) {
	open := func(t *testing.T) (*namespace, wire) {
		n := setup{objects: s3rver, file: true}.open(t)
		w := n.wire(t)
		w.objects.Use(n.creating(t))
		return n, w
	}
	t.Run("empty state", func(t *testing.T) {
		n, w := open(t)
		n.put(t, n.config.Key, "")
		_, err := n.client(t, w).Write(t.Context(), "default", []byte("one"), backend.Condition{})
		wants(t, "Write", err, errors.ErrUnsupported)
		if got := n.object(t, n.config.Key); got != "" {
			t.Errorf("the state is %q", got)
		}
	})
	for _, op := range []string{"Lock", "Renew"} {
		t.Run(op, func(t *testing.T) {
			n, w := open(t)
			const record = `{"ID":"theirs","TTL":60}`
			n.put(t, n.config.Key+".tflock", record)
			var err error
			if c := n.client(t, w); op == "Lock" {
				hurried(w).Store(true)
				_, err = c.Lock(t.Context(), "default", lock.NewInfo("test"))
			} else {
				_, err = c.Renew(t.Context(), "default", "theirs")
			}
			wants(t, op, err, errors.ErrUnsupported)
			if got := n.object(t, n.config.Key+".tflock"); got != record {
				t.Errorf("the lock is %q", got)
			}
		})
	}
}

// TestNoIfNoneMatch has an endpoint that refuses to know If-None-Match.
func TestNoIfNoneMatch(t *testing.T) {
	ctx := t.Context()
	n := setup{objects: minio}.open(t)
	w := n.wire(t)
	w.objects.Add(faultproxy.Rule{Match: faultproxy.Header("If-None-Match", "*"), Times: faultproxy.Always, Fault: faultproxy.Answer(s3Error(501, "NotImplemented"))})
	got, err := n.client(t, w).Probe(ctx)
	if want := (s3.Report{ReplaceOnMatch: true}); got != want || err != nil {
		t.Errorf("Probe: got %+v, %v, want %+v", got, err, want)
	}
	n.put(t, n.config.Key, "one")
	if err := n.client(t, w).Delete(ctx, "default", backend.Condition{Revision: backend.AnyRevision}); err != nil {
		t.Errorf("Delete: %v", err)
	}
	n.noScratch(t)
}

// TestScratchRemoved cancels calls at each of their requests to a scratch object, but
// those that remove it.
func TestScratchRemoved(t *testing.T) {
	for name, call := range map[string]func(context.Context, *client, backend.Revision) error{
		"Probe": func(ctx context.Context, c *client, _ backend.Revision) error { return everyCall["Probe"](ctx, c) },
		"Write": func(ctx context.Context, c *client, rev backend.Revision) error {
			_, err := c.Write(ctx, "default", []byte("two"), backend.Condition{Revision: rev})
			return err
		},
		"Delete": func(ctx context.Context, c *client, _ backend.Revision) error { return everyCall["Delete"](ctx, c) },
	} {
		for _, after := range []faultproxy.Fault{faultproxy.Hang(), faultproxy.HangAfter()} {
			t.Run(name, func(t *testing.T) {
				n := setup{objects: s3rver}.open(t)
				n.put(t, n.config.Key, "one")
				for nth := 1; ; nth++ {
					w := n.wire(t)
					c := n.client(t, w)
					c.SetMoment(20 * time.Second) // for a busy machine
					st, err := c.Read(t.Context(), "default")
					if err != nil {
						t.Fatal(err)
					}
					tries := faultproxy.Any(isScratch("PUT"), faultproxy.All(isScratch("DELETE"), func(r *http.Request) bool { return r.Header.Get("If-Match") != "" }))
					handle := w.objects.Add(faultproxy.Rule{Match: tries, Nth: nth, Fault: after})
					ctx, cancel := context.WithCancel(t.Context())
					done := make(chan error, 1)
					go func() { done <- call(ctx, c, st.Revision) }()
					select {
					case <-handle.Reached():
						cancel()
						err = <-done
						if !errors.Is(err, context.Canceled) || errors.Is(err, backend.ErrUnknown) {
							t.Errorf("cancelled at request %d, it returned %v", nth, err)
						}
					case <-done:
						cancel()
						if nth == 1 {
							t.Error("it made no request")
						}
						return
					}
					n.noScratch(t)
				}
			})
		}
	}
}

// elsewhere resolves every endpoint to one.
type elsewhere string

func (e elsewhere) ResolveEndpoint(context.Context, sdk.EndpointParameters) (smithy.Endpoint, error) {
	return smithy.Endpoint{}, errors.New(string(e))
}

// TestIsAWS: whose conditions are taken for honoured.
func TestIsAWS(t *testing.T) {
	base := func(url string) func(*sdk.Options) { return func(o *sdk.Options) { o.BaseEndpoint = &url } }
	region := aws.Config{Region: "eu-central-1"}
	resolved := region
	//nolint:staticcheck // deprecated, and still obeyed
	resolved.EndpointResolverWithOptions = aws.EndpointResolverWithOptionsFunc(func(string, string, ...any) (aws.Endpoint, error) {
		return aws.Endpoint{URL: "https://store.example"}, nil
	})
	for name, test := range map[string]struct {
		client *sdk.Client
		want   bool
	}{
		"nothing set":              {sdk.New(sdk.Options{}), true},
		"from a configuration":     {sdk.NewFromConfig(region), true},
		"AWS's endpoint":           {sdk.NewFromConfig(region, base("https://s3.eu-central-1.amazonaws.com")), true},
		"AWS's endpoint in China":  {sdk.NewFromConfig(region, base("https://s3.cn-north-1.amazonaws.com.cn")), true},
		"another endpoint":         {sdk.NewFromConfig(region, base("https://amazonaws.com.example")), false},
		"no endpoint":              {sdk.NewFromConfig(region, base(":")), false},
		"resolver":                 {sdk.NewFromConfig(region, sdk.WithEndpointResolverV2(elsewhere("store.example"))), false},
		"resolver, AWS's endpoint": {sdk.NewFromConfig(region, base("https://s3.eu-central-1.amazonaws.com"), sdk.WithEndpointResolverV2(elsewhere("store.example"))), false},
		"resolver of old":          {sdk.New(sdk.Options{}, sdk.WithEndpointResolver(sdk.EndpointResolverFromURL("https://store.example"))), false}, //nolint:staticcheck // deprecated, and still obeyed
		"resolver of the config":   {sdk.NewFromConfig(resolved), false},
	} {
		if got := s3.IsAWS(test.client.Options()); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
