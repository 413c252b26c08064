// Package locktest checks a [lock.Locker] against its contract, sentence by
// sentence.
//
// Each sentence is a subtest of its own, on a fresh namespace with two clients, so
// that the order does not matter and a failure says which sentence is broken. The
// suite is itself tested: docs/mutants.md lists the broken lockers that it
// catches.
//
// Package backendtest runs this suite too, on a Backend that is a Locker. Use it
// directly for a Locker that stands alone, to be combined with a Backend by
// backend.WithLocker:
//
//	package redislock_test
//
//	import (
//		"crypto/rand"
//		"testing"
//
//		"github.com/statelatch/statelatch/lock"
//		"github.com/statelatch/statelatch/lock/locktest"
//
//		"example.com/redislock"
//	)
//
//	func TestConformance(t *testing.T) {
//		locktest.Run(t, locktest.Target{
//			New: func(t testing.TB) locktest.Namespace {
//				prefix := t.Name() + "/" + rand.Text() + "/a"
//				return locktest.Namespace{
//					Open: func(t testing.TB) lock.Locker {
//						return redislock.New(server, prefix)
//					},
//					CorruptLock: func(t testing.TB, workspace string) {
//						server.Set(prefix+workspace, "rubbish")
//					},
//				}
//			},
//			Skips: locktest.Skips{
//				"Advance":  "the server's clock cannot be set",
//				"Hung":     "no proxy in this test",
//				"Lossy":    "no proxy in this test",
//				"Unlocked": "it has no such setting",
//				"Waiter":   "the server tells nobody of a release",
//				"Watcher":  "the server tells nobody of a loss",
//			},
//		})
//	}
//
// What a target does not provide it declares in Skips, with a reason, which is
// printed; what is neither provided nor declared fails. So a run never tests less
// than its source says, in CI or elsewhere.
//
// To look for rarer faults than the suite does, through a proxy that loses and
// delays requests, see [Rounds] and [History].
package locktest
