package clause

import (
	"context"
	"math/rand/v2"
	"time"
)

// A Player makes one call of its choice.
type Player func(ctx context.Context, random *rand.Rand)

const turns = 6 // of each player in a round

// Play lets all players play at once, in turns that seed and round determine. A
// share of their contexts, between 0 and 1, ends at about the time of the call.
func Play(ctx context.Context, seed uint64, round int, cancelled float64, players []Player) {
	Race(len(players), func(i int) (none struct{}) {
		random := rand.New(rand.NewPCG(seed, uint64(round)<<8|uint64(i)))
		usual := time.Millisecond
		for range turns {
			ctx, cancel := ctx, func() {}
			if random.Float64() < cancelled {
				ctx, cancel = context.WithTimeout(ctx, time.Duration(random.Float64()*2*float64(usual)))
			}
			start := time.Now()
			players[i](ctx, random)
			if ctx.Err() == nil {
				usual = time.Since(start)
			}
			cancel()
		}
		return none
	})
}
