// Package trial holds what the tests of several services ask of a Backend whose
// requests fail: rounds of calls by clients whose requests meet faults at random, and
// single calls of which one request fails or hangs. The services say which faults
// there are, and how a client is opened.
package trial

import (
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
	"github.com/statelatch/statelatch/internal/clause"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/lock/locktest"
)

// A Backend is one that locks too.
type Backend interface {
	backend.Backend
	lock.Locker
}

// A Client is a Backend with the proxies that only its own requests go through.
type Client struct {
	Backend
	Proxies []*faultproxy.Proxy
}

// Requests returns what went through the proxies.
func (c Client) Requests() (all []faultproxy.Request) {
	for _, p := range c.Proxies {
		all = append(all, p.Requests()...)
	}
	return all
}

// Rounds says how rounds are played.
type Rounds struct {
	Count  int
	Shards int // play side by side: rounds mostly wait

	// Open begins a shard: with a Locker that meets no faults, and a function that
	// opens a client that meets those which seed and seed+1 draw.
	Open func() (direct lock.Locker, client func(seed uint64) Client)

	// Told says that no lock is broken before the one who takes it was told that he
	// has it. Who then finds no lock, because its reply was lost and its lock broken,
	// may take it again: a second time by one call, which is no harm and no order of
	// calls explains.
	Told bool

	// Clear says that each ID that a caller was given is unlocked after the round,
	// which must clear whatever is left. It may be the lock's Ref, too.
	Clear bool
}

// A Shard plays some of the rounds, one after the other.
type Shard struct {
	Direct  lock.Locker
	Clients []Client
}

const clients = 3 // of a shard

func (r Rounds) shard(seed uint64) *Shard {
	direct, client := r.Open()
	s := &Shard{Direct: direct}
	for i := range uint64(clients) {
		s.Clients = append(s.Clients, client(seed+2*i))
	}
	return s
}

// Idle waits until no request of an earlier round is on its way any longer.
func (s *Shard) Idle() {
	for _, c := range s.Clients {
		for _, p := range c.Proxies {
			<-p.Idle()
		}
	}
}

// Play has each shard play its part of the rounds, and says how many faults there
// were. When it returns, no request is on its way.
func (r Rounds) Play(t testing.TB, play func(s *Shard, seed uint64, rounds int)) {
	t.Helper()
	seed := clause.Seed(t)
	var shards []*Shard
	for i := range uint64(r.Shards) {
		shards = append(shards, r.shard(seed+i<<32))
	}
	clause.Race(r.Shards, func(i int) (none struct{}) {
		play(shards[i], seed+uint64(i)<<32, r.Count/r.Shards)
		shards[i].Idle()
		return none
	})
	requests, faults := 0, 0
	for _, s := range shards {
		for _, c := range s.Clients {
			for _, q := range c.Requests() {
				if requests++; q.Fault != "" {
					faults++
				}
			}
		}
	}
	t.Logf("%d rounds, %d of %d requests met a fault", r.Count, faults, requests)
}

// Locks plays rounds of locking: there are never two holders, and no lock is left
// that nobody knows of.
func (r Rounds) Locks(t testing.TB) {
	t.Helper()
	r.Play(t, func(s *Shard, seed uint64, rounds int) {
		var last *ids
		locktest.Rounds(t, seed, rounds, func(int) (string, []lock.Locker) {
			last.check(t, s)
			last = &ids{workspace: lock.NewID(), Rounds: r}
			var lockers []lock.Locker
			for _, c := range s.Clients {
				lockers = append(lockers, &giving{c, last})
			}
			return last.workspace, lockers
		})
		last.check(t, s)
	})
}

// States plays rounds of reading and writing: no update is lost, and none refused
// that was made.
func (r Rounds) States(t testing.TB) {
	t.Helper()
	r.Play(t, func(s *Shard, seed uint64, rounds int) {
		backendtest.Rounds(t, seed, rounds, func(int) (string, []backend.Backend) {
			s.Idle()
			var backends []backend.Backend
			for _, c := range s.Clients {
				backends = append(backends, c.Backend)
			}
			return lock.NewID(), backends
		})
	})
}
