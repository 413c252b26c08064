package consul_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/consul"
	"github.com/statelatch/statelatch/lock"
)

// methods calls each method, and returns their errors by the name of their Op.
func methods(ctx context.Context, b *consul.Backend) map[string]error {
	errs := map[string]error{}
	_, errs["read"] = b.Read(ctx, ws)
	_, errs["stat"] = b.Stat(ctx, ws)
	_, errs["write"] = b.Write(ctx, ws, []byte("x"), condition(backend.AnyRevision))
	errs["delete"] = b.Delete(ctx, ws, condition(backend.AnyRevision))
	for _, err := range b.List(ctx) {
		errs["list"] = errors.Join(errs["list"], err)
	}
	held, err := b.Lock(ctx, ws, lock.NewInfo("test"))
	errs["lock"], errs["unlock"] = err, b.Unlock(ctx, ws, cmp.Or(held.ID, lock.NewID()))
	_, errs["holder"] = b.Holder(ctx, ws)
	_, errs["renew"] = b.Renew(ctx, ws, lock.NewID())
	errs["wait"] = b.Wait(ctx, ws)
	errs["watch"] = b.Watch(ctx, ws, lock.NewID())
	return errs
}

// token makes a token that may do what the rules say.
func (n *namespace) token(t testing.TB, rules string) backend.Secret {
	t.Helper()
	policy, _, err := n.raw.ACL().PolicyCreate(&api.ACLPolicy{Name: n.config.Path + fmt.Sprint(len(rules)), Rules: rules}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := n.raw.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{ID: policy.ID}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return backend.Secret(token.SecretID)
}

// What a token may not do is ErrPermission, and says what it needs; what it may, works.
func TestPermissions(t *testing.T) {
	all := []string{"read", "stat", "write", "delete", "list", "lock", "unlock", "holder", "renew", "wait", "watch"}
	for name, test := range map[string]struct {
		rules  string // %[1]s is the path
		denied []string
	}{
		"no such token":   {"", all},
		"nothing":         {`key_prefix "other" { policy = "write" }`, all},
		"to read":         {`key_prefix "%[1]s" { policy = "read" }`, []string{"write", "delete", "lock", "unlock"}},
		"keys alone":      {`key_prefix "%[1]s" { policy = "write" }`, []string{"lock"}},
		"sessions alone":  {`session_prefix "" { policy = "write" }`, all},
		"all of it":       {`key_prefix "%[1]s" { policy = "write" } session_prefix "" { policy = "write" }`, nil},
		"only those keys": {`key "%[1]s" { policy = "write" } key_prefix "%[1]s/" { policy = "write" } key_prefix "%[1]s-env:" { policy = "write" } session_prefix "" { policy = "write" }`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			n := open(t)
			mustWrite(t, n.client(t), []byte("one"), backend.Condition{})
			n.put(t, n.config.Path+"-2", []byte("a neighbour"))
			secret := backend.Secret(lock.NewID())
			if test.rules != "" {
				rules := test.rules
				if strings.Contains(rules, "%") {
					rules = fmt.Sprintf(rules, n.config.Path)
				}
				secret = n.token(t, rules)
			}
			b := n.client(t, func(c *consul.Config) { c.AccessToken = secret })
			for op, err := range methods(t.Context(), b) {
				if denied := slices.Contains(test.denied, op); denied != errors.Is(err, backend.ErrPermission) {
					t.Errorf("%s: %v", op, err)
				} else if denied && !strings.Contains(err.Error(), fmt.Sprintf("the token needs key_prefix %q", n.config.Path)) {
					t.Errorf("%s: %v", op, err)
				}
				if strings.Contains(fmt.Sprint(err), string(secret)) {
					t.Errorf("%s: the token is in %v", op, err)
				}
			}
		})
	}
}

// What an agent answers when something is wrong, in the words of Consul.
func TestKinds(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		kind   error // of methods that change nothing
		change error // of those that do
		says   string
	}{
		"no leader":       {500, "No cluster leader", backend.ErrTransient, backend.ErrTransient, ""},
		"leader lost":     {500, "leadership lost while committing log", backend.ErrTransient, backend.ErrUnknown, ""},
		"throttled":       {429, "rate limit exceeded, try again later or against a different server", backend.ErrTransient, backend.ErrTransient, "throttling"},
		"throttled later": {503, "rate limit exceeded for operation that can only be performed by the leader", backend.ErrTransient, backend.ErrTransient, "throttling"},
		"no datacenter":   {500, "No path to datacenter", backend.ErrNoStore, backend.ErrNoStore, "datacenter"},
		"no token":        {403, "ACL not found", backend.ErrPermission, backend.ErrPermission, "key_prefix"},
		"too large":       {413, "Request body(600000 bytes) too large, max size: 524288 bytes. See http", backend.ErrTooLarge, backend.ErrTooLarge, "limits"},
		"unavailable":     {503, "", backend.ErrTransient, backend.ErrUnknown, ""},
		"moved, nowhere":  {302, "", backend.ErrInvalid, backend.ErrUnknown, "302"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				w.Write([]byte(test.body))
			}))
			defer agent.Close()
			b, err := consul.New(t.Context(), consul.Config{Path: "p", Address: agent.URL})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			_, err = b.Read(t.Context(), ws)
			check(t, "Read", err, test.kind, test.says)
			_, err = b.Write(t.Context(), ws, []byte("x"), backend.Condition{})
			check(t, "Write", err, test.change, test.says)
		})
	}
}

var kinds = []error{
	backend.ErrNotExist, backend.ErrConflict, backend.ErrInvalid, backend.ErrTooLarge, backend.ErrNoStore, backend.ErrCorrupt,
	backend.ErrPermission, backend.ErrTransient, backend.ErrUnknown, fs.ErrNotExist,
}

// check wants an error of one kind.
func check(t *testing.T, doing string, err, want error, says string) {
	t.Helper()
	for _, kind := range kinds {
		if errors.Is(err, kind) != (kind == want) {
			t.Errorf("%s: got %v, want it to match %q alone", doing, err, want)
		}
	}
	if !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("%s: %v; want %q in it", doing, err, says)
	}
}

// Where there is no agent, nothing reads as "no state".
func TestNoAgent(t *testing.T) {
	page := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(page.Close)
	for name, test := range map[string]struct {
		address string
		want    error
		says    string
	}{
		"another server": {page.URL, backend.ErrInvalid, "no Consul agent"},
		"nobody":         {"http://127.0.0.1:1", backend.ErrTransient, "cannot be reached"},
		"no socket":      {"unix://" + t.TempDir() + "/none", backend.ErrTransient, "cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := consul.New(context.Background(), consul.Config{Path: "p", Address: test.address})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			_, err = b.Read(context.Background(), ws)
			check(t, "Read", err, test.want, test.says)
			for _, err := range b.List(context.Background()) {
				check(t, "List", err, test.want, test.says)
			}
			_, err = b.Holder(context.Background(), ws)
			if err == nil || errors.Is(err, lock.ErrNotHeld) {
				t.Errorf("Holder: %v", err)
			}
		})
	}
}

// A context that had ended before is the error, of no kind.
func TestEndedContext(t *testing.T) {
	n := open(t)
	b := n.client(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for op, err := range methods(ctx, b) {
		check(t, op, err, nil, "")
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", op, err)
		}
	}
}
