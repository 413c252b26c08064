// Package backendtest checks a [backend.Backend] against its contract, sentence by
// sentence.
//
// Each sentence is a subtest of its own, on a fresh namespace with two clients, so
// that the order does not matter and a failure says which sentence is broken. The
// suite is itself tested: docs/mutants.md lists the broken backends that it
// catches. A Backend that is a lock.Locker goes through package locktest too.
//
// A store of your own is tested by a file like this:
//
//	package redisbackend_test
//
//	import (
//		"crypto/rand"
//		"testing"
//
//		"github.com/statelatch/statelatch/backend"
//		"github.com/statelatch/statelatch/backend/backendtest"
//
//		"example.com/redisbackend"
//	)
//
//	var target = backendtest.Target{
//		New: func(t testing.TB) backendtest.Namespace {
//			prefix := t.Name() + "/" + rand.Text() + "/a"
//			open := func(prefix string) func(testing.TB) backend.Backend {
//				return func(t testing.TB) backend.Backend { return redisbackend.New(server, prefix) }
//			}
//			return backendtest.Namespace{
//				Open:        open(prefix),
//				Empty:       func(t testing.TB, workspace string) { server.Set(prefix+workspace, "") },
//				Beside:      open(prefix + "b"),
//				CorruptLock: func(t testing.TB, workspace string) { server.Set(prefix+workspace+".lock", "rubbish") },
//			}
//		},
//		Fenced:  true,
//		MaxSize: 512 << 20,
//		Canary:  password,
//		Skips: backendtest.Skips{
//			"Advance":  "the server's clock cannot be set",
//			"Hung":     "no proxy in this test",
//			"Limited":  "it has no such setting",
//			"Lossy":    "no proxy in this test",
//			"Unlocked": "it has no such setting",
//			"Waiter":   "the server tells nobody of a release",
//			"Watcher":  "the server tells nobody of a loss",
//		},
//	}
//
//	func TestConformance(t *testing.T) { backendtest.Run(t, target) }
//
//	func Benchmark(b *testing.B) { backendtest.Benchmarks(b, target) }
//
// What a target does not provide it declares in Skips, with a reason, which is
// printed; what is neither provided nor declared fails. So a run never tests less
// than its source says, in CI or elsewhere.
//
// To look for rarer faults than the suite does, through a proxy that loses and
// delays requests, see [Rounds] and [History].
package backendtest
