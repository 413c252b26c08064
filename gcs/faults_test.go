package gcs_test

import (
	"context"
	"errors"
	"net/http"
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

// What a server, or what is before it, answers when it is in trouble.
var (
	failing  = faultproxy.Reply{Status: 500, Body: `{"error":{"code":500,"message":"Internal Error"}}`}
	busy     = faultproxy.Reply{Status: 503, Body: "Service Unavailable"}
	throttle = faultproxy.Reply{Status: 429, Body: `{"error":{"code":429,"message":"The object exceeded the rate limit for object mutation operations."}}`}
)

// chances make about every fifth request fail.
var chances = []faultproxy.Chance{
	{P: .04, Fault: faultproxy.CutAfter()},
	{P: .03, Fault: faultproxy.CutBefore()},
	{P: .03, Fault: faultproxy.AnswerAfter(failing)},
	{P: .02, Fault: faultproxy.Answer(failing)},
	{P: .02, Fault: faultproxy.Answer(busy)},
	{P: .02, Fault: faultproxy.Answer(throttle)},
	{P: .02, Fault: faultproxy.Truncate(5)},
	{P: .02, Fault: faultproxy.Delay(5 * time.Millisecond)},
	{P: .01, Fault: faultproxy.DelayReply(5 * time.Millisecond)},
}

// twice has uploads delivered twice as well. Only a lock can stand that among others
// at work: a state that is found replaced tells nobody by which delivery.
var twice = append(slices.Clone(chances),
	faultproxy.Chance{P: .02, Fault: faultproxy.Duplicate(1)}, faultproxy.Chance{P: .02, Fault: faultproxy.Duplicate(2)})

// wild makes requests through p fail, as the seed has it: uploads with the chances
// given, others with the usual ones.
func wild(p *faultproxy.Proxy, seed uint64, uploads []faultproxy.Chance) {
	stores := faultproxy.Method("POST")
	p.Add(faultproxy.Rule{Match: stores, Times: faultproxy.Always, Fault: faultproxy.Chaos(seed, uploads...)})
	p.Add(faultproxy.Rule{Match: faultproxy.Not(stores), Times: faultproxy.Always, Fault: faultproxy.Chaos(seed+1, chances...)})
}

const (
	shards  = 16 // rounds are played side by side: they mostly wait
	clients = 3
)

// A shard plays some of the rounds, with clients behind wild proxies of their own.
type shard struct {
	clients []*client
	direct  *client
}

func (n *namespace) shard(t testing.TB, seed uint64, uploads []faultproxy.Chance) *shard {
	s := &shard{direct: n.client(t, nil)}
	for i := range clients {
		c := n.client(t, nil)
		wild(c.proxy, seed+uint64(i)*2, uploads)
		s.clients = append(s.clients, c)
	}
	return s
}

// idle waits until no request of an earlier round is on its way any longer.
func (s *shard) idle() {
	for _, c := range s.clients {
		<-c.proxy.Idle()
	}
}

// faults returns how many requests met one.
func (s *shard) faults() (n int) {
	for _, c := range s.clients {
		for _, q := range c.proxy.Requests() {
			if q.Fault != "" {
				n++
			}
		}
	}
	return n
}

// play plays rounds in shards, and says how many faults there were.
func play(t *testing.T, rounds int, uploads []faultproxy.Chance, play func(s *shard, seed uint64, rounds int)) {
	t.Parallel()
	n, seed := fakegcs.open(t), locktest.Seed(t)
	var all []*shard
	for i := range shards {
		all = append(all, n.shard(t, seed+uint64(i)<<32, uploads))
	}
	var group sync.WaitGroup
	for i, s := range all {
		group.Go(func() { play(s, seed+uint64(i)<<32, rounds/shards) })
	}
	group.Wait()
	faults := 0
	for _, s := range all {
		faults += s.faults()
	}
	t.Logf("%d rounds of seed %d, %d requests met a fault", rounds, seed, faults)
}

// TestLockRounds: no two holders, and no lock that nobody knows of.
func TestLockRounds(t *testing.T) {
	play(t, 1040, twice, func(s *shard, seed uint64, rounds int) {
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

// TestStateRounds: no update lost, and none refused that was made.
func TestStateRounds(t *testing.T) {
	play(t, 1040, chances, func(s *shard, seed uint64, rounds int) {
		backendtest.Rounds(t, seed, rounds, func(int) (string, []backend.Backend) {
			s.idle()
			var creating sync.RWMutex
			var backends []backend.Backend
			for _, c := range s.clients {
				backends = append(backends, &careful{c, &creating})
			}
			return lock.NewID(), backends
		})
	})
}

// careful is a Backend that deletes no state while one is being created. Whoever
// creates one, loses the reply, and finds none because it was deleted, creates it
// again: one call does it twice, which no order of calls explains.
type careful struct {
	*client
	creating *sync.RWMutex
}

func (b *careful) Write(ctx context.Context, workspace string, data []byte, cond backend.Condition) (backend.Revision, error) {
	if cond.Revision == "" {
		b.creating.RLock()
		defer b.creating.RUnlock()
	}
	return b.client.Write(ctx, workspace, data, cond)
}

func (b *careful) Delete(ctx context.Context, workspace string, cond backend.Condition) error {
	if !b.creating.TryLock() {
		return errors.ErrUnsupported // which is not recorded
	}
	defer b.creating.Unlock()
	return b.client.Delete(ctx, workspace, cond)
}

// ids are the lock IDs that the callers of a round were given.
type ids struct {
	workspace string
	mu        sync.Mutex
	given     []string
}

// check fails the test if a lock was left of which no caller was told.
func (g *ids) check(t testing.TB, s *shard) {
	t.Helper()
	s.idle()
	if g == nil {
		return
	}
	holder, err := s.direct.Holder(context.Background(), g.workspace)
	switch {
	case errors.Is(err, lock.ErrNotHeld):
	case err != nil:
		t.Errorf("Holder after the round: %v", err)
	case !slices.Contains(g.given, holder.ID) && !slices.Contains(g.given, holder.Ref):
		t.Errorf("lock %s of %s was left, and no caller was given an ID of it", holder.ID, holder.Ref)
	}
}

// giving is a Locker that notes which IDs it gives.
//
// It breaks no lock before the one who takes it was told that he has it. Who then
// finds no lock, because its reply was lost and its lock broken, takes it again: a
// second time by one call, which is no harm and no order of calls explains.
type giving struct {
	*client
	ids *ids
}

func (l *giving) Unlock(ctx context.Context, workspace, id string) error {
	l.ids.mu.Lock()
	given := slices.Contains(l.ids.given, id)
	l.ids.mu.Unlock()
	if !given {
		return errors.ErrUnsupported // which is not recorded
	}
	return l.client.Unlock(ctx, workspace, id)
}

func (l *giving) Lock(ctx context.Context, workspace string, info lock.Info) (lock.Info, error) {
	stored, err := l.client.Lock(ctx, workspace, info)
	var unknown *lock.UnknownError
	l.ids.mu.Lock()
	defer l.ids.mu.Unlock()
	if errors.As(err, &unknown) {
		l.ids.given = append(l.ids.given, unknown.ID)
	} else if err == nil {
		l.ids.given = append(l.ids.given, stored.ID)
	}
	return stored, err
}

// changes that every client makes, one for each request that changes something.
var changing = []struct {
	name   string
	method string
	change func(ctx context.Context, b *client, rev backend.Revision) error
	// done reports whether the change is to be seen.
	done func(t *testing.T, b *client) bool
}{
	{"create", http.MethodPost, func(ctx context.Context, b *client, _ backend.Revision) error {
		_, err := b.Write(ctx, "new", []byte("new"), backend.Condition{})
		return err
	}, func(t *testing.T, b *client) bool { return stored(t, b, "new") == "new" }},
	{"replace", http.MethodPost, func(ctx context.Context, b *client, rev backend.Revision) error {
		_, err := b.Write(ctx, "old", []byte("new"), backend.Condition{Revision: rev})
		return err
	}, func(t *testing.T, b *client) bool { return stored(t, b, "old") == "new" }},
	{"overwrite", http.MethodPost, func(ctx context.Context, b *client, _ backend.Revision) error {
		_, err := b.Write(ctx, "old", []byte("new"), backend.Condition{Revision: backend.AnyRevision})
		return err
	}, func(t *testing.T, b *client) bool { return stored(t, b, "old") == "new" }},
	{"delete", http.MethodDelete, func(ctx context.Context, b *client, rev backend.Revision) error {
		return b.Delete(ctx, "old", backend.Condition{Revision: rev})
	}, func(t *testing.T, b *client) bool { return stored(t, b, "old") == "" }},
	{"lock", http.MethodPost, func(ctx context.Context, b *client, _ backend.Revision) error {
		_, err := b.Lock(ctx, "new", lock.NewInfo("test"))
		return err
	}, func(t *testing.T, b *client) bool { return held(t, b, "new") }},
	{"unlock", http.MethodDelete, func(ctx context.Context, b *client, _ backend.Revision) error {
		holder, err := b.Holder(ctx, "old")
		if err != nil {
			return err
		}
		return b.Unlock(ctx, "old", holder.ID)
	}, func(t *testing.T, b *client) bool { return !held(t, b, "old") }},
}

func stored(t *testing.T, b *client, workspace string) string {
	t.Helper()
	st, err := b.Read(context.Background(), workspace)
	if err != nil && !errors.Is(err, backend.ErrNotExist) {
		t.Error(err)
	}
	return string(st.Data)
}

func held(t *testing.T, b *client, workspace string) bool {
	t.Helper()
	_, err := b.Holder(context.Background(), workspace)
	if err != nil && !errors.Is(err, lock.ErrNotHeld) {
		t.Error(err)
	}
	return err == nil
}

// TestOneRequestFails has the one request that makes a change fail in each way.
func TestOneRequestFails(t *testing.T) {
	t.Parallel()
	ways := []struct {
		name  string
		fault faultproxy.Fault
		// lost: a deletion that is done cannot be told from another's.
		lost bool
	}{
		{"its reply lost", faultproxy.CutAfter(), true},
		{"its reply lost, by a reset", faultproxy.CutAfter().Reset(), true},
		{"its reply 500, though done", faultproxy.AnswerAfter(failing), true},
		{"never arriving", faultproxy.CutBefore(), false},
		{"refused by the network", faultproxy.Refuse(), false},
		{"its reply 500", faultproxy.Answer(failing), false},
		{"its reply 503", faultproxy.Answer(busy), false},
		{"its reply 429", faultproxy.Answer(throttle), false},
		{"its reply 429 with a Retry-After", faultproxy.Answer(faultproxy.Throttled(1)), false},
		{"delivered twice, the first reply lost", faultproxy.Duplicate(2), true},
	}
	for _, c := range changing {
		for _, way := range ways {
			t.Run(c.name+", "+way.name, func(t *testing.T) {
				t.Parallel()
				n := fakegcs.open(t)
				direct, b := n.client(t, nil), n.client(t, nil)
				defer direct.Close()
				defer b.Close()
				rev := n.prepare(t, direct)
				fault := b.proxy.Add(faultproxy.Rule{Match: faultproxy.Method(c.method), Fault: way.fault})
				err := c.change(t.Context(), b, rev)
				switch {
				case fault.Applied() != 1:
					t.Error("the fault was not met")
				case c.name == "overwrite" && errors.Is(err, backend.ErrUnknown) && !way.lost: // is not repeated
				case c.method == http.MethodDelete && way.lost && way.name[0] == 'd': // the second finds nothing
				case c.method == http.MethodDelete && way.lost && !errors.Is(err, backend.ErrUnknown):
					t.Errorf("a deletion whose reply is lost: %v", err)
				case c.method == http.MethodDelete && way.lost:
				case err != nil:
					t.Error(err)
				}
				if err == nil != c.done(t, direct) && !way.lost {
					t.Errorf("%v, and done is %t", err, c.done(t, direct))
				}
			})
		}
	}
}

// prepare leaves a state and a lock in workspace "old".
func (n *namespace) prepare(t *testing.T, b *client) backend.Revision {
	t.Helper()
	rev, err := b.Write(t.Context(), "old", []byte("old"), backend.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Lock(t.Context(), "old", lock.NewInfo("test")); err != nil {
		t.Fatal(err)
	}
	return rev
}
