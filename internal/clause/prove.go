package clause

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// A Mutant is an implementation with one thing wrong.
type Mutant[E any] struct {
	Name  string
	Wrong string     // what is wrong with it, as a sentence
	Kill  []string   // the clauses that it must fail
	Setup func(*T) E // the environment of one clause, on the mutant
}

// Prove runs each mutant against the clauses that must kill it, and fails the test
// for each clause that lets one live, and for each that no mutant is there to fail.
// What the mutants are made of, sound, must pass them all.
func Prove[E any](t *testing.T, clauses []Clause[E], sound func(*T) E, mutants []Mutant[E]) {
	named := map[string]Clause[E]{}
	for _, c := range clauses {
		named[c.Name] = c
		prove(t, "none", c, sound, false)
	}
	killing := map[string]bool{}
	for _, m := range mutants {
		for _, name := range m.Kill {
			c, ok := named[name]
			if !ok {
				t.Fatalf("mutant %q: there is no clause %q", m.Name, name)
			}
			killing[name] = true
			prove(t, m.Name, c, m.Setup, true)
		}
	}
	for name := range named {
		if !killing[name] {
			t.Errorf("no mutant fails clause %q: delete it, or add one", name)
		}
	}
}

func prove[E any](t *testing.T, mutant string, c Clause[E], setup func(*T) E, kill bool) {
	t.Run(mutant+"/"+c.Name, func(t *testing.T) {
		if !c.Alone {
			t.Parallel()
		}
		limit := patience
		if kill {
			limit = impatience
		}
		said, failed := Try(t, limit, func(t testing.TB) { c.run(t, nil, setup) })
		if failed != kill {
			t.Errorf("the clause failed: %v, want %v. Its log:\n%s", failed, kill, said)
		}
		t.Log(said)
	})
}

// impatience is how long a mutant may hang: longer than linger, on a busy machine too.
const impatience = 5 * time.Second

// Try runs a test without failing t, its context for at most limit, and returns
// what it logged and whether it failed.
func Try(t *testing.T, limit time.Duration, test func(testing.TB)) (said string, failed bool) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	r := &recorder{TB: t, ctx: ctx}
	r.protect(func() { test(r) })
	cancel()
	for _, f := range slices.Backward(r.cleanups) {
		r.protect(f)
	}
	return r.said.String(), r.failed
}

// Document keeps the table of mutants between two marks of a Markdown file: it
// writes it there if update is set, and else fails the test if the file differs.
func Document[E any](t *testing.T, file, mark string, mutants []Mutant[E], update bool) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- begin "+mark+" -->\n", "<!-- end "+mark+" -->"
	before, rest, ok := strings.Cut(string(content), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the lines %q and %q", file, strings.TrimSpace(begin), end)
	}
	want := before + begin + table(mutants) + end + after
	switch {
	case want == string(content):
	case !update:
		t.Errorf("%s is not what the mutants say: run this test with -update", file)
	default:
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func table[E any](mutants []Mutant[E]) string {
	var b strings.Builder
	b.WriteString("| mutant | what is wrong with it | clauses that fail it |\n|---|---|---|\n")
	for _, m := range mutants {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", m.Name, m.Wrong, strings.Join(m.Kill, "; "))
	}
	return b.String()
}
