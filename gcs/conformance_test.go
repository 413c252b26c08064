package gcs_test

import (
	"maps"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
	"github.com/statelatch/statelatch/gcs"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/lock/locktest"
)

// What Cloud Storage does not have.
var lacks = backendtest.Skips{
	"Advance":  "a lock cannot expire",
	"Renewer":  "a lock cannot expire",
	"Unlocked": "there is no such setting",
	"Waiter":   "Cloud Storage tells nobody of a release",
	"Watcher":  "Cloud Storage tells nobody of a loss",
}

func TestConformance(t *testing.T) {
	t.Run("default", func(t *testing.T) { backendtest.Run(t, fakegcs.target(backend.DefaultWorkspace)) })
	t.Run("named", func(t *testing.T) { backendtest.Run(t, fakegcs.target("prod", long)) })
}

// What takes long, and does not depend on the name of the workspace.
var long = backendtest.Skips{
	"large states":        "done in the default workspace",
	"many workspaces":     "done in the default workspace",
	"context ends during": "done in the default workspace",
}

// TestConditionalDeletes has another server's opinion on locks, whose release is a
// DELETE with a condition: this one honours that by itself.
func TestConditionalDeletes(t *testing.T) {
	locktest.Run(t, locktest.Target{
		New: func(t testing.TB) locktest.Namespace {
			n := emulator.open(t)
			locker := func(open func(testing.TB) backend.Backend) func(testing.TB) lock.Locker {
				return func(t testing.TB) lock.Locker { return open(t).(*client) }
			}
			return locktest.Namespace{
				Open: func(t testing.TB) lock.Locker { return n.client(t, nil) },
				Hung: locker(n.faulty(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Hang()})),
			}
		},
		Skips: locktest.Skips{
			"Advance":     "a lock cannot expire",
			"CorruptLock": "tested on the other server",
			"Lossy":       "this server does not return the token of an object with the object",
			"Renewer":     "a lock cannot expire",
			"Unlocked":    "there is no such setting",
			"Waiter":      "Cloud Storage tells nobody of a release",
			"Watcher":     "Cloud Storage tells nobody of a loss",
		},
	})
	t.Run("stale Delete", func(t *testing.T) {
		c := emulator.open(t).client(t, nil)
		defer c.Close()
		first, err := c.Write(t.Context(), "default", []byte("1"), backend.Condition{})
		if err != nil {
			t.Fatal(err)
		}
		second, err := c.Write(t.Context(), "default", []byte("2"), backend.Condition{Revision: first})
		if err != nil {
			t.Fatal(err)
		}
		isOnly(t, "Delete of the first", c.Delete(t.Context(), "default", backend.Condition{Revision: first}), backend.ErrConflict)
		if err := c.Delete(t.Context(), "default", backend.Condition{Revision: second}); err != nil {
			t.Error(err)
		}
	})
}

// target is the server, for the suites.
func (s *store) target(workspace string, skips ...backendtest.Skips) backendtest.Target {
	all := maps.Clone(lacks)
	for _, some := range skips {
		maps.Copy(all, some)
	}
	return backendtest.Target{New: s.namespace, Workspace: workspace, Canary: canary, Skips: all}
}

func (s *store) namespace(t testing.TB) backendtest.Namespace {
	n := s.open(t)
	open := func(change ...func(*gcs.Config)) func(testing.TB) backend.Backend {
		return func(t testing.TB) backend.Backend { return n.client(t, nil, change...) }
	}
	return backendtest.Namespace{
		Open:        open(),
		Empty:       func(t testing.TB, workspace string) { n.put(t, workspace+".tfstate", "") },
		Beside:      open(func(c *gcs.Config) { c.Prefix += "-2" }),
		CorruptLock: func(t testing.TB, workspace string) { n.put(t, workspace+".tflock", "rubbish") },
		Lossy:       n.faulty(faultproxy.Rule{Match: changes, Fault: faultproxy.CutAfter()}),
		Hung:        n.faulty(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Hang()}),
		Limited: func(t testing.TB, limit int) backend.Backend {
			return n.client(t, nil, func(c *gcs.Config) { c.MaxSize = int64(limit) })
		},
	}
}

// faulty opens a client behind a proxy with that rule.
func (n *namespace) faulty(rule faultproxy.Rule) func(testing.TB) backend.Backend {
	return func(t testing.TB) backend.Backend {
		p := n.proxy(t)
		p.Add(rule)
		return n.client(t, p)
	}
}
