package consul_test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/consul"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/services"
	"github.com/statelatch/statelatch/internal/tftest"
	"github.com/statelatch/statelatch/lock"
)

// The requests of each operation are as few as they are said to be.
func TestRequests(t *testing.T) {
	n := open(t)
	b, p := n.proxied(t)
	var rev backend.Revision
	var held lock.Info
	var err error
	write := func(b *consul.Backend, size int, lockID string) func() {
		return func() {
			rev, err = b.Write(t.Context(), ws, noise(byte(size), size), backend.Condition{Revision: rev, LockID: lockID})
		}
	}
	under := func(do func(id string) func()) func() { return func() { do(held.ID)() } }
	read := func() { _, err = b.Read(t.Context(), ws) }
	var table strings.Builder
	tw := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for _, test := range []struct {
		name string
		do   func()
		want int
	}{
		{"lock", func() { held, err = b.Lock(t.Context(), ws, lock.NewInfo("test")) }, 2},
		{"lock, held by another", func() {
			_, refused := b.Lock(t.Context(), ws, lock.NewInfo("test"))
			if !strings.Contains(fmt.Sprint(refused), "is locked by") {
				err = refused
			}
		}, 4},
		{"holder", func() { _, err = b.Holder(t.Context(), ws) }, 1},
		{"renew", func() { _, err = b.Renew(t.Context(), ws, held.ID) }, 2},
		{"write: create", under(func(id string) func() { return write(b, 1000, id) }), 1},
		{"write: replace by 378 KiB", under(func(id string) func() { return write(b, 378<<10, id) }), 1},
		{"write: replace, in another process", under(func(id string) func() { return write(n.client(t, through(p)), 1000, id) }), 1},
		{"read", read, 1},
		{"stat", func() { _, err = b.Stat(t.Context(), ws) }, 1},
		{"list", func() {
			for _, err = range b.List(t.Context()) {
			}
		}, 1},
		{"unlock", func() { err = b.Unlock(t.Context(), ws, held.ID) }, 2},
		{"write: 1.3 MB, 3 chunks", write(b, 1300<<10, ""), 1 + 3 + 1},
		{"write: 1.3 MB, 3 chunks in place of 3", write(b, 1301<<10, ""), 1 + 3 + 1 + 2},
		{"read: 3 chunks", read, 2},
		{"write: small in place of 3 chunks", write(b, 1000, ""), 1 + 1 + 2},
		{"delete", func() { err = b.Delete(t.Context(), ws, condition(rev)) }, 2},
	} {
		p.Reset()
		if test.do(); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		got := p.Count(nil)
		fmt.Fprintf(tw, "%s\t%d\n", test.name, got)
		if got != test.want {
			t.Errorf("%s: %d requests, want %d:\n%s", test.name, got, test.want, faultproxy.Table(p.Requests()))
		}
	}
	tw.Flush()
	t.Logf("requests\n%s", &table)
}

// One change of a state by each program, and by Update, on the same agent.
func TestRequestsBesideTerraform(t *testing.T) {
	n := open(t)
	count := map[string]int{}
	for name, lookup := range programs {
		program := tftest.Find(t, name, lookup)
		p := faultproxy.New(t, n.config.Address)
		config := tftest.Config{Backend: n.block(name, p.URL(), ""), Count: 1, Word: "one"}
		dir := program.Dir(t, config)
		dir.Must("apply", "-auto-approve")
		config.Word = "two"
		dir.Configure(config)
		p.Reset()
		dir.Must("apply", "-auto-approve")
		count[name] = p.Count(nil)
		t.Logf("%s apply: %d requests\n%s", name, count[name], faultproxy.Table(p.Requests()))
	}
	b, p := n.proxied(t, func(c *consul.Config) { c.Path += "-ours" })
	mustWrite(t, b, []byte("one"), backend.Condition{})
	p.Reset()
	_, err := backend.Update(t.Context(), b, ws, lock.NewInfo("test"), lock.Options{},
		func(context.Context, backend.State) ([]byte, error) { return []byte("two"), nil })
	if err != nil {
		t.Fatal(err)
	}
	ours := p.Count(nil)
	t.Logf("Update: %d requests\n%s", ours, faultproxy.Table(p.Requests()))
	for name, theirs := range count {
		if ours >= theirs {
			t.Errorf("%d requests, no fewer than the %d of %s", ours, theirs, name)
		}
	}
}

var programs = map[string]func(string) (string, error){"terraform": exec.LookPath, "tofu": services.Path}

// block is the backend block of a path of that name in the namespace.
func (n *namespace) block(name, address, more string) string {
	scheme, host, _ := strings.Cut(address, "://")
	return fmt.Sprintf("backend \"consul\" {\n    path = %q\n    address = %q\n    scheme = %q\n    access_token = %q\n    %s\n  }",
		n.config.Path+name, host, scheme, string(n.config.AccessToken), more)
}
