package backendtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/clause"
	"github.com/statelatch/statelatch/memory"
)

// One call after the other, each with its reply, from an unknown state on.
func TestStep(t *testing.T) {
	read := call{method: "Read"}
	stat := call{method: "Stat"}
	write := func(rev backend.Revision, data string) call { return call{"Write", "", rev, data} }
	remove := func(rev backend.Revision) call { return call{"Delete", "", rev, ""} }
	ok := func(rev backend.Revision, data string) reply { return reply{"ok", rev, data} }
	none, conflict, unknown := reply{outcome: "none"}, reply{outcome: "conflict"}, reply{outcome: "unknown"}
	type called struct {
		call  call
		reply reply
	}
	for _, test := range []struct {
		name  string
		calls []called
		want  bool
	}{
		{"read what was written", []called{{write("*", "a"), ok("1", "")}, {read, ok("1", "a")}, {stat, ok("1", "")}}, true},
		{"read other bytes", []called{{write("*", "a"), ok("1", "")}, {read, ok("1", "b")}}, false},
		{"read another revision", []called{{write("*", "a"), ok("1", "")}, {read, ok("2", "a")}}, false},
		{"stat another revision", []called{{write("*", "a"), ok("1", "")}, {stat, ok("2", "")}}, false},
		{"read nothing", []called{{write("*", "a"), ok("1", "")}, {read, none}}, false},
		{"whatever was there at first", []called{{read, ok("1", "a")}, {write("1", "b"), ok("2", "")}, {read, ok("2", "b")}}, true},
		{"nothing was there at first", []called{{write("", "a"), ok("1", "")}, {read, ok("1", "a")}}, true},
		{"read by revision alone", []called{{stat, ok("1", "")}, {read, ok("1", "a")}, {read, ok("1", "b")}}, false},
		{"create twice", []called{{write("", "a"), ok("1", "")}, {write("", "b"), ok("2", "")}}, false},
		{"create once", []called{{write("", "a"), ok("1", "")}, {write("", "b"), conflict}}, true},
		{"conflict without cause", []called{{read, ok("1", "a")}, {write("1", "b"), conflict}}, false},
		{"conflict with AnyRevision", []called{{read, ok("1", "a")}, {write("*", "b"), conflict}}, false},
		{"conflict without state", []called{{read, none}, {write("1", "b"), conflict}, {write("", "b"), ok("2", "")}}, true},
		{"lost update", []called{{read, ok("1", "a")}, {write("1", "b"), ok("2", "")}, {write("1", "c"), ok("3", "")}}, false},
		{"delete", []called{{read, ok("1", "a")}, {remove("1"), ok("", "")}, {read, none}, {remove("*"), none}}, true},
		{"delete stale", []called{{read, ok("1", "a")}, {remove("2"), ok("", "")}}, false},
		{"delete in conflict", []called{{read, ok("1", "a")}, {remove("2"), conflict}, {remove(""), conflict}}, true},
		{"delete with the zero condition", []called{{read, ok("1", "a")}, {remove(""), ok("", "")}}, false},
		{"delete none", []called{{read, none}, {remove("*"), ok("", "")}}, false},
		{"conflict of none", []called{{read, none}, {remove("1"), conflict}}, false},
		{"none where there is some", []called{{read, ok("1", "a")}, {remove("1"), none}}, false},
		{"unknown write, read", []called{{read, none}, {write("", "a"), unknown}, {read, ok("1", "a")}, {stat, ok("1", "")}, {stat, ok("2", "")}}, false},
		{"unknown write, revision told", []called{{read, none}, {write("", "a"), unknown}, {stat, ok("1", "")}, {read, ok("1", "a")}}, true},
		{"unknown write that cannot be", []called{{read, ok("1", "a")}, {write("2", "b"), unknown}, {read, ok("1", "a")}}, true},
		{"unknown write of other bytes", []called{{read, none}, {write("", "a"), unknown}, {read, ok("1", "b")}}, false},
		{"unknown delete", []called{{read, ok("1", "a")}, {remove("1"), unknown}, {read, none}}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s register
			got := true
			for _, c := range test.calls {
				var ok bool
				s, ok = step(s, c.call, c.reply)
				got = got && ok
			}
			if got != test.want {
				t.Errorf("allowed: %v, want %v", got, test.want)
			}
		})
	}
}

