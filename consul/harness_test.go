package consul_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/consul"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/testservice"
	"github.com/statelatch/statelatch/lock"
)

func TestMain(m *testing.M) { testservice.Main(m) }

var agent = testservice.New(testservice.Consul)

const ws = backend.DefaultWorkspace

// A namespace is a path of its own in the agent.
type namespace struct {
	config consul.Config
	raw    *api.Client // the vendor's, for what the package is not to do itself
}

func open(t testing.TB) *namespace {
	t.Helper()
	server := agent.Start(t)
	return at(t, server.Endpoint, server.Token)
}

// at is open at an agent that runs already.
func at(t testing.TB, address, token string) *namespace {
	t.Helper()
	config := api.DefaultConfig()
	config.Address, config.Token = address, token
	raw, err := api.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(config.HttpClient.CloseIdleConnections)
	return &namespace{consul.Config{Path: testservice.Name(t), Address: address, AccessToken: backend.Secret(token)}, raw}
}

// client opens a Backend. change may change its configuration.
func (n *namespace) client(t testing.TB, change ...func(*consul.Config)) *consul.Backend {
	t.Helper()
	config := n.config
	for _, f := range change {
		f(&config)
	}
	b, err := consul.New(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// through makes the requests of a client go through a proxy.
func through(p *faultproxy.Proxy) func(*consul.Config) {
	return func(c *consul.Config) { c.Address = p.URL() }
}

// proxied opens a client behind a proxy of its own.
func (n *namespace) proxied(t testing.TB, change ...func(*consul.Config)) (*consul.Backend, *faultproxy.Proxy) {
	t.Helper()
	p := faultproxy.New(t, n.config.Address)
	return n.client(t, append(change, through(p))...), p
}

func gzipped(c *consul.Config) { c.GZIP = true }

// get returns what a key holds; nil if it does not exist.
func (n *namespace) get(t testing.TB, key string) *api.KVPair {
	t.Helper()
	pair, _, err := n.raw.KV().Get(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func (n *namespace) put(t testing.TB, key string, value []byte) {
	t.Helper()
	if _, err := n.raw.KV().Put(&api.KVPair{Key: key, Value: value}, nil); err != nil {
		t.Fatal(err)
	}
}

// below lists the keys below a key, without that.
func (n *namespace) below(t testing.TB, key string) []string {
	t.Helper()
	keys, _, err := n.raw.KV().Keys(key+"/", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	for i := range keys {
		keys[i] = strings.TrimPrefix(keys[i], key+"/")
	}
	return keys
}

// chunks lists the chunks of the default workspace.
func (n *namespace) chunks(t testing.TB) []string {
	t.Helper()
	return slices.DeleteFunc(n.below(t, n.config.Path), func(key string) bool { return !strings.HasPrefix(key, "tfstate.") })
}

// sessions counts the sessions that were made for this namespace's locks.
func (n *namespace) sessions(t testing.TB) (count int) {
	t.Helper()
	all, _, err := n.raw.Session().List(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, session := range all {
		if strings.HasPrefix(session.Name, "statelatch "+n.config.Path) {
			count++
		}
	}
	return count
}

// session makes a session of somebody else's.
func (n *namespace) session(t testing.TB, entry *api.SessionEntry) string {
	t.Helper()
	id, _, err := n.raw.Session().CreateNoChecks(entry, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.raw.Session().Destroy(id, nil) })
	return id
}

func (n *namespace) destroy(t testing.TB, session string) {
	t.Helper()
	if _, err := n.raw.Session().Destroy(session, nil); err != nil {
		t.Fatal(err)
	}
}

// acquire takes a lock as somebody else does, with that record.
func (n *namespace) acquire(t testing.TB, key, session, record string) {
	t.Helper()
	const magic = 3304740253564472344
	ok, _, err := n.raw.KV().Acquire(&api.KVPair{Key: key + "/.lock", Session: session, Flags: magic}, nil)
	if err != nil || !ok {
		t.Fatalf("acquired: %v, %v", ok, err)
	}
	n.put(t, key+"/.lockinfo", []byte(record))
}

// key is that of a workspace's state.
func (n *namespace) key(workspace string) string {
	if workspace == ws {
		return n.config.Path
	}
	return n.config.Path + "-env:" + workspace
}

// changes matches requests that may change something.
func changes(r *http.Request) bool { return r.Method == "PUT" || r.Method == "DELETE" }

func mustWrite(t testing.TB, b backend.Backend, data []byte, cond backend.Condition) backend.Revision {
	t.Helper()
	rev, err := b.Write(context.Background(), ws, data, cond)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func mustLock(t testing.TB, l lock.Locker) lock.Info {
	t.Helper()
	info, err := l.Lock(context.Background(), ws, lock.NewInfo("test"))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func mustUnlock(t testing.TB, l lock.Locker, id string) {
	t.Helper()
	if err := l.Unlock(context.Background(), ws, id); err != nil {
		t.Fatal(err)
	}
}

func mustRead(t testing.TB, b backend.Backend) backend.State {
	t.Helper()
	st, err := b.Read(context.Background(), ws)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func condition(rev backend.Revision) backend.Condition { return backend.Condition{Revision: rev} }
