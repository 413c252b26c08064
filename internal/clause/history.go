package clause

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// A History records concurrent calls and their replies. The zero History is empty
// and ready; its methods may be called from several goroutines.
type History struct {
	mu   sync.Mutex
	time int64 // a count: it gives every start and every end its place
	ops  []porcupine.Operation
}

// Started returns the time at which a call starts.
func (h *History) Started() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.time++
	return h.time
}

// Ended records a call that started at start and ends now. A call whose outcome is
// unknown takes effect at any time from its start on, or never; the model's step
// then returns the state with the effect, which at the end of all nobody sees.
func (h *History) Ended(client int, start int64, call, reply any, unknown bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.time++
	end := h.time
	if unknown {
		end = math.MaxInt64
	}
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: call, Call: start, Output: reply, Return: end})
}

// A Model says of an object in state S which reply it may give to a call C, and
// which state follows. Step of the zero S must allow whatever was there at first.
type Model[S comparable, C, R any] struct {
	Step      func(s S, call C, reply R) (S, bool)
	Partition func(call C) string // the name of the object called
}

// Check fails the test unless the history is linearizable: unless all calls can be
// put in one order in which each comes between its start and its end and gives the
// reply that the model allows.
func Check[S comparable, C, R any](t testing.TB, h *History, m Model[S, C, R]) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	parts := map[string][]porcupine.Operation{}
	for _, op := range h.ops {
		name := m.Partition(op.Input.(C))
		parts[name] = append(parts[name], op)
	}
	model := porcupine.Model{
		Init: func() any { var s S; return s },
		Step: func(s, call, reply any) (bool, any) {
			next, ok := m.Step(s.(S), call.(C), reply.(R))
			return ok, next
		},
	}
	for name, ops := range parts {
		if result := porcupine.CheckOperationsTimeout(model, ops, time.Minute); result != porcupine.Ok {
			t.Errorf("no order of these calls on %q explains their replies (%s):\n%s", name, result, lines(ops))
		}
	}
}

func lines(ops []porcupine.Operation) string {
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var b strings.Builder
	for _, op := range ops {
		end := "…"
		if op.Return != math.MaxInt64 {
			end = fmt.Sprint(op.Return)
		}
		fmt.Fprintf(&b, "%5d–%-5s client %d: %v = %v\n", op.Call, end, op.ClientId, op.Input, op.Output)
	}
	return b.String()
}

// Seed returns the seed of what is random in a test: the value of the environment
// variable STATELATCH_SEED, or a new one. It is printed if the test fails.
func Seed(t testing.TB) uint64 {
	seed := rand.Uint64()
	if value := os.Getenv("STATELATCH_SEED"); value != "" {
		var err error
		if seed, err = strconv.ParseUint(value, 10, 64); err != nil {
			t.Fatalf("STATELATCH_SEED: %v", err)
		}
	}
	t.Logf("random: STATELATCH_SEED=%d makes the same choices again", seed)
	return seed
}
