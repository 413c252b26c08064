package gcs_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/option"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/gcs"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
)

// methods are all that make requests.
var methods = []struct {
	name string
	call func(ctx context.Context, b *client) error
}{
	{"read", func(ctx context.Context, b *client) error { _, err := b.Read(ctx, "default"); return err }},
	{"stat", func(ctx context.Context, b *client) error { _, err := b.Stat(ctx, "default"); return err }},
	{"write", func(ctx context.Context, b *client) error {
		_, err := b.Write(ctx, "default", []byte("x"), backend.Condition{Revision: "7"})
		return err
	}},
	{"create", func(ctx context.Context, b *client) error {
		_, err := b.Write(ctx, "default", []byte("x"), backend.Condition{})
		return err
	}},
	{"delete", func(ctx context.Context, b *client) error {
		return b.Delete(ctx, "default", backend.Condition{Revision: "7"})
	}},
	{"list", func(ctx context.Context, b *client) error {
		for _, err := range b.List(ctx) {
			return err
		}
		return nil
	}},
	{"lock", func(ctx context.Context, b *client) error {
		_, err := b.Lock(ctx, "default", lock.NewInfo("test"))
		return err
	}},
	{"unlock", func(ctx context.Context, b *client) error { return b.Unlock(ctx, "default", "7") }},
	{"holder", func(ctx context.Context, b *client) error { _, err := b.Holder(ctx, "default"); return err }},
}

var kinds = []error{
	backend.ErrNotExist, backend.ErrConflict, backend.ErrInvalid, backend.ErrTooLarge, backend.ErrCorrupt, backend.ErrNoStore,
	backend.ErrInvalidName, backend.ErrPermission, backend.ErrTransient, backend.ErrUnknown, lock.ErrNotHeld,
}

// isOnly fails the test unless err is of that kind, and of no other.
func isOnly(t *testing.T, what string, err, kind error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s succeeded; want %v", what, kind)
		return
	}
	for _, k := range kinds {
		if errors.Is(err, k) != (k == kind) {
			t.Errorf("%s: %v; want only %v", what, err, kind)
		}
	}
	if strings.Contains(err.Error(), canary) {
		t.Errorf("%s shows the token: %v", what, err)
	}
}

// TestReplies has each method meet what Cloud Storage answers to every request.
func TestReplies(t *testing.T) {
	t.Parallel()
	xml := func(code string) string { return "<?xml version='1.0'?><Error><Code>" + code + "</Code></Error>" }
	for _, test := range []struct {
		name  string
		reply faultproxy.Reply
		kind  error
		text  string // what to do about it
	}{
		{"401", faultproxy.Reply{Status: 401, Body: `{"error":{"code":401,"message":"Invalid Credentials"}}`}, backend.ErrPermission, "expired"},
		{"403", faultproxy.Reply{Status: 403, Body: `{"error":{"code":403,"message":"does not have access"}}`}, backend.ErrPermission, "storage.objects."},
		{"403, XML", faultproxy.Reply{Status: 403, Body: xml("AccessDenied")}, backend.ErrPermission, `on bucket "test-`},
		{"no bucket", faultproxy.Reply{Status: 404, Body: `{"error":{"code":404,"message":"The specified bucket does not exist."}}`}, backend.ErrNoStore, `there is no bucket "test-`},
		{"wrong key", faultproxy.Reply{Status: 400, Body: xml("ResourceIsEncryptedWithCustomerEncryptionKey")}, backend.ErrInvalid, "encryption_key"},
		{"400", faultproxy.Reply{Status: 400, Body: "what?"}, backend.ErrInvalid, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			n := fakegcs.open(t)
			for _, m := range methods {
				c := n.client(t, nil)
				defer c.Close()
				c.proxy.Add(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Answer(test.reply)})
				err := m.call(t.Context(), c)
				isOnly(t, m.name, err, test.kind)
				if err != nil && !strings.Contains(err.Error(), test.text) {
					t.Errorf("%s: %v; want %q in it", m.name, err, test.text)
				}
			}
		})
	}
}

// TestPermissions has each method be denied: what is named is enough for it.
func TestPermissions(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	const read, change, remove = "storage.objects.get and list on", "storage.objects.create, and delete to replace, on", "storage.objects.delete, get and list on"
	needs := map[string]string{"write": change, "create": change, "lock": change, "delete": remove, "unlock": remove, "list": "storage.objects.list on"}
	for _, m := range methods {
		c := n.client(t, nil)
		defer c.Close()
		c.proxy.Add(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Answer(faultproxy.Reply{Status: 403})})
		if err, want := m.call(t.Context(), c), cmp.Or(needs[m.name], read); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q in it", m.name, err, want)
		}
	}
}

