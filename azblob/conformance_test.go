package azblob_test

import (
	"testing"
	"time"

	"github.com/statelatch/statelatch/azblob"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
	"github.com/statelatch/statelatch/internal/faultproxy"
)

func TestConformance(t *testing.T) {
	t.Run("default", func(t *testing.T) { backendtest.Run(t, target(t, backend.DefaultWorkspace, false)) })
	t.Run("prod", func(t *testing.T) { backendtest.Run(t, impatient(target(t, "prod", false))) })
}

// TestConformanceProxied does the same through a quiet proxy.
func TestConformanceProxied(t *testing.T) {
	backendtest.Run(t, impatient(target(t, backend.DefaultWorkspace, true)))
}

// impatient leaves out what waits for the end of leases.
func impatient(target backendtest.Target) backendtest.Target {
	for _, clause := range []string{
		"write under an expired lock", "lock/expired lock is taken over", "lock/one winner of an expired lock", "lock/expired lock is not held", "lock/renew",
	} {
		target.Skips[clause] = "done in the default workspace, without a proxy; a lease lasts 15 s at least"
	}
	return target
}

func target(t testing.TB, workspace string, proxied bool) backendtest.Target {
	return backendtest.Target{
		New:       func(t testing.TB) backendtest.Namespace { return newNamespace(t, proxied).hooks() },
		Workspace: workspace,
		Fenced:    true,
		TTL:       15 * time.Second, // the shortest that a lease may have
		Canary:    azurite.start(t).SecretKey,
		Skips: backendtest.Skips{
			"Advance":  "the clock of the service cannot be set",
			"Unlocked": "it always locks: Terraform has no such setting for Azure",
			"Waiter":   "the service tells nobody of a release",
			"Watcher":  "the service tells nobody of a loss",
		},
	}
}

func (n *namespace) hooks() backendtest.Namespace {
	open := func(change ...func(*azblob.Config)) func(testing.TB) backend.Backend {
		return func(t testing.TB) backend.Backend { return n.client(t, nil, change...) }
	}
	faulty := func(rule faultproxy.Rule) func(testing.TB) backend.Backend {
		return func(t testing.TB) backend.Backend { return n.client(t, n.proxy(t, rule)) }
	}
	return backendtest.Namespace{
		Open:        open(),
		Empty:       func(t testing.TB, workspace string) { upload(t, n.blob(t, workspace), "", nil) },
		Beside:      open(func(c *azblob.Config) { c.Key += ".bak" }),
		CorruptLock: n.corruptLock,
		Lossy:       faulty(faultproxy.Rule{Match: changes, Fault: faultproxy.CutAfter()}),
		Hung:        faulty(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Hang()}),
		Limited: func(t testing.TB, limit int) backend.Backend {
			return n.client(t, nil, func(c *azblob.Config) { c.MaxSize = int64(limit) })
		},
	}
}
