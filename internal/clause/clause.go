// Package clause runs the sentences of a contract as tests. It is what the suites
// [github.com/statelatch/statelatch/lock/locktest] and
// [github.com/statelatch/statelatch/backend/backendtest] are made of: import
// those, unless you write a suite of your own.
//
// A suite is a table of [Clause] values: a name, a sentence, and a function that
// checks it. [Run] runs each in a subtest of its own, in parallel; a failure prints
// the sentence. What a target cannot do must be declared, with a reason, or it
// is a failure too.
//
// A suite is itself tested by [Prove]: each [Mutant], an implementation with one
// thing wrong, must fail the clauses that it is said to break, and each clause must
// be failed by a mutant.
//
// A [History] records concurrent calls, and checks that they are linearizable.
package clause

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"
)

// A Clause is one sentence of a contract, and the check of it, in an environment
// of type E.
type Clause[E any] struct {
	Name     string  // of its subtest
	Sentence string  // printed when it fails
	Check    func(E) // fails the test that E holds
	Alone    bool    // not beside other clauses: it looks at the whole process
}

// Skips are the reasons for which clauses are left out, by the name of the clause
// or of what the target lacks (see [T.Need]).
type Skips map[string]string

// T is the test of one clause.
type T struct {
	testing.TB
	Ctx   context.Context // ends after a minute and a half: no clause takes so long
	skips Skips
}

const patience = 90 * time.Second

// Run runs each clause in a subtest. setup makes the environment of one clause.
// needs lists what clauses may need; any other skip is a mistake of the caller.
func Run[E any](t *testing.T, clauses []Clause[E], skips Skips, needs []string, setup func(*T) E) {
	t.Helper()
	for _, name := range unfounded(clauses, skips, needs) {
		t.Errorf("a skip is declared for %q, which is neither a clause nor something to lack", name)
	}
	for _, c := range clauses {
		t.Run(c.Name, func(t *testing.T) {
			if !c.Alone {
				t.Parallel()
			}
			c.run(t, skips, setup)
		})
	}
}

// unfounded returns the skips that would skip nothing.
func unfounded[E any](clauses []Clause[E], skips Skips, needs []string) []string {
	known := slices.Clone(needs)
	for _, c := range clauses {
		known = append(known, c.Name)
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(skips)), func(name string) bool { return slices.Contains(known, name) })
}

func (c Clause[E]) run(tb testing.TB, skips Skips, setup func(*T) E) {
	if reason, ok := skips[c.Name]; ok {
		tb.Skip("declared: " + reason)
	}
	defer func() { // also when the test ends early
		if tb.Failed() {
			tb.Log("the contract says: " + c.Sentence)
		}
	}()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	c.Check(setup(&T{TB: tb, Ctx: ctx, skips: skips}))
}

// Need ends the test where the target lacks what the clause needs: as skipped if
// that was declared, else as failed.
func (t *T) Need(what string, there bool) {
	t.Helper()
	if there {
		return
	}
	if reason, ok := t.skips[what]; ok {
		t.Skip("declared: " + reason)
	}
	t.Fatalf("the target has no %s: provide it, or declare the reason in Skips[%q]", what, what)
}

// Must ends the test if doing failed.
func (t *T) Must(doing string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", doing, err)
	}
}

// Is fails the test unless err matches one of kinds.
func (t *T) Is(doing string, err error, kinds ...error) {
	t.Helper()
	if !slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) }) {
		t.Errorf("%s: got error %v, want one that matches %q", doing, err, kinds)
	}
}

// Race calls f(0) to f(n-1) at once, and returns what they returned.
func Race[R any](n int, f func(i int) R) []R {
	results := make([]R, n)
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			<-start
			results[i] = f(i)
		})
	}
	close(start)
	group.Wait()
	return results
}

// prompt is how soon a method must return when its context ends: far longer than
// it takes, so that a busy machine fails nobody.
const prompt = 5 * time.Second

// Hung calls f, which hangs, ends its context with it under way, and fails the
// test unless f then returns promptly, with an error that says so.
func (t *T) Hung(doing string, f func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Ctx)
	defer cancel()
	time.AfterFunc(20*time.Millisecond, cancel)
	result := make(chan error, 1)
	go func() { result <- f(ctx) }()
	select {
	case err := <-result:
		t.Is(doing+" when its context ends", err, context.Canceled)
	case <-time.After(prompt):
		t.Errorf("%s has not returned %s after its context ended", doing, prompt)
	}
}

// Ended returns contexts that have ended, by their errors.
func (t *T) Ended() map[error]context.Context {
	cancelled, cancel := context.WithCancel(t.Ctx)
	cancel()
	late, cancel := context.WithDeadline(t.Ctx, time.Now().Add(-time.Second))
	defer cancel()
	return map[error]context.Context{context.Canceled: cancelled, context.DeadlineExceeded: late}
}
