package azblob_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/lock/locktest"
)

// What the service, or what is before it, answers when it is in trouble.
var (
	failing  = faultproxy.Reply{Status: 500, Header: map[string][]string{"X-Ms-Error-Code": {"InternalError"}}}
	busy     = faultproxy.Reply{Status: 503, Header: map[string][]string{"X-Ms-Error-Code": {"ServerBusy"}}}
	throttle = faultproxy.Reply{Status: 429}
)

// wild makes about every fifth request fail, as the seed has it.
func wild(seed uint64) faultproxy.Rule {
	return faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Chaos(seed,
		faultproxy.Chance{P: .04, Fault: faultproxy.CutAfter()},
		faultproxy.Chance{P: .03, Fault: faultproxy.CutBefore()},
		faultproxy.Chance{P: .03, Fault: faultproxy.AnswerAfter(failing)},
		faultproxy.Chance{P: .02, Fault: faultproxy.Answer(failing)},
		faultproxy.Chance{P: .02, Fault: faultproxy.Answer(busy)},
		faultproxy.Chance{P: .01, Fault: faultproxy.Answer(throttle)},
		faultproxy.Chance{P: .02, Fault: faultproxy.Delay(5 * time.Millisecond)},
		faultproxy.Chance{P: .01, Fault: faultproxy.DelayReply(5 * time.Millisecond)},
	)}
}

const (
	shards  = 20 // rounds are played side by side: they mostly wait
	players = 3
)

// shard is what plays some of the rounds: clients behind proxies of their own.
type shard struct {
	proxies []*faultproxy.Proxy
	clients []*client
	direct  *client
}

// idle waits until no request of an earlier round is on its way any longer.
func (s *shard) idle() {
	for _, p := range s.proxies {
		<-p.Idle()
	}
}

// play plays rounds in shards, and says how many faults there were.
func playRounds(t *testing.T, rounds int, play func(s *shard, seed uint64, rounds int)) {
	n, seed := newNamespace(t, false), locktest.Seed(t)
	var all []*shard
	for i := range shards {
		s := &shard{direct: n.client(t, nil)}
		for j := range players {
			p := n.proxy(t, wild(seed+uint64(i)<<32+uint64(j)))
			s.proxies, s.clients = append(s.proxies, p), append(s.clients, n.client(t, p))
		}
		all = append(all, s)
	}
	var group sync.WaitGroup
	for i, s := range all {
		group.Go(func() { play(s, seed+uint64(i)<<32, rounds/shards) })
	}
	group.Wait()
	faults, requests := 0, 0
	for _, s := range all {
		for _, p := range s.proxies {
			for _, q := range p.Requests() {
				if requests++; q.Fault != "" {
					faults++
				}
			}
		}
	}
	t.Logf("%d rounds, %d of %d requests met a fault", rounds, faults, requests)
}

func TestLockRounds(t *testing.T) {
	t.Parallel()
	playRounds(t, 1000, func(s *shard, seed uint64, rounds int) {
		var given *ids
		locktest.Rounds(t, seed, rounds, func(int) (string, []lock.Locker) {
			given.check(t, s)
			given = &ids{workspace: lock.NewID()}
			var lockers []lock.Locker
			for _, c := range s.clients {
				lockers = append(lockers, &giving{c, given})
			}
			return given.workspace, lockers
		})
		given.check(t, s)
	})
}

func TestStateRounds(t *testing.T) {
	t.Parallel()
	playRounds(t, 1000, func(s *shard, seed uint64, rounds int) {
		backendtest.Rounds(t, seed, rounds, func(int) (string, []backend.Backend) {
			s.idle()
			var backends []backend.Backend
			for _, c := range s.clients {
				backends = append(backends, c)
			}
			return lock.NewID(), backends
		})
	})
}

// ids are the lock IDs that callers were given.
type ids struct {
	workspace string
	mu        sync.Mutex
	given     []string
}

// check fails the test if a lock was left whose ID no caller was given.
func (g *ids) check(t testing.TB, s *shard) {
	t.Helper()
	s.idle()
	if g == nil {
		return
	}
	holder, err := s.direct.Holder(context.Background(), g.workspace)
	if errors.Is(err, lock.ErrNotHeld) {
		return
	}
	if err != nil {
		t.Errorf("Holder after the round: %v", err)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if slices.Contains(g.given, holder.ID) {
		return
	}
	t.Errorf("lock %s was left, and no caller was given that ID", holder.ID)
}

// giving is a Locker that notes which IDs it gives.
type giving struct {
	*client
	ids *ids
}

func (l *giving) Lock(ctx context.Context, workspace string, info lock.Info) (lock.Info, error) {
	stored, err := l.client.Lock(ctx, workspace, info)
	var unknown *lock.UnknownError
	id := stored.ID
	if errors.As(err, &unknown) {
		id = unknown.ID
	}
	l.ids.mu.Lock()
	defer l.ids.mu.Unlock()
	l.ids.given = append(l.ids.given, id)
	return stored, err
}
