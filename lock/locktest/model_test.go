package locktest

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/memory"
)

// One call after the other, each with its reply, from an unknown state on.
func TestStep(t *testing.T) {
	take, look := call{method: "Lock"}, call{method: "Holder"}
	release := func(id string) call { return call{"Unlock", "", id} }
	ok := func(id string) reply { return reply{outcome: "ok", id: id} }
	held := func(id string) reply { return reply{outcome: "held", id: id} }
	named := func(id, ref string) reply { return reply{"ok", id, ref} }
	free, unknown := reply{outcome: "free"}, reply{outcome: "unknown"}
	type called struct {
		call  call
		reply reply
	}
	for _, test := range []struct {
		name  string
		calls []called
		want  bool
	}{
		{"lock, look, unlock", []called{{take, ok("1")}, {look, ok("1")}, {release("1"), ok("")}, {look, free}}, true},
		{"unlock by the caller's own ID", []called{{take, unknown}, {look, named("7", "mine")}, {release("mine"), ok("")}, {look, free}}, true},
		{"unlock by another's own ID", []called{{take, named("7", "mine")}, {release("yours"), ok("")}}, false},
		{"refused by the caller's own ID", []called{{take, named("7", "mine")}, {release("mine"), reply{"held", "7", "mine"}}}, false},
		{"two holders", []called{{take, ok("1")}, {take, ok("2")}}, false},
		{"refused", []called{{take, ok("1")}, {take, held("1")}, {release("2"), held("1")}}, true},
		{"refused by another", []called{{take, ok("1")}, {take, held("2")}}, false},
		{"refused by nobody", []called{{look, free}, {take, held("1")}}, false},
		{"another looked", []called{{take, ok("1")}, {look, ok("2")}}, false},
		{"nobody looked", []called{{take, ok("1")}, {look, free}}, false},
		{"unlock by another ID", []called{{take, ok("1")}, {release("2"), ok("")}}, false},
		{"unlock refused to the holder", []called{{take, ok("1")}, {release("1"), held("1")}}, false},
		{"unlock denied", []called{{take, ok("1")}, {release("1"), free}}, false},
		{"unlock of none", []called{{look, free}, {release("1"), ok("")}}, false},
		{"unlock of none refused", []called{{look, free}, {release("1"), free}, {take, ok("2")}}, true},
		{"held at first", []called{{take, held("1")}, {release("1"), ok("")}, {take, ok("2")}}, true},
		{"free at first", []called{{take, ok("1")}, {look, ok("1")}}, true},
		{"a holder that cannot be read yet", []called{{take, ok("1")}, {look, ok("unreadable-x")}, {look, ok("1")}}, true},
		{"a holder that could not be read", []called{{take, ok("1")}, {look, ok("unreadable-x")}, {look, ok("2")}}, false},
		{"unknown lock", []called{{look, free}, {take, unknown}, {look, ok("1")}, {take, held("1")}, {look, ok("2")}}, false},
		{"unknown lock, released", []called{{look, free}, {take, unknown}, {release("1"), ok("")}, {take, ok("2")}}, true},
		{"unknown lock that cannot be", []called{{take, ok("1")}, {take, unknown}, {look, ok("1")}}, true},
		{"unknown unlock", []called{{take, ok("1")}, {release("1"), unknown}, {take, ok("2")}}, true},
		{"unknown unlock that cannot be", []called{{take, ok("1")}, {release("2"), unknown}, {take, ok("2")}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var m mutex
			got := true
			for _, c := range test.calls {
				var ok bool
				m, ok = step(m, c.call, c.reply)
				got = got && ok
			}
			if got != test.want {
				t.Errorf("allowed: %v, want %v", got, test.want)
			}
		})
	}
}

// forgetful applies a call now, later or never, and says that it does not know.
type forgetful struct{ lock.Locker }

func (f forgetful) Lock(ctx context.Context, ws string, info lock.Info) (lock.Info, error) {
	apply := func() (lock.Info, error) { return f.Locker.Lock(context.WithoutCancel(ctx), ws, info) }
	switch rand.IntN(8) {
	case 0:
		apply()
	case 1:
		go apply()
	case 2:
	default:
		return f.Locker.Lock(ctx, ws, info)
	}
	return lock.Info{}, &lock.UnknownError{Workspace: ws, ID: info.ID, Err: errors.New("forgotten")}
}

// What is unknown may have happened, may happen yet, or never.
func TestRoundsWithUnknownOutcomes(t *testing.T) {
	Rounds(t, Seed(t), 300, func(int) (string, []lock.Locker) {
		store := memory.New()
		return "prod", []lock.Locker{forgetful{store}, forgetful{store.Client()}, store.Client()}
	})
}
