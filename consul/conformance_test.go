package consul_test

import (
	"maps"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
	"github.com/statelatch/statelatch/consul"
	"github.com/statelatch/statelatch/internal/faultproxy"
)

var lacks = backendtest.Skips{
	"Advance": "the clock of a server cannot be set",
}

// What takes long, and is the same in each workspace and by each way.
var long = backendtest.Skips{
	"write under an expired lock":        "sessions live 10 s or longer: done in the default workspace",
	"lock/expired lock is taken over":    "sessions live 10 s or longer: done in the default workspace",
	"lock/one winner of an expired lock": "sessions live 10 s or longer: done in the default workspace",
	"lock/expired lock is not held":      "sessions live 10 s or longer: done in the default workspace",
	"lock/renew":                         "sessions live 10 s or longer: done in the default workspace",
	"large states":                       "done in the default workspace",
	"many workspaces":                    "done in the default workspace",
}

func TestConformance(t *testing.T) {
	for _, test := range []struct {
		name   string
		target backendtest.Target
	}{
		{"default", target(t, "", false, nil)},
		{"named", target(t, "prod", false, long)},
		{"proxy", target(t, "", true, long)},
		{"proxy, named, gzip", target(t, "prod", true, long, gzipped)},
	} {
		t.Run(test.name, func(t *testing.T) { backendtest.Run(t, test.target) })
	}
}

// target is what the suites run on: directly, or through a quiet proxy.
func target(t testing.TB, workspace string, proxied bool, skips backendtest.Skips, change ...func(*consul.Config)) backendtest.Target {
	all := maps.Clone(lacks)
	maps.Copy(all, skips)
	return backendtest.Target{
		New: func(t testing.TB) backendtest.Namespace {
			n := open(t)
			for _, f := range change {
				f(&n.config)
			}
			if proxied {
				n.config.Address = faultproxy.New(t, n.config.Address).URL()
			}
			return n.suite()
		},
		Workspace: workspace,
		TTL:       10 * time.Second,
		MaxSize:   9 << 20, // more than one transaction reads; the race detector makes JSON slow
		Canary:    agent.Start(t).Token,
		Skips:     all,
	}
}

func (n *namespace) suite() backendtest.Namespace {
	opener := func(change ...func(*consul.Config)) func(testing.TB) backend.Backend {
		return func(t testing.TB) backend.Backend { return n.client(t, change...) }
	}
	faulty := func(rule faultproxy.Rule) func(testing.TB) backend.Backend {
		return func(t testing.TB) backend.Backend {
			b, p := n.proxied(t)
			p.Add(rule)
			return b
		}
	}
	return backendtest.Namespace{
		Open:     opener(),
		Empty:    func(t testing.TB, workspace string) { n.put(t, n.key(workspace), nil) },
		Beside:   opener(func(c *consul.Config) { c.Path += "-2" }),
		Unlocked: opener(func(c *consul.Config) { c.Lock = new(bool) }),
		CorruptLock: func(t testing.TB, workspace string) {
			n.acquire(t, n.key(workspace), n.session(t, &api.SessionEntry{}), "rubbish")
		},
		Lossy: faulty(faultproxy.Rule{Match: changes, Fault: faultproxy.CutAfter()}),
		Hung:  faulty(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Hang()}),
		Limited: func(t testing.TB, limit int) backend.Backend {
			return n.client(t, func(c *consul.Config) { c.MaxSize = int64(limit) })
		},
	}
}
