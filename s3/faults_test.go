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

	"github.com/statelatch/statelatch/internal/clause"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/trial"
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

func (w wire) requests() []faultproxy.Request { return trial.Client{Proxies: w.proxies()}.Requests() }

// story tells what a client sent to a workspace, and what became of it.
func story(c trial.Client, workspace string) string {
	var b strings.Builder
	for _, q := range c.Requests() {
		if strings.Contains(q.Path+string(q.Body), workspace) {
			fmt.Fprintf(&b, "%s %s%s: sent %d, server %d, client %d, fault %q %s\n", q.Start.Format("05.000"), q.Operation(), q.Header.Values("If-Match"), q.Sent, q.Server, q.Status, q.Fault, q.Err)
		}
	}
	return b.String()
}

// rounds are those of clients whose requests fail, each over a wire of its own.
func (s setup) rounds(t *testing.T, count int) trial.Rounds {
	n := s.open(t)
	return trial.Rounds{Count: count, Shards: 16, Open: func() (lock.Locker, func(uint64) trial.Client) {
		return n.client(t, wire{}), func(seed uint64) trial.Client {
			w := n.wire(t, faultproxy.WithBodies())
			c := n.client(t, w)
			if n.unknown || !n.objects.conforming { // what is not known yet is found out in peace
				if _, err := c.Probe(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			w.wild(seed)
			return trial.Client{Backend: c, Proxies: w.proxies()}
		}
	}}
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
			t.Parallel()
			test.setup.rounds(t, test.rounds).Play(t, func(s *trial.Shard, seed uint64, rounds int) {
				for round := 0; round < rounds && !t.Failed(); round++ {
					test.setup.lockRound(t, s, seed, round)
				}
			})
		})
	}
}

// lockRound has each client lock, look and unlock at once with the others. None
// breaks another's lock: if the replies to two who release one lock are lost, nothing
// tells which of them did it.
func (s setup) lockRound(t *testing.T, shard *trial.Shard, seed uint64, round int) {
	var history locktest.History
	var given sync.Map
	var inside atomic.Int32
	both := s.file && s.table != nil // not taken at one moment, so a Holder may see a half
	workspace := lock.NewID()
	clause.Race(len(shard.Clients), func(i int) (none struct{}) {
		random := rand.New(rand.NewPCG(seed, uint64(round)<<8|uint64(i)))
		var l lock.Locker = shard.Clients[i]
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
	shard.Idle()
	holder, err := shard.Direct.Holder(context.Background(), workspace)
	_, ok := given.Load(holder.ID)
	if err == nil && !ok {
		t.Errorf("lock %s was left, and no caller was given that ID", holder.ID)
	} else if err != nil && !errors.Is(err, lock.ErrNotHeld) {
		t.Errorf("Holder after the round: %v", err)
	}
	before := t.Failed()
	if history.Check(t); t.Failed() && !before || err == nil && !ok {
		t.Logf("that was round %d of seed %d", round, seed)
		for i, c := range shard.Clients {
			t.Logf("client %d:\n%s", i, story(c, workspace))
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
			t.Parallel()
			test.setup.rounds(t, test.rounds).States(t)
		})
	}
}
