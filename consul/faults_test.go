package consul_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
	"github.com/statelatch/statelatch/consul"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/lock/locktest"
)

// What a server answers when it is in trouble.
var (
	failing  = faultproxy.Reply{Status: 500, Body: "rpc error making call: EOF"}
	throttle = faultproxy.Reply{Status: 429, Body: "rate limit exceeded, try again later or against a different server"}
	headless = faultproxy.Reply{Status: 500, Body: "No cluster leader"}
)

// wild makes about every fifth request fail, as the seed has it.
func wild(p *faultproxy.Proxy, seed uint64) {
	chances := []faultproxy.Chance{
		{P: .04, Fault: faultproxy.CutAfter()},
		{P: .03, Fault: faultproxy.CutBefore()},
		{P: .02, Fault: faultproxy.AnswerAfter(failing)},
		{P: .02, Fault: faultproxy.Answer(failing)},
		{P: .02, Fault: faultproxy.Answer(throttle)},
		{P: .02, Fault: faultproxy.Answer(headless)},
		{P: .02, Fault: faultproxy.Delay(5 * time.Millisecond)},
		{P: .02, Fault: faultproxy.DelayReply(5 * time.Millisecond)},
	}
	p.Add(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Chaos(seed, chances...)})
}

const (
	shards  = 8 // rounds are played side by side: they mostly wait
	clients = 3
)

// A shard plays some of the rounds: clients behind proxies of their own.
type shard struct {
	*namespace
	proxies []*faultproxy.Proxy
	clients []*consul.Backend
}

// idle waits until no request of an earlier round is on its way any longer.
func (s *shard) idle() {
	for _, p := range s.proxies {
		<-p.Idle()
	}
}

// play plays rounds in shards, and says how many faults there were.
func play(t *testing.T, rounds int, play func(s *shard, seed uint64, rounds int)) {
	seed := locktest.Seed(t)
	var all []*shard
	for i := range shards {
		s := &shard{namespace: open(t)}
		for j := range clients {
			b, p := s.proxied(t)
			wild(p, seed+uint64(i*clients+j))
			s.proxies, s.clients = append(s.proxies, p), append(s.clients, b)
		}
		all = append(all, s)
	}
	var group sync.WaitGroup
	for i, s := range all {
		group.Go(func() { play(s, seed+uint64(i)<<32, rounds/shards) })
	}
	group.Wait()
	faults, sessions := 0, 0
	for _, s := range all {
		s.idle()
		sessions += s.sessions(t)
		for _, p := range s.proxies {
			for _, q := range p.Requests() {
				if q.Fault != "" {
					faults++
				}
			}
		}
	}
	t.Logf("%d rounds, %d requests met a fault", rounds, faults)
	// Whoever tidies up gives up a second after its context has ended. What it leaves
	// then holds nothing; where requests do not fail, other tests see that none is left.
	if sessions > rounds/100 {
		t.Errorf("%d sessions were left", sessions)
	}
}

func TestLockRounds(t *testing.T) {
	play(t, 800, func(s *shard, seed uint64, rounds int) {
		given := &ids{}
		locktest.Rounds(t, seed, rounds, func(round int) (string, []lock.Locker) {
			s.idle()
			given.check(t, s)
			given.workspace, given.ids = fmt.Sprint("round-", round), nil
			var lockers []lock.Locker
			for _, b := range s.clients {
				lockers = append(lockers, &giving{b, given})
			}
			return given.workspace, lockers
		})
		s.idle()
		given.check(t, s)
	})
}

func TestStateRounds(t *testing.T) {
	play(t, 1200, func(s *shard, seed uint64, rounds int) {
		backendtest.Rounds(t, seed, rounds, func(round int) (string, []backend.Backend) {
			s.idle()
			var backends []backend.Backend
			for _, b := range s.clients {
				backends = append(backends, b)
			}
			return fmt.Sprint("round-", round), backends
		})
	})
}

// ids are the lock IDs that callers were given in one round.
type ids struct {
	workspace string
	mu        sync.Mutex
	ids       []string
}

// check fails the test if the lock is left to a session whose ID no caller was
// given, and then clears it and every session that is still there.
func (g *ids) check(t testing.TB, s *shard) {
	t.Helper()
	direct := s.client(t)
	defer direct.Close()
	for _, id := range g.ids { // also those of which nobody knows whether they hold it
		direct.Unlock(context.Background(), g.workspace, id)
	}
	if g.workspace == "" {
		return
	}
	if holder, err := direct.Holder(context.Background(), g.workspace); !errors.Is(err, lock.ErrNotHeld) {
		t.Errorf("the lock was left to %s, %v: no caller was given that ID", holder.ID, err)
	}
}

// giving is a Locker that notes which IDs it gives.
type giving struct {
	*consul.Backend
	given *ids
}

func (l *giving) Lock(ctx context.Context, workspace string, info lock.Info) (lock.Info, error) {
	stored, err := l.Backend.Lock(ctx, workspace, info)
	var unknown *lock.UnknownError
	id := stored.ID
	if errors.As(err, &unknown) {
		id = unknown.ID
	}
	l.given.mu.Lock()
	defer l.given.mu.Unlock()
	l.given.ids = append(l.given.ids, id)
	return stored, err
}

