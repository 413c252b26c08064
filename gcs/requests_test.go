package gcs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/clause"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/tftest"
	"github.com/statelatch/statelatch/lock"
)

// operations returns the requests that came by since it was last asked, in order:
// "POST lock 412".
func operations(p *faultproxy.Proxy) []string {
	requests := p.Requests()
	slices.SortStableFunc(requests, func(a, b faultproxy.Request) int { return a.Start.Compare(b.Start) })
	var all []string
	for _, q := range requests {
		name := q.Path + "?" + q.Query
		op := "list"
		switch {
		case strings.Contains(name, ".tflock"):
			op = "lock"
		case strings.Contains(name, ".tfstate"):
			op = "state"
		}
		if q.Method == "GET" && strings.HasPrefix(q.Path, api) && op != "list" {
			op = "attributes of " + op
		}
		all = append(all, fmt.Sprint(q.Method, " ", op, " ", q.Status))
	}
	p.Reset()
	return all
}

// TestRequests counts the requests of each operation, and of Terraform's and
// OpenTofu's in the same run.
func TestRequests(t *testing.T) {
	t.Parallel()
	ctx, ws := t.Context(), backend.DefaultWorkspace
	n := fakegcs.open(t)
	c, other := n.client(t, nil), n.client(t, nil)
	defer c.Close()
	defer other.Close()
	var held lock.Info
	var rev backend.Revision
	is := func(err, want error) error {
		if !errors.Is(err, want) {
			return fmt.Errorf("%v is not %v", err, want)
		}
		return nil
	}
	var table strings.Builder
	for _, e := range []struct {
		name string
		do   func() error
		want []string
	}{
		{"first read of a process, if there is none", func() error { _, err := c.Read(ctx, ws); return is(err, backend.ErrNotExist) },
			[]string{"GET state 404", "GET attributes of state 404"}},
		{"later read, if there is none", func() error { _, err := c.Read(ctx, ws); return is(err, backend.ErrNotExist) }, []string{"GET state 404"}},
		{"lock", func() (err error) { held, err = c.Lock(ctx, ws, lock.NewInfo("count")); return err }, []string{"POST lock 200"}},
		{"refused lock", func() error {
			_, err := c.Lock(ctx, ws, lock.NewInfo("count"))
			if !errors.As(err, new(*lock.HeldError)) {
				return err
			}
			return nil
		}, []string{"POST lock 412", "GET lock 200"}},
		{"holder", func() error { _, err := c.Holder(ctx, ws); return err }, []string{"GET lock 200"}},
		{"create", func() (err error) { rev, err = c.Write(ctx, ws, []byte("one"), backend.Condition{}); return err }, []string{"POST state 200"}},
		{"read", func() error { _, err := c.Read(ctx, ws); return err }, []string{"GET state 200"}},
		{"stat", func() error { _, err := c.Stat(ctx, ws); return err }, []string{"GET attributes of state 200"}},
		{"write", func() (err error) {
			rev, err = c.Write(ctx, ws, []byte("two"), backend.Condition{Revision: rev, LockID: held.ID})
			return err
		}, []string{"POST state 200"}},
		{"refused write", func() error {
			_, err := c.Write(ctx, ws, []byte("two"), backend.Condition{Revision: "1"})
			return is(err, backend.ErrConflict)
		}, []string{"POST state 412", "GET attributes of state 200"}},
		{"unlock", func() error { return c.Unlock(ctx, ws, held.ID) }, []string{"DELETE lock 200"}},
		{"unlock of none", func() error { return is(c.Unlock(ctx, ws, held.ID), lock.ErrNotHeld) }, []string{"DELETE lock 404"}},
		{"lock again", func() (err error) { held, err = c.Lock(ctx, ws, lock.NewInfo("count")); return err }, []string{"POST lock 200"}},
		{"unlock by another process", func() error { return other.Unlock(ctx, ws, held.ID) }, nil},
		{"delete", func() error { return c.Delete(ctx, ws, backend.Condition{Revision: rev}) }, []string{"DELETE state 200"}},
		{"create again", func() (err error) { rev, err = c.Write(ctx, ws, []byte("one"), backend.Condition{}); return err }, []string{"POST state 200"}},
		{"delete any", func() error { return c.Delete(ctx, ws, backend.Condition{Revision: backend.AnyRevision}) },
			[]string{"GET attributes of state 200", "DELETE state 200"}},
		{"list", func() error {
			for _, err := range c.List(ctx) {
				return err
			}
			return nil
		}, []string{"GET list 200"}},
	} {
		if err := e.do(); err != nil {
			t.Fatalf("%s: %v", e.name, err)
		}
		got := operations(c.proxy)
		if diff := cmp.Diff(e.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", e.name, diff)
		}
		if got != nil {
			fmt.Fprintf(&table, "  %-42s %d  %s\n", e.name, len(got), strings.Join(got, ", "))
		}
	}
	if got := operations(other.proxy); !slices.Equal(got, []string{"DELETE lock 200"}) {
		t.Errorf("unlock by another process: %q", got)
	}
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) { countProgram(t, tftest.Find(t, p.name, p.find), &table) })
	}
	t.Log("\n" + table.String())
}

