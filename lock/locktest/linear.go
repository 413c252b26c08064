package locktest

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/statelatch/statelatch/internal/clause"
	"github.com/statelatch/statelatch/lock"
)

var linear = table{
	{
		Name:     "linearizable",
		Sentence: "Every call of Lock, Unlock and Holder takes effect at one moment between its start and its return.",
		Check:    func(e *env) { e.rounds(30, 0) },
	},
}

// Seed returns the seed of what is random in a test: the value of the environment
// variable STATELATCH_SEED, or a new one. It is printed if the test fails.
func Seed(t testing.TB) uint64 { return clause.Seed(t) }

// Rounds plays n rounds of random calls, and fails the test at the first whose
// history is not linearizable. In each, the lockers that open returns are clients
// of one workspace, at work at once; they lock, unlock, break each other's locks
// and look; one call in eight is cut short. seed makes their choices.
//
// Locks may be held at the start of a round, but no call of an earlier round may
// still be under way at the service: let open return another workspace each time,
// or a fresh namespace.
func Rounds(t testing.TB, seed uint64, n int, open func(round int) (workspace string, lockers []lock.Locker)) {
	t.Helper()
	play(t, seed, n, 1.0/8, open)
}

func play(t testing.TB, seed uint64, n int, cancelled float64, open func(int) (string, []lock.Locker)) {
	t.Helper()
	for round := 0; round < n && !t.Failed(); round++ {
		var h History
		var players []clause.Player
		workspace, lockers := open(round)
		for i, l := range lockers {
			players = append(players, player(h.Client(l, i), workspace))
		}
		clause.Play(t.Context(), seed, round, cancelled, players)
		if h.Check(t); t.Failed() {
			t.Logf("that was round %d of seed %d", round, seed)
		}
	}
}

// player plays a client that locks often, and now and then breaks a lock.
func player(l lock.Locker, workspace string) clause.Player {
	mine, seen := lock.NewID(), lock.NewID()
	return func(ctx context.Context, random *rand.Rand) {
		switch random.IntN(10) {
		case 0, 1, 2, 3:
			stored, err := l.Lock(ctx, workspace, lock.NewInfo("play"))
			var unknown *lock.UnknownError
			if err == nil {
				mine = stored.ID
			} else if errors.As(err, &unknown) {
				mine = unknown.ID
			}
		case 4, 5, 6:
			l.Unlock(ctx, workspace, mine)
		case 7:
			l.Unlock(ctx, workspace, seen)
		default:
			if holder, err := l.Holder(ctx, workspace); err == nil {
				seen = holder.ID
			}
		}
	}
}

// rounds plays in fresh namespaces: four clients each.
func (e *env) rounds(n int, cancelled float64) {
	e.Helper()
	play(e.TB, clause.Seed(e.TB), n, cancelled, func(int) (string, []lock.Locker) {
		ns := e.target.New(e.TB)
		lockers := make([]lock.Locker, 4)
		for i := range lockers {
			lockers[i] = e.open(ns.Open)
		}
		return e.ws, lockers
	})
}
