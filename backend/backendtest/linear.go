package backendtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/clause"
)

var linear = table{
	{
		Name:     "linearizable",
		Sentence: "Every call of Read, Stat, Write and Delete takes effect at one moment between its start and its return.",
		Check:    func(e *env) { e.rounds(30, 0) },
	},
}

// Seed returns the seed of what is random in a test: the value of the environment
// variable STATELATCH_SEED, or a new one. It is printed if the test fails.
func Seed(t testing.TB) uint64 { return clause.Seed(t) }

// Rounds plays n rounds of random calls, and fails the test at the first whose
// history is not linearizable. In each, the backends that open returns are clients
// of one workspace, at work at once; they read, and write and delete what they
// read last; one call in eight is cut short. seed makes their choices.
//
// A creation may take effect twice, if another client deletes what it has made while
// its reply is lost: nothing tells that from one that was not applied.
//
// There may be a state at the start of a round, but no call of an earlier round may
// still be under way at the service: let open return another workspace each time,
// or a fresh namespace.
func Rounds(t testing.TB, seed uint64, n int, open func(round int) (workspace string, backends []backend.Backend)) {
	t.Helper()
	play(t, seed, n, 1.0/8, true, open)
}

func play(t testing.TB, seed uint64, n int, cancelled float64, remakes bool, open func(int) (string, []backend.Backend)) {
	t.Helper()
	for round := 0; round < n && !t.Failed(); round++ {
		h := History{remakes: remakes}
		var players []clause.Player
		workspace, backends := open(round)
		for i, b := range backends {
			players = append(players, player(h.Client(b, i), workspace))
		}
		clause.Play(t.Context(), seed, round, cancelled, players)
		if h.Check(t); t.Failed() {
			t.Logf("that was round %d of seed %d", round, seed)
		}
	}
}

// player plays a client that mostly does what it may: it writes what no other
// does, under the revision that it saw last.
func player(b backend.Backend, workspace string) clause.Player {
	var seen backend.Revision
	see := func(rev backend.Revision, err error) {
		if err == nil {
			seen = rev
		} else if errors.Is(err, backend.ErrNotExist) {
			seen = ""
		}
	}
	return func(ctx context.Context, random *rand.Rand) {
		cond := backend.Condition{Revision: seen}
		if random.IntN(8) == 0 {
			cond.Revision = backend.AnyRevision
		}
		switch random.IntN(10) {
		case 0, 1:
			st, err := b.Read(ctx, workspace)
			see(st.Revision, err)
		case 2:
			see(backend.Stat(ctx, b, workspace))
		case 3, 4:
			err := b.Delete(ctx, workspace, cond)
			see("", err)
		default:
			see(b.Write(ctx, workspace, fmt.Append(nil, "state ", random.Uint64()), cond))
		}
	}
}

// rounds plays in fresh namespaces: four clients each.
func (e *env) rounds(n int, cancelled float64) {
	e.Helper()
	play(e.TB, clause.Seed(e.TB), n, cancelled, false, func(int) (string, []backend.Backend) {
		ns := e.target.New(e.TB)
		backends := make([]backend.Backend, 4)
		for i := range backends {
			backends[i] = e.open(ns.Open)
		}
		return e.ws, backends
	})
}