// TestNoBucket has each method look for a bucket that does not exist, in whatever
// order: none of them says that there is no state, or no lock.
func TestNoBucket(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	for _, m := range methods {
		c := n.client(t, nil, func(c *gcs.Config) { c.Bucket = "missing" })
		defer c.Close()
		for range 2 {
			isOnly(t, m.name, m.call(t.Context(), c), backend.ErrNoStore)
		}
	}
}

// TestUnreachable has nobody listen, and the context end while the second attempt has
// failed and the third has not begun.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	p := n.proxy(t)
	p.Close()
	for _, m := range methods {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		transport := &counting{of: 2, then: func() { time.AfterFunc(50*time.Millisecond, cancel) }} // the pause is twice that, at least
		client, err := storage.NewClient(ctx, option.WithEndpoint("http://127.0.0.1:1/storage/v1/"), option.WithHTTPClient(&http.Client{Transport: transport}))
		if err != nil {
			t.Fatal(err)
		}
		c := n.client(t, p, func(c *gcs.Config) { c.Client = client })
		if err := m.call(ctx, c); !errors.Is(err, context.Canceled) || errors.Is(err, backend.ErrUnknown) {
			t.Errorf("%s: %v; want what says that nothing was changed", m.name, err)
		}
	}
}

// A counting transport calls then when so many requests have failed.
type counting struct {
	http.Transport
	of   int32
	then func()
	seen atomic.Int32
}

func (f *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	// On a busy machine the third attempt may have begun, and is refused like the others.
	reply, err := f.Transport.RoundTrip(r.WithContext(context.WithoutCancel(r.Context())))
	if err != nil && f.seen.Add(1) == f.of {
		f.then()
	}
	return reply, err
}

// TestThrottled has the service put off a change again and again: it takes one a
// second of one object.
func TestThrottled(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	for _, m := range methods {
		if m.name != "create" && m.name != "lock" {
			continue
		}
		c := n.client(t, nil)
		defer c.Close()
		throttled := c.proxy.Add(faultproxy.Rule{Match: changes, Times: 6, Fault: faultproxy.Answer(throttle)})
		if err := m.call(t.Context(), c); err != nil || throttled.Applied() != 6 {
			t.Errorf("%s: %v after %d", m.name, err, throttled.Applied())
		}
		asked := c.proxy.Add(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Answer(faultproxy.Throttled(60))})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-asked.Reached()
			time.Sleep(5 * time.Second) // the pause is a minute: by now it has begun
			cancel()
		}()
		if err := m.call(ctx, c); !errors.Is(err, context.Canceled) || !errors.Is(err, backend.ErrTransient) || errors.Is(err, backend.ErrUnknown) {
			t.Errorf("%s: %v; want that it was throttled until the context ended", m.name, err)
		}
	}
}

// TestReplacedWhileRead has the connection break, and the object be replaced, in the
// middle of a read: the client's own repetition does not find that generation any
// longer, which must not read as "no state".
func TestReplacedWhileRead(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	direct, c := n.client(t, nil), n.client(t, nil)
	defer direct.Close()
	defer c.Close()
	one, two := bytes.Repeat([]byte("1"), 1<<20), bytes.Repeat([]byte("2"), 1<<20)
	rev, err := direct.Write(t.Context(), "default", one, backend.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	c.proxy.Add(faultproxy.Rule{Match: faultproxy.Method("GET"), Fault: faultproxy.Truncate(1000)})
	c.proxy.Add(faultproxy.Rule{Match: faultproxy.Method("GET"), Nth: 2, Fault: faultproxy.Before(func(*http.Request) {
		if rev, err = direct.Write(context.Background(), "default", two, backend.Condition{Revision: rev}); err != nil {
			t.Error(err)
		}
	})})
	st, err := c.Read(t.Context(), "default")
	if err != nil || !bytes.Equal(st.Data, two) || st.Revision != rev {
		t.Errorf("read %d bytes at %s: %v; want the new state at %s", len(st.Data), st.Revision, err, rev)
	}
}

// TestBrokenOff has every reply break off.
func TestBrokenOff(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	c := n.client(t, nil)
	defer c.Close()
	if _, err := c.Write(t.Context(), "default", []byte("a whole state"), backend.Condition{}); err != nil {
		t.Fatal(err)
	}
	c.proxy.Add(faultproxy.Rule{Match: faultproxy.Method("GET"), Times: faultproxy.Always, Fault: faultproxy.Truncate(0)})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if st, err := c.Read(ctx, "default"); !errors.Is(err, backend.ErrTransient) && !errors.Is(err, context.DeadlineExceeded) || st.Data != nil {
		t.Errorf("%q, %v", st.Data, err)
	}
}

// TestDamaged has a proxy change a byte of a state on its way: the checksum tells.
func TestDamaged(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	p := n.proxy(t)
	p.Use(func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		forward.ServeHTTP(damaging{w}, r)
	})
	c := n.client(t, p)
	defer c.Close()
	n.put(t, "default.tfstate", "a whole state")
	if st, err := c.Read(t.Context(), "default"); !errors.Is(err, backend.ErrTransient) || st.Data != nil {
		t.Errorf("%q, %v", st.Data, err)
	}
}

