package backendtest

import (
	"context"
	"time"

	"github.com/statelatch/statelatch/backend"
	"go.uber.org/goleak"
)

var contexts = table{
	{
		Name:     "context ended before",
		Sentence: "A method whose context has ended returns an error that matches the context's, and changes nothing.",
		Check: func(e *env) {
			rev := e.create("one")
			for kind, ctx := range e.Ended() {
				for _, m := range append(e.methods(e.a, e.ws), listing(e.a)) {
					e.Is(m.op+" with an ended context", m.call(ctx), kind)
				}
			}
			e.stored("one", rev)
		},
	},
	{
		Name:     "context ends during",
		Sentence: "When its context ends, a call has taken effect, or has not, or says that it may have (ErrUnknown).",
		Check:    func(e *env) { e.rounds(30, 0.5) },
	},
	{
		Name:     "server hangs",
		Sentence: "A method returns promptly when its context ends.",
		Check: func(e *env) {
			e.Need("Hung", e.ns.Hung != nil)
			b := e.open(e.ns.Hung)
			for _, m := range append(e.methods(b, e.ws), listing(b)) {
				e.Hung(m.op, m.call)
			}
		},
	},
	{
		Name:     "close",
		Sentence: "Close releases what the Backend itself opened, and nothing of other clients or in the store.",
		Check: func(e *env) {
			c := e.ns.Open(e.TB)
			rev := e.write(c, "one", backend.Condition{})
			e.Must("Close", c.Close())
			e.stored("one", rev)
		},
	},
	{
		Name:     "nothing left running",
		Sentence: "No method leaves a goroutine behind, whether it succeeds, fails or is cut short.",
		Alone:    true,
		Check: func(e *env) {
			before := goleak.IgnoreCurrent()
			c := e.ns.Open(e.TB)
			short, cancel := context.WithTimeout(e.Ctx, 20*time.Millisecond)
			defer cancel()
			for range 2 { // the second time for those that the first one made succeed
				for _, m := range append(e.methods(c, e.ws), listing(c)) {
					m.call(short)
				}
			}
			for range c.List(e.Ctx) {
				break
			}
			e.Must("Close", c.Close())
			e.NothingLeft(before)
		},
	},
}
