package httpbackend_test

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
	"github.com/statelatch/statelatch/memory"
)

// What a server, or what is before it, answers when it is in trouble.
var (
	failing  = faultproxy.Reply{Status: 500, Body: "Internal Server Error"}
	gateway  = faultproxy.Reply{Status: 502, Body: "Bad Gateway"}
	busy     = faultproxy.Reply{Status: 503, Body: "Service Unavailable"}
	throttle = faultproxy.Reply{Status: 429}
)

// chances make about every fourth request fail.
var chances = []faultproxy.Chance{
	{P: .04, Fault: faultproxy.CutAfter()},
	{P: .03, Fault: faultproxy.CutBefore()},
	{P: .03, Fault: faultproxy.AnswerAfter(gateway)},
	{P: .02, Fault: faultproxy.Answer(failing)},
	{P: .02, Fault: faultproxy.Answer(busy)},
	{P: .02, Fault: faultproxy.Answer(throttle)},
	{P: .02, Fault: faultproxy.Truncate(5)},
	{P: .02, Fault: faultproxy.Duplicate(1)},
	{P: .02, Fault: faultproxy.Duplicate(2)},
	{P: .02, Fault: faultproxy.Delay(5 * time.Millisecond)},
	{P: .01, Fault: faultproxy.DelayReply(5 * time.Millisecond)},
}

const (
	shards  = 8 // rounds are played side by side: they mostly wait
	clients = 3
)

// A shard plays some of the rounds, with clients behind wild proxies of their own.
type shard struct {
	clients []*client
	store   *memory.Backend
}

func newShard(t testing.TB, seed uint64) *shard {
	store, p := overMemory(t)
	s := &shard{store: store}
	for i := range clients {
		c := p.client(t)
		c.proxy.Add(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Chaos(seed+uint64(i), chances...)})
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
func play(t *testing.T, rounds int, play func(s *shard, seed uint64, rounds int)) {
	t.Parallel()
	seed := locktest.Seed(t)
	var all []*shard
	var group sync.WaitGroup
	for i := range shards {
		seed := seed + uint64(i)<<32
		s := newShard(t, seed)
		all = append(all, s)
		group.Go(func() { play(s, seed, rounds/shards) })
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
	play(t, 1040, func(s *shard, seed uint64, rounds int) {
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
	play(t, 1040, func(s *shard, seed uint64, rounds int) {
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
	holder, err := s.store.Holder(context.Background(), g.workspace)
	switch {
	case errors.Is(err, lock.ErrNotHeld):
	case err != nil:
		t.Errorf("Holder after the round: %v", err)
	case !slices.Contains(g.given, holder.ID):
		t.Errorf("lock %s was left, and no caller was given its ID", holder.ID)
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

// changing are the changes that every client makes, with whether they are done.
var changing = []struct {
	name   string
	method string
	change func(ctx context.Context, b *client, rev backend.Revision, id string) error
	done   func(t *testing.T, b *memory.Backend) bool
}{
	{"create", http.MethodPost, func(ctx context.Context, b *client, _ backend.Revision, _ string) error {
		_, err := b.Write(ctx, "new", []byte("new"), backend.Condition{})
		return err
	}, func(t *testing.T, b *memory.Backend) bool { return stored(t, b, "new") == "new" }},
	{"replace", http.MethodPost, func(ctx context.Context, b *client, rev backend.Revision, id string) error {
		_, err := b.Write(ctx, "old", []byte("new"), backend.Condition{Revision: rev, LockID: id})
		return err
	}, func(t *testing.T, b *memory.Backend) bool { return stored(t, b, "old") == "new" }},
	{"overwrite", http.MethodPost, func(ctx context.Context, b *client, _ backend.Revision, id string) error {
		_, err := b.Write(ctx, "old", []byte("new"), backend.Condition{Revision: backend.AnyRevision, LockID: id})
		return err
	}, func(t *testing.T, b *memory.Backend) bool { return stored(t, b, "old") == "new" }},
	{"delete", http.MethodDelete, func(ctx context.Context, b *client, rev backend.Revision, id string) error {
		return b.Delete(ctx, "old", backend.Condition{Revision: rev, LockID: id})
	}, func(t *testing.T, b *memory.Backend) bool { return stored(t, b, "old") == "" }},
	{"lock", "LOCK", func(ctx context.Context, b *client, _ backend.Revision, _ string) error {
		_, err := b.Lock(ctx, "new", lock.NewInfo("test"))
		return err
	}, func(t *testing.T, b *memory.Backend) bool { return held(t, b, "new") }},
	{"unlock", "UNLOCK", func(ctx context.Context, b *client, _ backend.Revision, id string) error {
		return b.Unlock(ctx, "old", id)
	}, func(t *testing.T, b *memory.Backend) bool { return !held(t, b, "old") }},
}

func stored(t *testing.T, b *memory.Backend, workspace string) string {
	t.Helper()
	st, err := b.Read(context.Background(), workspace)
	if err != nil && !errors.Is(err, backend.ErrNotExist) {
		t.Error(err)
	}
	return string(st.Data)
}

func held(t *testing.T, b *memory.Backend, workspace string) bool {
	t.Helper()
	_, err := b.Holder(context.Background(), workspace)
	if err != nil && !errors.Is(err, lock.ErrNotHeld) {
		t.Error(err)
	}
	return err == nil
}

// TestOneRequestFails has the one request that makes a change fail in each way: with
// our server, it is made again and known again, and nothing stays in doubt.
func TestOneRequestFails(t *testing.T) {
	ways := []struct {
		name  string
		fault faultproxy.Fault
	}{
		{"its reply lost", faultproxy.CutAfter()},
		{"its reply lost, by a reset", faultproxy.CutAfter().Reset()},
		{"its reply 502, though done", faultproxy.AnswerAfter(gateway)},
		{"never arriving", faultproxy.CutBefore()},
		{"refused by the network", faultproxy.Refuse()},
		{"its reply 500", faultproxy.Answer(failing)},
		{"its reply 503", faultproxy.Answer(busy)},
		{"its reply 429 with a Retry-After", faultproxy.Answer(faultproxy.Throttled(1))},
		{"delivered twice, the first reply lost", faultproxy.Duplicate(2)},
		{"delivered twice", faultproxy.Duplicate(1)},
	}
	for _, c := range changing {
		for _, way := range ways {
			t.Run(c.name+", "+way.name, func(t *testing.T) {
				t.Parallel()
				store, p := overMemory(t)
				rev, err := store.Write(t.Context(), "old", []byte("old"), backend.Condition{})
				if err != nil {
					t.Fatal(err)
				}
				lockInfo, err := store.Lock(t.Context(), "old", lock.NewInfo("test"))
				if err != nil {
					t.Fatal(err)
				}
				b := p.client(t)
				defer b.Close()
				if _, err := b.Holder(t.Context(), "old"); err != nil { // which shows whose server it is
					t.Fatal(err)
				}
				fault := b.proxy.Add(faultproxy.Rule{Match: faultproxy.Method(c.method), Fault: way.fault})
				err = c.change(t.Context(), b, rev, lockInfo.ID)
				blind := c.name == "overwrite" && errors.Is(err, backend.ErrUnknown) // is not repeated
				if fault.Applied() != 1 {
					t.Error("the fault was not met")
				}
				if err != nil && !blind {
					t.Error(err)
				}
				if done := c.done(t, store); !done && !blind {
					t.Errorf("%v, and it is not done", err)
				}
			})
		}
	}
}
