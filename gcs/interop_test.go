package gcs_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/gcs"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/services"
	"github.com/statelatch/statelatch/internal/tftest"
	"github.com/statelatch/statelatch/lock"
)

// The programs that this package owes the same states and locks.
var programs = []struct {
	name string
	find func(name string) (string, error)
}{
	{"terraform", exec.LookPath},
	{"tofu", services.Path},
}

// block returns the backend block for the namespace, by way of p.
func (n *namespace) block(p *faultproxy.Proxy) string {
	return fmt.Sprintf(`backend "gcs" {
    bucket                  = %q
    prefix                  = %q
    access_token            = %q
    storage_custom_endpoint = %q
  }`, n.config.Bucket, n.config.Prefix, canary, p.URL()+"/storage/v1/b")
}

// TestInterop has each program work beside us.
func TestInterop(t *testing.T) {
	t.Parallel()
	for _, program := range programs {
		t.Run(program.name, func(t *testing.T) {
			t.Parallel()
			tftest.Interop(t, tftest.Find(t, program.name, program.find), func(t *testing.T) tftest.Fixture {
				n := fakegcs.open(t)
				c := n.client(t, nil)
				return tftest.Fixture{Backend: n.block(c.proxy), Ours: c, Proxies: []*faultproxy.Proxy{c.proxy}}
			})
		})
	}
}

// TestEmulatorHost has each program and us find the server by the variable that
// Google's client knows, without credentials.
func TestEmulatorHost(t *testing.T) {
	for _, program := range programs {
		t.Run(program.name, func(t *testing.T) {
			n := fakegcs.open(t)
			p := n.proxy(t)
			host := strings.TrimPrefix(p.URL(), "http://")
			t.Setenv("STORAGE_EMULATOR_HOST", host)
			c := n.client(t, p, func(c *gcs.Config) { c.StorageCustomEndpoint, c.AccessToken = "", "" })
			defer c.Close()
			block := fmt.Sprintf("backend \"gcs\" {\n bucket = %q\n prefix = %q\n}", n.config.Bucket, n.config.Prefix)
			dir := tftest.Find(t, program.name, program.find).Dir(t, tftest.Config{Backend: block, Count: 1, Word: "one"}, "STORAGE_EMULATOR_HOST="+host)
			dir.Must("apply", "-auto-approve")
			st, err := c.Read(t.Context(), backend.DefaultWorkspace)
			if err != nil {
				t.Fatal(err)
			}
			words, err := tftest.Words(st.Data)
			if diff := cmp.Diff([]string{"one"}, words); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

// TestSameObject compares what of an object is not its contents: it is the same
// whoever wrote it, but for the token.
func TestSameObject(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	c := n.client(t, nil)
	defer c.Close()
	gate := t.TempDir() + "/gate"
	dir := tftest.Terraform(t).Dir(t, tftest.Config{Backend: n.block(c.proxy), Count: 1, Word: "one", Gate: gate})
	apply := dir.Start("apply", "-auto-approve")
	apply.Until("Provisioning")
	theirLock := n.attributes(t, "default.tflock")
	tftest.Open(t, gate)
	apply.Must()
	theirs := n.attributes(t, "default.tfstate")

	st, err := c.Read(t.Context(), backend.DefaultWorkspace)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(t.Context(), backend.DefaultWorkspace, st.Data, backend.Condition{Revision: st.Revision}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Lock(t.Context(), backend.DefaultWorkspace, lock.NewInfo("test")); err != nil {
		t.Fatal(err)
	}
	for _, pair := range []struct{ theirs, ours map[string]any }{
		{theirs, n.attributes(t, "default.tfstate")},
		{theirLock, n.attributes(t, "default.tflock")},
	} {
		if metadata, _ := pair.ours["metadata"].(map[string]any); len(metadata) != 1 || metadata["statelatch-call"] == "" {
			t.Errorf("metadata: %v", pair.ours["metadata"])
		}
		delete(pair.ours, "metadata")
		if diff := cmp.Diff(pair.theirs, pair.ours); diff != "" || pair.theirs["contentType"] != "text/plain; charset=utf-8" {
			t.Errorf("(-theirs +ours)\n%s", diff)
		}
	}
}

// attributes returns those of an object that the contents do not determine.
func (n *namespace) attributes(t *testing.T, name string) map[string]any {
	t.Helper()
	_, text := send(t, "GET", n.url(n.start(t).Endpoint, n.object(name)), nil)
	var all map[string]any
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"generation", "id", "selfLink", "mediaLink", "size", "md5Hash", "crc32c", "etag", "timeCreated", "timeStorageClassUpdated", "updated", "timeFinalized"} {
		delete(all, name)
	}
	return all
}
