package s3_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
	"github.com/statelatch/statelatch/internal/clause"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/lock/locktest"
)

// What a server, or what is before it, answers when it is in trouble.
var (
	failing  = faultproxy.Reply{Status: 500, Body: "<Error><Code>InternalError</Code></Error>"}
	busy     = faultproxy.Reply{Status: 503, Body: "<Error><Code>SlowDown</Code></Error>"}
	beaten   = faultproxy.Reply{Status: 409, Body: "<Error><Code>ConditionalRequestConflict</Code></Error>"}
	throttle = faultproxy.Reply{Status: 429}
)

// wild makes about every fifth request fail, as the seed has it.
func (w wire) wild(seed uint64) {
	chances := []faultproxy.Chance{
		{P: .04, Fault: faultproxy.CutAfter()},
		{P: .03, Fault: faultproxy.CutBefore()},
		{P: .03, Fault: faultproxy.AnswerAfter(failing)},
		{P: .02, Fault: faultproxy.Answer(failing)},
		{P: .02, Fault: faultproxy.Answer(busy)},
		{P: .01, Fault: faultproxy.Answer(throttle)},
		{P: .02, Fault: faultproxy.Delay(5 * time.Millisecond)},
		{P: .01, Fault: faultproxy.DelayReply(5 * time.Millisecond)},
	}
	storing := append(chances, faultproxy.Chance{P: .02, Fault: faultproxy.Answer(beaten)})
	w.add(faultproxy.Rule{Match: stores, Times: faultproxy.Always, Fault: faultproxy.Chaos(seed, storing...)})
	w.add(faultproxy.Rule{Match: faultproxy.Not(stores), Times: faultproxy.Always, Fault: faultproxy.Chaos(seed+1, chances...)})
}

func stores(r *http.Request) bool {
	return r.Method == "PUT" || strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".PutItem")
}

// idle waits until no request of an earlier round is on its way any longer.
func (w wire) idle() {
	<-w.objects.Idle()
	if w.tables != nil {
		<-w.tables.Idle()
	}
}

// faults returns how many requests met one.
func (w wire) faults() (n int) {
	for _, q := range w.requests() {
		if q.Fault != "" {
			n++
		}
	}
	return n
}

func (w wire) requests() []faultproxy.Request {
	all := w.objects.Requests()
	if w.tables != nil {
		all = append(all, w.tables.Requests()...)
	}
	return all
}

// story tells what came over the wire to a workspace, and what became of it.
func (w wire) story(workspace string) string {
	var b strings.Builder
	for _, q := range w.requests() {
		if strings.Contains(q.Path+string(q.Body), workspace) {
			fmt.Fprintf(&b, "%s %s%s: sent %d, server %d, client %d, fault %q %s\n", q.Start.Format("05.000"), q.Operation(), q.Header.Values("If-Match"), q.Sent, q.Server, q.Status, q.Fault, q.Err)
		}
	}
	return b.String()
}

const (
	shards  = 16 // rounds are played side by side: they mostly wait
	clients = 3
)

// shard is what plays some of the rounds: clients behind wires of their own.
type shard struct {
	*namespace
	wires   []wire
	clients []*client
	direct  *client
}

