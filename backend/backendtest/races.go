package backendtest

import (
	"fmt"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/clause"
)

var races = table{
	{
		Name:     "one winner creates",
		Sentence: "Of writers at once that say no state exists yet, one succeeds; the others get ErrConflict.",
		Check:    func(e *env) { e.oneWinner("") },
	},
	{
		Name:     "one winner replaces",
		Sentence: "Of writers at once that name one revision, one succeeds; the others get ErrConflict.",
		Check:    func(e *env) { e.oneWinner(e.create("before")) },
	},
	{
		Name:     "one winner deletes",
		Sentence: "Of callers at once that delete one revision, one succeeds; the others get ErrNotExist or ErrConflict.",
		Check: func(e *env) {
			rev := e.create("one")
			errs := clause.Race(16, func(i int) error { return e.either(i).Delete(e.Ctx, e.ws, at(rev)) })
			e.won(errs, 1, backend.ErrNotExist, backend.ErrConflict)
			e.missing()
		},
	},
	{
		Name:     "equal bytes",
		Sentence: "Two writers of the same bytes under one revision are two: one succeeds, the other gets ErrConflict.",
		Check: func(e *env) {
			rev := e.create("before")
			after := e.write(e.a, "after", at(rev))
			_, err := e.b.Write(e.Ctx, e.ws, []byte("after"), at(rev))
			e.Is("Write of what is stored, with the revision before", err, backend.ErrConflict)
			e.stored("after", after)
		},
	},
	{
		Name:     "lost replies to equal bytes",
		Sentence: "A write is the call's own, even if its reply was lost: of two that write the same bytes under one revision, at most one succeeds.",
		Check: func(e *env) {
			e.Need("Lossy", e.ns.Lossy != nil)
			rev := e.create("before")
			lossy := []backend.Backend{e.open(e.ns.Lossy), e.open(e.ns.Lossy)}
			written := make([]backend.Revision, len(lossy))
			errs := clause.Race(len(lossy), func(i int) (err error) {
				written[i], err = lossy[i].Write(e.Ctx, e.ws, []byte("after"), at(rev))
				return err
			})
			for i := range errs {
				if errs[i] == nil {
					e.stored("after", written[i])
				}
			}
			e.won(errs, 0, backend.ErrConflict, backend.ErrUnknown)
		},
	},
	{
		Name:     "lost reply to Write",
		Sentence: "A Write that was applied although its reply was lost succeeds, or is ErrUnknown: it is no conflict with itself.",
		Check: func(e *env) {
			e.Need("Lossy", e.ns.Lossy != nil)
			var cond backend.Condition
			for _, data := range []string{"create", "replace"} {
				rev, err := e.open(e.ns.Lossy).Write(e.Ctx, e.ws, []byte(data), cond)
				if err != nil {
					e.Is("Write whose reply was lost", err, backend.ErrUnknown)
					rev, err = backend.Stat(e.Ctx, e.a, e.ws)
					e.Must("Stat", err)
				}
				e.stored(data, rev)
				cond = at(rev)
			}
		},
	},
	{
		Name:     "lost reply to Delete",
		Sentence: "A Delete that was applied although its reply was lost succeeds, or is ErrUnknown.",
		Check: func(e *env) {
			e.Need("Lossy", e.ns.Lossy != nil)
			rev := e.create("one")
			if err := e.open(e.ns.Lossy).Delete(e.Ctx, e.ws, at(rev)); err != nil {
				e.Is("Delete whose reply was lost", err, backend.ErrUnknown)
			}
			e.missing()
		},
	},
}

// either returns one client or the other.
func (e *env) either(i int) backend.Backend { return []backend.Backend{e.a, e.b}[i%2] }

// won fails the test unless one call, or none if least is 0, succeeded, and the
// others failed with one of kinds.
func (e *env) won(errs []error, least int, kinds ...error) {
	e.Helper()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			e.Is("a call that did not succeed", err, kinds...)
		}
	}
	if won < least || won > 1 {
		e.Errorf("%d of %d calls succeeded", won, len(errs))
	}
}

// oneWinner lets 16 write under one revision at once, on two clients.
func (e *env) oneWinner(rev backend.Revision) {
	e.Helper()
	written := make([]backend.Revision, 16)
	errs := clause.Race(len(written), func(i int) (err error) {
		written[i], err = e.either(i).Write(e.Ctx, e.ws, fmt.Append(nil, "writer ", i), at(rev))
		return err
	})
	e.won(errs, 1, backend.ErrConflict)
	for i, err := range errs {
		if err == nil {
			e.stored(fmt.Sprint("writer ", i), written[i])
		}
	}
}