// forgetful applies a call now, later or never, and says that it does not know.
type forgetful struct{ backend.Backend }

var errForgotten = &backend.Error{Op: "write", Kind: backend.ErrUnknown, Err: errors.New("forgotten")}

func (f forgetful) Write(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
	apply := func() (backend.Revision, error) {
		return f.Backend.Write(context.WithoutCancel(ctx), ws, data, cond)
	}
	switch rand.IntN(8) {
	case 0:
		apply()
	case 1:
		go apply()
	case 2:
	default:
		return f.Backend.Write(ctx, ws, data, cond)
	}
	return "", errForgotten
}

// What is unknown may have happened, may happen yet, or never.
func TestRoundsWithUnknownOutcomes(t *testing.T) {
	Rounds(t, Seed(t), 300, func(int) (string, []backend.Backend) {
		store := memory.New()
		return "prod", []backend.Backend{forgetful{store}, forgetful{store.Client()}, store.Client()}
	})
}

// The same, but for the word unknown: Rounds must notice.
type sure struct{ backend.Backend }

func (s sure) Write(ctx context.Context, ws string, data []byte, cond backend.Condition) (backend.Revision, error) {
	rev, err := s.Backend.Write(ctx, ws, data, cond)
	if errors.Is(err, backend.ErrUnknown) {
		err = &backend.Error{Op: "write", Kind: backend.ErrTransient, Err: err.(*backend.Error).Err}
	}
	return rev, err
}

func TestRoundsNoticeWhatIsDenied(t *testing.T) {
	said, failed := clause.Try(t, time.Minute, func(t testing.TB) {
		Rounds(t, Seed(t), 300, func(int) (string, []backend.Backend) {
			store := memory.New()
			return "prod", []backend.Backend{sure{forgetful{store}}, sure{forgetful{store.Client()}}, store.Client()}
		})
	})
	if !failed {
		t.Errorf("nothing was noticed:\n%s", said)
	}
}

// TestRemake: a creation that is made twice, with a deletion in between, is no order of
// calls unless a reply may have been lost.
func TestRemake(t *testing.T) {
	for _, remakes := range []bool{false, true} {
		said, failed := clause.Try(t, time.Minute, func(t testing.TB) {
			store := memory.New()
			h := History{remakes: remakes}
			cond := backend.Condition{Revision: backend.AnyRevision}
			_, _ = h.Client(store, 1).Read(t.Context(), "default") // there is none
			creator := h.Client(&remaking{store, func() error { return h.Client(store, 1).Delete(t.Context(), "default", cond) }}, 0)
			if _, err := creator.Write(t.Context(), "default", []byte("a"), backend.Condition{}); err != nil {
				t.Fatal(err)
			}
			_, _ = h.Client(store, 1).Read(t.Context(), "default") // there is one again
			h.Check(t)
		})
		if failed == remakes {
			t.Errorf("with remakes %t it failed: %t: %s", remakes, failed, said)
		}
	}
}

// remaking makes each creation twice, and has something happen in between.
type remaking struct {
	*memory.Backend
	between func() error
}

func (r *remaking) Write(ctx context.Context, workspace string, data []byte, cond backend.Condition) (backend.Revision, error) {
	if _, err := r.Backend.Write(ctx, workspace, data, cond); err != nil {
		return "", err
	}
	if err := r.between(); err != nil {
		return "", err
	}
	return r.Backend.Write(ctx, workspace, data, cond)
}
