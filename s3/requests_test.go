package s3_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/clause"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/services"
	"github.com/statelatch/statelatch/internal/tftest"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/s3"
)

// operations returns the requests that came over the wire since it was last asked,
// in order: "PUT lock 412".
func (n *namespace) operations(w wire) []string {
	requests := w.requests()
	slices.SortStableFunc(requests, func(a, b faultproxy.Request) int { return a.Start.Compare(b.Start) })
	var all []string
	for _, q := range requests {
		_, op, isTable := strings.Cut(q.Header.Get("X-Amz-Target"), ".")
		switch {
		case isTable:
			op = strings.TrimSuffix(op, "Item") + " item"
		case strings.Contains(q.Path, ".statelatch-probe-"):
			op = q.Method + " scratch"
		case strings.HasSuffix(q.Path, ".tflock"):
			op = q.Method + " lock"
		case strings.HasSuffix(q.Path, n.config.Key):
			op = q.Method + " state"
		default:
			op = "LIST"
		}
		all = append(all, fmt.Sprint(op, " ", q.Status))
	}
	w.objects.Reset()
	if w.tables != nil {
		w.tables.Reset()
	}
	return all
}

// An errand is one operation, and the requests that it may make.
type errand struct {
	name string
	do   func() error
	want []string
}

func (n *namespace) errands(t *testing.T, c, other *client, lockPut, lockGone, write, read []string) []errand {
	ctx := t.Context()
	var held lock.Info
	var rev backend.Revision
	id := func() string { return held.ID }
	put := func(lockID string) error {
		st, err := other.Read(ctx, "default")
		if err == nil {
			rev, err = c.Write(ctx, "default", fmt.Append(nil, "state ", lock.NewID()), backend.Condition{Revision: st.Revision, LockID: lockID})
		}
		return err
	}
	failedLock := []string{"PUT lock 412", "GET lock 200"}
	if !n.file {
		failedLock = []string{"Put item 400", "Get item 200"}
	}
	all := []errand{
		{"lock", func() (err error) {
			held, err = c.Lock(ctx, "default", lock.NewInfo("count"))
			return err
		}, lockPut},
		{"failed lock", func() error {
			if _, err := c.Lock(ctx, "default", lock.NewInfo("count")); err == nil {
				return fmt.Errorf("it was not refused")
			}
			return nil
		}, failedLock},
		{"read", func() error { _, err := c.Read(ctx, "default"); return err }, read},
		{"stat", func() error { _, err := c.Stat(ctx, "default"); return err }, []string{"HEAD state 200"}},
		{"write under the lock", func() error { return put(id()) }, write},
		{"unlock", func() error { return c.Unlock(ctx, "default", id()) }, lockGone},
	}
	_ = rev
	if n.table != nil {
		all = append(all, errand{"write without a lock", func() error { return put("") }, append(slices.Clone(write), "HEAD state 200")})
	}
	return all
}

func TestRequests(t *testing.T) {
	put, read := []string{"PUT state 200"}, []string{"GET state 200"}
	putBoth, readBoth := []string{"PUT state 200", "Put item 200"}, []string{"GET state 200", "Get item 200"}
	var table strings.Builder
	for _, test := range []struct {
		name                      string
		setup                     setup
		lock, unlock, write, read []string
		firstLock, firstWrite     []string // of a process, where they differ
	}{
		{name: "lock file, conforming endpoint", setup: setup{objects: versitygw, file: true},
			lock: []string{"PUT lock 200"}, unlock: []string{"DELETE lock 204"}, write: put, read: read},
		{name: "lock file, endpoint to be found out", setup: setup{objects: minio, file: true},
			lock: []string{"PUT lock 200"}, unlock: []string{"GET lock 200", "DELETE lock 204"}, write: put, read: read,
			firstLock: []string{"PUT lock 200", "PUT lock 412", "PUT lock 412"}},
		{name: "table, conforming endpoint", setup: setup{objects: versitygw, table: dynalite},
			lock: []string{"Put item 200"}, unlock: []string{"Delete item 200"}, write: putBoth, read: readBoth},
		{name: "both, conforming endpoint", setup: setup{objects: versitygw, table: dynalite, file: true},
			lock: []string{"PUT lock 200", "Put item 200"}, unlock: []string{"Delete item 200", "DELETE lock 204"}, write: putBoth, read: readBoth},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := test.setup.open(t)
			other := n.client(t, wire{})
			if _, err := other.Write(t.Context(), "default", []byte("one"), backend.Condition{}); err != nil {
				t.Fatal(err)
			}
			w := n.wire(t)
			c := n.client(t, w)
			fmt.Fprintf(&table, "\n%s\n", test.name)
			for time := range 2 {
				for _, e := range n.errands(t, c, other, test.lock, test.unlock, test.write, test.read) {
					if e.name == "lock" && time == 0 && test.firstLock != nil {
						e.name, e.want = "first lock of a process", test.firstLock
					}
					if err := e.do(); err != nil {
						t.Fatalf("%s: %v", e.name, err)
					}
					got := n.operations(w)
					if strings.Join(got, ", ") != strings.Join(e.want, ", ") && !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(e.want))) {
						t.Errorf("%s: %s", e.name, cmp.Diff(e.want, got))
					}
					if time == 0 || e.name == "lock" && test.firstLock != nil {
						fmt.Fprintf(&table, "  %-24s %d  %s\n", e.name, len(got), strings.Join(got, ", "))
					}
				}
			}
		})
	}
	t.Run("others", func(t *testing.T) { countedPrograms(t, &table) })
	t.Log(table.String())
}