func (n *namespace) shard(t testing.TB, seed uint64) *shard {
	s := &shard{namespace: n, direct: n.client(t, wire{})}
	for i := range clients {
		w := n.wire(t, faultproxy.WithBodies())
		c := n.client(t, w)
		if n.unknown || !n.objects.conforming { // what is not known yet is found out in peace
			if _, err := c.Probe(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		w.wild(seed + uint64(i)*2)
		s.wires, s.clients = append(s.wires, w), append(s.clients, c)
	}
	return s
}

// play plays rounds in shards, and says how many faults there were.
func (s setup) play(t *testing.T, rounds int, play func(s *shard, seed uint64, rounds int)) {
	t.Parallel()
	n, seed := s.open(t), locktest.Seed(t)
	var all []*shard
	for i := range shards {
		all = append(all, n.shard(t, seed+uint64(i)<<32))
	}
	var group sync.WaitGroup
	for i, s := range all {
		group.Go(func() { play(s, seed+uint64(i)<<32, rounds/shards) })
	}
	group.Wait()
	faults := 0
	for _, s := range all {
		for _, w := range s.wires {
			faults += w.faults()
		}
	}
	t.Logf("%d rounds, %d requests met a fault", rounds, faults)
}

func TestLockRounds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		setup  setup
		rounds int
	}{
		"versitygw, lock file": {setup{objects: versitygw, file: true}, 500},
		"minio, lock file":     {setup{objects: minio, file: true}, 400},
		"table":                {setup{objects: versitygw, table: dynalite}, 300},
		"both":                 {setup{objects: versitygw, table: dynalite, file: true}, 160},
	} {
		t.Run(name, func(t *testing.T) {
			test.setup.play(t, test.rounds, func(s *shard, seed uint64, rounds int) {
				for round := 0; round < rounds && !t.Failed(); round++ {
					s.lockRound(t, seed, round)
				}
			})
		})
	}
}

// lockRound has each client lock, look and unlock at once with the others. None
// breaks another's lock: if the replies to two who release one lock are lost, nothing
// tells which of them did it.
func (s *shard) lockRound(t *testing.T, seed uint64, round int) {
	var history locktest.History
	var given sync.Map
	var inside atomic.Int32
	both := s.file && s.table != nil // not taken at one moment, so a Holder may see a half
	workspace := lock.NewID()
	clause.Race(len(s.clients), func(i int) (none struct{}) {
		random := rand.New(rand.NewPCG(seed, uint64(round)<<8|uint64(i)))
		var l lock.Locker = s.clients[i]
		if !both {
			l = history.Client(l, i)
		}
		mine, holds := "", false
		for range 6 {
			patience := time.Minute
			if random.IntN(8) == 0 { // cut short, perhaps before it is done
				patience = time.Duration(random.IntN(20)) * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			switch turn := random.IntN(5); {
			case turn == 4:
				l.Holder(ctx, workspace)
			case mine == "":
				stored, err := l.Lock(ctx, workspace, lock.NewInfo("round"))
				var unknown *lock.UnknownError
				if mine = stored.ID; errors.As(err, &unknown) {
					mine = unknown.ID
				}
				given.Store(mine, true)
				if holds = err == nil; holds && inside.Add(1) > 1 {
					t.Error("two hold the lock")
				}
			default:
				if holds {
					inside.Add(-1)
					holds = false
				}
				if err := l.Unlock(ctx, workspace, mine); err == nil || errors.Is(err, lock.ErrNotHeld) {
					mine = ""
				}
			}
			cancel()
		}
		return none
	})
	for _, w := range s.wires {
		w.idle()
	}
	holder, err := s.direct.Holder(context.Background(), workspace)
	_, ok := given.Load(holder.ID)
	if err == nil && !ok {
		t.Errorf("lock %s was left, and no caller was given that ID", holder.ID)
	} else if err != nil && !errors.Is(err, lock.ErrNotHeld) {
		t.Errorf("Holder after the round: %v", err)
	}
	before := t.Failed()
	if history.Check(t); t.Failed() && !before || err == nil && !ok {
		t.Logf("that was round %d of seed %d", round, seed)
		for i, w := range s.wires {
			t.Logf("client %d:\n%s", i, w.story(workspace))
		}
	}
}

func TestStateRounds(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		setup  setup
		rounds int
	}{
		"versitygw": {setup{objects: versitygw, file: true}, 400},
		"minio":     {setup{objects: minio, file: true}, 400},
	} {
		t.Run(name, func(t *testing.T) {
			test.setup.play(t, test.rounds, func(s *shard, seed uint64, rounds int) {
				backendtest.Rounds(t, seed, rounds, func(round int) (string, []backend.Backend) {
					var backends []backend.Backend
					for i, c := range s.clients {
						s.wires[i].idle()
						backends = append(backends, c)
					}
					return lock.NewID(), backends
				})
			})
		})
	}
}