// A deed is one call of a method that changes something, on a namespace that
// before has made ready.
type deed struct {
	name   string
	before func(t *testing.T, b *consul.Backend) (rev backend.Revision, id string)
	do     func(ctx context.Context, b *consul.Backend, rev backend.Revision, id string) error
	done   func(t *testing.T, b *consul.Backend) bool // whether it has taken effect
}

var threeChunks = slices.Concat([]byte(`{"serial": 1}`), []byte(strings.Repeat("big ", 300<<10)))

var deeds = []deed{
	{
		"lock",
		func(*testing.T, *consul.Backend) (backend.Revision, string) { return "", "" },
		func(ctx context.Context, b *consul.Backend, _ backend.Revision, _ string) error {
			_, err := b.Lock(ctx, ws, lock.NewInfo("test"))
			return err
		},
		isHeld,
	}, {
		"unlock",
		func(t *testing.T, b *consul.Backend) (backend.Revision, string) { return "", mustLock(t, b).ID },
		func(ctx context.Context, b *consul.Backend, _ backend.Revision, id string) error {
			return b.Unlock(ctx, ws, id)
		},
		func(t *testing.T, b *consul.Backend) bool { return !isHeld(t, b) },
	}, {
		"create",
		func(t *testing.T, b *consul.Backend) (backend.Revision, string) { return "", "" },
		writes("two"),
		holds("two"),
	}, {
		"create under the lock",
		func(t *testing.T, b *consul.Backend) (backend.Revision, string) { return "", mustLock(t, b).ID },
		writes("two"),
		holds("two"),
	}, {
		"write under the lock",
		func(t *testing.T, b *consul.Backend) (backend.Revision, string) {
			return mustWrite(t, b, []byte("one"), backend.Condition{}), mustLock(t, b).ID
		},
		writes("two"),
		holds("two"),
	}, {
		"write chunks in place of chunks",
		func(t *testing.T, b *consul.Backend) (backend.Revision, string) {
			return mustWrite(t, b, threeChunks, backend.Condition{}), ""
		},
		writes(string(threeChunks) + "2"),
		holds(string(threeChunks) + "2"),
	}, {
		"delete",
		func(t *testing.T, b *consul.Backend) (backend.Revision, string) {
			return mustWrite(t, b, []byte("one"), backend.Condition{}), ""
		},
		func(ctx context.Context, b *consul.Backend, rev backend.Revision, _ string) error {
			return b.Delete(ctx, ws, condition(rev))
		},
		func(t *testing.T, b *consul.Backend) bool {
			_, err := b.Read(t.Context(), ws)
			return errors.Is(err, backend.ErrNotExist)
		},
	},
}

func isHeld(t *testing.T, b *consul.Backend) bool {
	_, err := b.Holder(t.Context(), ws)
	return err == nil
}

func writes(data string) func(context.Context, *consul.Backend, backend.Revision, string) error {
	return func(ctx context.Context, b *consul.Backend, rev backend.Revision, id string) error {
		_, err := b.Write(ctx, ws, []byte(data), backend.Condition{Revision: rev, LockID: id})
		return err
	}
}

func holds(data string) func(*testing.T, *consul.Backend) bool {
	return func(t *testing.T, b *consul.Backend) bool {
		st, err := b.Read(t.Context(), ws)
		return err == nil && string(st.Data) == data
	}
}

// run does the deed with a fault for the nth request, and reports whether there was
// one.
func (d deed) run(t *testing.T, nth int, fault faultproxy.Fault, check func(n *namespace, err error, done bool)) bool {
	n := open(t)
	direct := n.client(t)
	rev, id := d.before(t, direct)
	b, p := n.proxied(t)
	h := p.Add(faultproxy.Rule{Nth: nth, Fault: fault})
	err := d.do(t.Context(), b, rev, id)
	check(n, err, d.done(t, direct))
	return h.Applied() > 0
}

// Each request of each method in turn is lost on its way there, or its reply on the
// way back: in the end it is done, and what was in the way is gone.
func TestEachRequestLost(t *testing.T) {
	for name, fault := range map[string]faultproxy.Fault{
		"request":          faultproxy.CutBefore(),
		"reply":            faultproxy.CutAfter(),
		"reply, reset":     faultproxy.CutAfter().Reset(),
		"reply, cut short": faultproxy.Truncate(1),
		"reply, 500":       faultproxy.AnswerAfter(failing),
		"request, 429":     faultproxy.Answer(throttle),
		"request, 500":     faultproxy.Answer(headless),
	} {
		for _, d := range deeds {
			t.Run(d.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				for nth := 1; ; nth++ {
					again := d.run(t, nth, fault, func(n *namespace, err error, done bool) {
						// Nothing tells whose a deletion was; nor, without a lock, whether what
						// was created has been deleted meanwhile.
						if errors.Is(err, backend.ErrUnknown) && (d.name == "delete" && done || d.name == "create" && !done) {
							return
						}
						if err != nil || !done {
							t.Errorf("request %d: %v, done: %v", nth, err, done)
						}
						if left := n.sessions(t); d.name == "unlock" && left > 0 {
							t.Errorf("request %d: %d sessions are left", nth, left)
						}
						if chunks := n.chunks(t); strings.Contains(d.name, "chunks") && len(chunks) != 3 {
							t.Errorf("request %d: the chunks are %q", nth, chunks)
						}
					})
					if !again {
						return
					}
				}
			})
		}
	}
}

// txns matches transactions.
func txns(r *http.Request) bool { return r.URL.Path == "/v1/txn" }