type damaging struct{ http.ResponseWriter }

func (w damaging) Write(p []byte) (int, error) {
	return w.ResponseWriter.Write(bytes.ReplaceAll(p, []byte("whole"), []byte("hole!")))
}

// TestOddLocks shows locks that are no records of locks.
func TestOddLocks(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	c := n.client(t, nil, func(c *gcs.Config) { c.MaxSize = 10 }) // which is for states
	defer c.Close()
	for name, test := range map[string]struct{ record, info string }{
		"empty":     {"", "it is empty"},
		"rubbish":   {"rubbish", "it is not the JSON of a lock"},
		"too-large": {strings.Repeat("x", lock.MaxInfo+1), "it has more than 65536 bytes"},
	} {
		n.put(t, name+".tflock", test.record)
		holder, err := c.Holder(t.Context(), name)
		if err != nil || holder.Ref != "unreadable-"+holder.ID || !strings.Contains(holder.Info, test.info) {
			t.Errorf("%s: %+v, %v", name, holder, err)
		}
		var held *lock.HeldError
		if _, err := c.Lock(t.Context(), name, lock.NewInfo("test")); !errors.As(err, &held) || held.Holder != holder {
			t.Errorf("%s: Lock: %v", name, err)
		}
		n.put(t, name+".tflock", test.record) // another, with the same contents
		for _, id := range []string{holder.ID, holder.Ref} {
			if err := c.Unlock(t.Context(), name, id); !errors.As(err, &held) {
				t.Errorf("%s: Unlock of an earlier one: %v", name, err)
			}
		}
		if err := c.Unlock(t.Context(), name, held.Holder.Ref); err != nil {
			t.Errorf("%s: Unlock: %v", name, err)
		}
	}
	info := lock.NewInfo("test")
	info.Info = strings.Repeat("x", lock.MaxInfo)
	_, err := c.Lock(t.Context(), "default", info)
	isOnly(t, "a lock with too long a record", err, backend.ErrInvalid)
}

// TestUnlockByDigits: an ID that the caller chose may look like a generation.
func TestUnlockByDigits(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	c := n.client(t, nil)
	defer c.Close()
	info := lock.NewInfo("test")
	info.ID = "42"
	if _, err := c.Lock(t.Context(), "default", info); err != nil {
		t.Fatal(err)
	}
	if err := c.Unlock(t.Context(), "default", "42"); err != nil {
		t.Error(err)
	}
}

// TestNoGeneration meets an endpoint that tells no generation: not of what there is, so
// that it would be none, and not of what it may have stored.
func TestNoGeneration(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	for _, m := range methods {
		c := n.client(t, nil)
		defer c.Close()
		c.proxy.Add(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Answer(faultproxy.Reply{Body: "{}"})})
		err := m.call(t.Context(), c)
		switch m.name {
		case "write", "create", "lock":
			isOnly(t, m.name, err, backend.ErrUnknown)
		case "read", "stat", "holder":
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%s: %v", m.name, err)
			}
		}
	}
}

// TestLengths reads a state that the server says nothing of the length of, and one
// whose length is too large to be true.
func TestLengths(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	for name, test := range map[string]struct {
		header http.Header
		kind   error
	}{
		"unknown": {http.Header{"X-Goog-Generation": {"7"}, "Transfer-Encoding": {"chunked"}}, nil},
		"huge":    {http.Header{"X-Goog-Generation": {"7"}, "Content-Length": {"1099511627776"}}, backend.ErrTooLarge},
	} {
		c := n.client(t, nil)
		defer c.Close()
		c.proxy.Add(faultproxy.Rule{Fault: faultproxy.Answer(faultproxy.Reply{Header: test.header, Body: "a state"})})
		st, err := c.Read(t.Context(), "default")
		if !errors.Is(err, test.kind) || err == nil && string(st.Data) != "a state" {
			t.Errorf("%s: %q, %v", name, st.Data, err)
		}
	}
}
