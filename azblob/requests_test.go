package azblob_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/statelatch/statelatch/azblob"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
)

// describe says what a request does.
func describe(q faultproxy.Request) string {
	name := q.Method
	for part := range strings.SplitSeq(q.Query, "&") {
		if comp, ok := strings.CutPrefix(part, "comp="); ok {
			name += " " + comp
		}
	}
	if action := q.Header.Get("X-Ms-Lease-Action"); action != "" {
		name += " " + action
	}
	return name
}

// counted makes a call, and fails the test unless it makes exactly these requests.
type counted struct {
	t     *testing.T
	proxy *faultproxy.Proxy
	table strings.Builder
	total int
}

func (c *counted) call(doing string, call func(ctx context.Context) error, want ...string) {
	c.t.Helper()
	c.proxy.Reset()
	if err := call(c.t.Context()); err != nil {
		c.t.Fatalf("%s: %v", doing, err)
	}
	var got []string
	for _, q := range c.proxy.Requests() {
		got = append(got, describe(q))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		c.t.Errorf("%s: made the requests %q, want %q", doing, got, want)
	}
	c.total += len(got)
	fmt.Fprintf(&c.table, "%s\t%d\t%s\n", doing, len(got), strings.Join(got, ", "))
}

func (c *counted) print() {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, c.table.String())
	w.Flush()
	c.t.Logf("requests:\n%s%d in all", b.String(), c.total)
}

func TestRequests(t *testing.T) {
	n := newNamespace(t, false)
	c := &counted{t: t, proxy: n.proxy(t)}
	defer c.print()
	cold := func(change ...func(*azblob.Config)) *client { return n.client(t, c.proxy, change...) }
	var rev backend.Revision
	var held lock.Info
	b := cold()
	writeTo := func(b *client, cond func() backend.Condition) func(context.Context) error {
		return func(ctx context.Context) (err error) {
			rev, err = b.Write(ctx, ws, fmt.Append(nil, "after ", rev), cond())
			return err
		}
	}
	here := func() backend.Condition { return backend.Condition{Revision: rev} }
	under := func() backend.Condition { return backend.Condition{Revision: rev, LockID: held.ID} }
	lockOf := func(b *client) func(context.Context) error {
		return func(ctx context.Context) (err error) {
			held, err = b.Lock(ctx, ws, lock.NewInfo("test"))
			return err
		}
	}
	unlockOf := func(b *client) func(context.Context) error {
		return func(ctx context.Context) error { return b.Unlock(ctx, ws, held.ID) }
	}
	readOf := func(b *client) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := b.Read(ctx, ws)
			return err
		}
	}
	holderOf := func(b *client) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := b.Holder(ctx, ws)
			return err
		}
	}
	held409 := func(b *client) func(context.Context) error {
		return func(ctx context.Context) error {
			if _, err := b.Lock(ctx, ws, lock.NewInfo("test")); err == nil {
				return fmt.Errorf("it succeeded")
			}
			return nil
		}
	}

	c.call("write a new state", writeTo(b, here), "PUT")
	c.call("replace it", writeTo(b, here), "PUT")
	b = cold()
	c.call("replace it, cold", writeTo(b, here), "HEAD", "PUT")

	b = cold()
	c.total = 0
	c.call("cycle, cold: lock", lockOf(b), "HEAD", "PUT metadata", "PUT lease acquire")
	c.call("cycle, cold: read", readOf(b), "GET")
	c.call("cycle, cold: write", writeTo(b, under), "PUT")
	c.call("cycle, cold: unlock", unlockOf(b), "PUT lease release", "PUT metadata")
	if c.total != 7 {
		t.Errorf("a cycle takes %d requests, want 7", c.total)
	}
	c.call("cycle, warm: lock", lockOf(b), "PUT metadata", "PUT lease acquire")
	c.call("cycle, warm: read", readOf(b), "GET")
	c.call("cycle, warm: write", writeTo(b, under), "PUT")
	c.call("lock held by us", held409(b), "PUT metadata", "HEAD")
	c.call("lock held by another, cold", held409(cold()), "HEAD", "HEAD")
	c.call("holder", holderOf(b), "HEAD")
	c.call("holder, cold", holderOf(cold()), "HEAD", "HEAD")
	c.call("write with the lock's ID, cold", writeTo(cold(), under), "HEAD", "PUT")
	c.call("unlock, cold, after others have written", unlockOf(cold()), "HEAD", "PUT metadata", "PUT lease release", "PUT metadata")
	c.call("lock, after others have written just now", lockOf(b), "PUT metadata", "HEAD", "PUT metadata", "PUT lease acquire")
	c.call("unlock", unlockOf(b), "PUT lease release", "PUT metadata")
	b.SetFresh(0)
	c.call("lock, some seconds later", lockOf(b), "HEAD", "PUT metadata", "PUT lease acquire")
	c.call("renew", func(ctx context.Context) error {
		_, err := b.Renew(ctx, ws, held.ID)
		return err
	}, "PUT lease renew", "HEAD")
	c.call("delete under the lock", func(ctx context.Context) error { return b.Delete(ctx, ws, under()) }, "HEAD", "PUT")
	rev = ""
	c.call("write again", writeTo(b, under), "PUT")
	c.call("unlock", unlockOf(b), "PUT lease release", "PUT metadata")
	c.call("stat", func(ctx context.Context) error {
		_, err := b.Stat(ctx, ws)
		return err
	}, "HEAD")
	c.call("list", func(ctx context.Context) error {
		for _, err := range b.List(ctx) {
			if err != nil {
				return err
			}
		}
		return nil
	}, "GET list")
	snapshots := cold(func(c *azblob.Config) { c.Snapshot = true })
	if _, err := snapshots.Read(t.Context(), ws); err != nil {
		t.Fatal(err)
	}
	c.call("write with a snapshot", writeTo(snapshots, here), "PUT snapshot", "PUT")
	c.call("delete of what has snapshots", func(ctx context.Context) error { return b.Delete(ctx, ws, here()) }, "HEAD", "DELETE", "PUT")
	rev = ""
	c.call("write over the empty blob, cold", writeTo(cold(), here), "PUT", "HEAD", "PUT")
	upload(t, n.blob(t, "gone"), "x", nil)
	c.call("delete", func(ctx context.Context) error {
		return b.Delete(ctx, "gone", backend.Condition{Revision: backend.AnyRevision})
	}, "HEAD", "DELETE")
	c.call("lock where there is no blob", func(ctx context.Context) error {
		_, err := b.Lock(ctx, "gone", lock.NewInfo("test"))
		return err
	}, "HEAD", "PUT", "PUT lease acquire")
}