// countedPrograms counts what Terraform and OpenTofu ask of the same server.
func countedPrograms(t *testing.T, table *strings.Builder) {
	n := setup{objects: minio, file: true}.open(t)
	for _, p := range []struct {
		name    string
		program *tftest.Program
	}{{"terraform", tftest.Terraform(t)}, {"tofu", tftest.Find(t, "tofu", services.Path)}} {
		w := n.wire(t)
		block := fmt.Sprintf(`backend "s3" {
    bucket = %q
    key = %q
    region = %q
    workspace_key_prefix = %q
    use_lockfile = true
    use_path_style = true
    skip_credentials_validation = true
    skip_requesting_account_id = true
    skip_metadata_api_check = true
    endpoints = { s3 = %q }
  }`, place, n.config.Key, n.server.Region, n.config.WorkspaceKeyPrefix, w.objects.URL())
		config := tftest.Config{Backend: block, Count: 1, Word: "one " + p.name}
		dir := p.program.Dir(t, config, "AWS_ACCESS_KEY_ID="+n.server.AccessKey, "AWS_SECRET_ACCESS_KEY="+n.server.SecretKey)
		dir.Must("apply", "-auto-approve")
		config.Word = "two " + p.name
		dir.Configure(config)
		n.operations(w)
		dir.Must("apply", "-auto-approve")
		got := n.operations(w)
		fmt.Fprintf(table, "\n%s, apply on an existing state\n  %-24s %d  %s\n", p.name, "lock, read, write, unlock", len(got), strings.Join(got, ", "))
		if len(got) < 4 {
			t.Errorf("%s made %d requests, which cannot be", p.name, len(got))
		}
	}
	w := n.wire(t)
	c := n.client(t, w, func(c *s3.Config) { c.Conditions = s3.ConditionsHonoured })
	_, err := backend.Update(t.Context(), c, "default", lock.NewInfo("count"), lock.Options{}, func(_ context.Context, st backend.State) ([]byte, error) {
		return append(st.Data, '\n'), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got := n.operations(w)
	fmt.Fprintf(table, "\nbackend.Update, the same\n  %-24s %d  %s\n", "lock, read, write, unlock", len(got), strings.Join(got, ", "))
	if len(got) != 4 {
		t.Errorf("Update made %d requests: %q", len(got), got)
	}
}

// TestReadIsOneRoundTrip has neither request of a read wait for the other.
func TestReadIsOneRoundTrip(t *testing.T) {
	n := setup{objects: versitygw, table: dynalite}.open(t)
	w := n.wire(t)
	c := n.client(t, w)
	if _, err := c.Write(t.Context(), "default", []byte("one"), backend.Condition{}); err != nil {
		t.Fatal(err)
	}
	object := w.objects.Add(faultproxy.Rule{Match: faultproxy.Method("GET"), Fault: faultproxy.Hang()})
	item := w.tables.Add(faultproxy.Rule{Fault: faultproxy.Hang()})
	read := make(chan error, 1)
	go func() {
		_, err := c.Read(t.Context(), "default")
		read <- err
	}()
	<-object.Reached()
	<-item.Reached()
	object.Release()
	item.Release()
	if err := <-read; err != nil {
		t.Error(err)
	}
}

// TestListRequests has two configurations in one bucket, under one prefix.
func TestListRequests(t *testing.T) {
	n := setup{objects: versitygw, file: true}.open(t)
	objects, _ := n.sdk(t)
	const beside = 600
	errs := clause.Race(16, func(first int) error {
		for i := first; i < beside; i += 16 {
			for _, key := range []string{n.key(fmt.Sprint("w", i)), n.key(fmt.Sprint("w", i)) + ".bak"} {
				_, err := objects.PutObject(t.Context(), &sdk.PutObjectInput{Bucket: aws.String(place), Key: &key, Body: strings.NewReader("x")})
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, change := range map[string]func(*s3.Config){"first": func(*s3.Config) {}, "second": func(c *s3.Config) { c.Key += ".bak" }} {
		w := n.wire(t)
		count := 0
		for _, err := range n.client(t, w, change).List(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			count++
		}
		// One for the default workspace, and one for each 1,000 of 1,200 objects.
		if got := n.operations(w); count != beside || !slices.Equal(got, []string{"LIST 200", "LIST 200", "LIST 200"}) {
			t.Errorf("%s configuration: %d workspaces by %q", name, count, got)
		}
	}
}