// countProgram counts the requests of an apply on an existing state, and those of
// our Update of the same state.
func countProgram(t *testing.T, program *tftest.Program, table *strings.Builder) {
	n := fakegcs.open(t)
	c := n.client(t, nil)
	defer c.Close()
	config := tftest.Config{Backend: n.block(c.proxy), Count: 1, Word: "one"}
	dir := program.Dir(t, config)
	dir.Must("apply", "-auto-approve")
	operations(c.proxy)
	config.Word = "two"
	dir.Configure(config)
	dir.Must("apply", "-auto-approve")
	theirs := operations(c.proxy)
	_, err := backend.Update(t.Context(), c, backend.DefaultWorkspace, lock.NewInfo("count"), lock.Options{}, func(_ context.Context, st backend.State) ([]byte, error) {
		return tftest.Reword(st.Data, "two", "three")
	})
	if err != nil {
		t.Fatal(err)
	}
	ours := operations(c.proxy)
	fmt.Fprintf(table, "  %-42s %d  %s\n", "apply by "+t.Name()[strings.LastIndex(t.Name(), "/")+1:], len(theirs), strings.Join(theirs, ", "))
	fmt.Fprintf(table, "  %-42s %d  %s\n", "backend.Update, the same", len(ours), strings.Join(ours, ", "))
	want := []string{"POST lock 200", "GET state 200", "POST state 200", "DELETE lock 200"}
	if diff := cmp.Diff(want, ours); diff != "" || len(theirs) < len(ours) {
		t.Errorf("Update (-want +got):\n%s\nthey made %q", diff, theirs)
	}
}

// TestListPages lists more than one page, of one of two configurations.
func TestListPages(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	c := n.client(t, nil)
	defer c.Close()
	const count = 1100
	clause.Race(8, func(first int) (none struct{}) {
		for i := first; i < count; i += 8 {
			n.put(t, fmt.Sprintf("w%d.tfstate", i), "x")
			n.put(t, fmt.Sprintf("w%d.tflock", i), "x")
		}
		return none
	})
	n.put(t, "empty.tfstate", "")
	n.put(t, "in/a-folder.tfstate", "x")
	n.put(t, "bad name.tfstate", "x")
	seen := map[string]bool{}
	for name, err := range c.List(t.Context()) {
		if err != nil || seen[name] {
			t.Fatalf("%q, %v", name, err)
		}
		seen[name] = true
	}
	if len(seen) != count || seen["empty"] {
		t.Errorf("%d workspaces", len(seen))
	}
	if got := operations(c.proxy); len(got) != 3 { // of 2,203 objects
		t.Errorf("%q", got)
	}
}
