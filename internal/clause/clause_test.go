package clause

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	for _, test := range []struct {
		name   string
		check  func(*T)
		skips  Skips
		failed bool
		said   string
	}{
		{"holds", func(*T) {}, nil, false, ""},
		{"broken", func(t *T) { t.Error("no") }, nil, true, "no\nthe contract says: So it is.\n"},
		{"broken early", func(t *T) { t.Fatal("no") }, nil, true, "no\nthe contract says: So it is.\n"},
		{"panics", func(*T) { panic("no") }, nil, true, "panic: no"},
		{"skipped", func(t *T) { t.Error("no") }, Skips{"clause": "it cannot"}, false, "declared: it cannot\n"},
		{"lacks what it need not", func(t *T) { t.Need("Sun", false) }, Skips{"Sun": "at night"}, false, "declared: at night\n"},
		{"lacks what it needs", func(t *T) { t.Need("Sun", false) }, Skips{"Moon": "at day"}, true, `Skips["Sun"]`},
		{"has what it needs", func(t *T) { t.Need("Sun", true) }, nil, false, ""},
		{"context", func(t *T) { <-t.Ctx.Done(); t.Log("ended") }, nil, false, "ended\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := Clause[*T]{Name: "clause", Sentence: "So it is.", Check: test.check}
			said, failed := Try(t, 100*time.Millisecond, func(t testing.TB) {
				c.run(t, test.skips, func(t *T) *T { return t })
			})
			if failed != test.failed || !strings.Contains(said, test.said) {
				t.Errorf("failed: %v and said %q, want %v and %q", failed, said, test.failed, test.said)
			}
		})
	}
}

// Cleanups run in reverse, also after a failure, and may fail the test.
func TestTryCleansUp(t *testing.T) {
	said, failed := Try(t, time.Minute, func(t testing.TB) {
		t.Cleanup(func() { t.Error("first") })
		t.Cleanup(func() { t.Log("second", t.Context().Err()) })
		t.Skip("third")
	})
	if want := "third\nsecond context canceled\nfirst\n"; !failed || said != want {
		t.Errorf("failed: %v and said %q, want true and %q", failed, said, want)
	}
}

func TestUnfounded(t *testing.T) {
	clauses := []Clause[*T]{{Name: "a"}, {Name: "b"}}
	got := unfounded(clauses, Skips{"a": "", "Sun": "", "c": "", "Moon": ""}, []string{"Sun"})
	if want := []string{"Moon", "c"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
