package backendtest

import (
	"github.com/statelatch/statelatch/backend"
)

// noRevision is a revision that no service gives.
const noRevision = backend.Revision("no such revision")

var revisions = table{
	{
		Name:     "missing state",
		Sentence: "If there is no state, the error of Read, and of Stat, matches ErrNotExist.",
		Check: func(e *env) {
			e.missing()
			_, err := backend.Stat(e.Ctx, e.a, e.ws)
			e.Is("Stat where there is no state", err, backend.ErrNotExist)
		},
	},
	{
		Name:     "write and read",
		Sentence: "What was written is read by every client, with the revision that Write returned.",
		Check: func(e *env) {
			first := e.create("one")
			e.stored("one", first)
			second := e.write(e.b, "two", at(first))
			e.stored("two", second)
			if first == second {
				e.Errorf("two values have one revision, %q", first)
			}
		},
	},
	{
		Name:     "create only once",
		Sentence: "The zero Condition means that no state exists yet: the error of Write is else ErrConflict, and nothing has changed.",
		Check: func(e *env) {
			rev := e.create("one")
			for _, b := range []backend.Backend{e.a, e.b} {
				_, err := b.Write(e.Ctx, e.ws, []byte("two"), backend.Condition{})
				e.Is("Write with the zero Condition where a state exists", err, backend.ErrConflict)
			}
			e.stored("one", rev)
		},
	},
	{
		Name:     "stale write",
		Sentence: "If the revision of a Write is not the stored one, the error matches ErrConflict, and nothing has changed.",
		Check: func(e *env) {
			_, err := e.a.Write(e.Ctx, e.ws, []byte("zero"), at(noRevision))
			e.Is("Write with a revision where no state exists", err, backend.ErrConflict)
			e.missing()
			first := e.create("one")
			second := e.write(e.a, "two", at(first))
			for _, rev := range []backend.Revision{first, noRevision} {
				for _, b := range []backend.Backend{e.a, e.b} {
					_, err := b.Write(e.Ctx, e.ws, []byte("three"), at(rev))
					e.Is("Write with another revision", err, backend.ErrConflict)
				}
			}
			e.stored("two", second)
		},
	},
	{
		Name:     "delete",
		Sentence: "Delete removes the state if its Condition holds; after that there is none, and one can be created.",
		Check: func(e *env) {
			rev := e.create("one")
			e.Must("Delete", e.b.Delete(e.Ctx, e.ws, at(rev)))
			e.missing()
			_, err := e.a.Write(e.Ctx, e.ws, []byte("two"), at(rev))
			e.Is("Write with the revision of a state that was deleted", err, backend.ErrConflict)
			e.missing()
			e.stored("two", e.create("two"))
		},
	},
	{
		Name:     "revision of a deleted state",
		Sentence: "A revision names one stored value: the one of a state that was deleted does not hold for the next that is created.",
		Check: func(e *env) {
			first := e.create("one")
			e.Must("Delete", e.a.Delete(e.Ctx, e.ws, at(first)))
			second := e.write(e.b, "two", backend.Condition{})
			if first == second {
				e.Errorf("two values have one revision, %q", first)
			}
			_, err := e.a.Write(e.Ctx, e.ws, []byte("three"), at(first))
			e.Is("Write with the revision of a state that was deleted", err, backend.ErrConflict)
			e.Is("Delete with the revision of a state that was deleted", e.a.Delete(e.Ctx, e.ws, at(first)), backend.ErrConflict)
			e.stored("two", second)
		},
	},
	{
		Name:     "empty object",
		Sentence: "An object of no bytes is no state, on every backend: Read is ErrNotExist, and a state can be created.",
		Check: func(e *env) {
			e.Need("Empty", e.ns.Empty != nil)
			e.ns.Empty(e.TB, e.ws)
			e.missing()
			_, err := backend.Stat(e.Ctx, e.a, e.ws)
			e.Is("Stat of an empty object", err, backend.ErrNotExist)
			e.Is("Delete of an empty object", e.a.Delete(e.Ctx, e.ws, at(backend.AnyRevision)), backend.ErrNotExist)
			e.stored("one", e.create("one"))
		},
	},
	{
		Name:     "stale delete",
		Sentence: "If the revision of a Delete is not the stored one, the error matches ErrConflict, and nothing has changed.",
		Check: func(e *env) {
			first := e.create("one")
			second := e.write(e.a, "two", at(first))
			for _, rev := range []backend.Revision{first, noRevision} {
				e.Is("Delete with another revision", e.b.Delete(e.Ctx, e.ws, at(rev)), backend.ErrConflict)
			}
			e.stored("two", second)
		},
	},
	{
		Name:     "delete of none",
		Sentence: "Delete of a state that does not exist is ErrNotExist, whatever its Condition.",
		Check: func(e *env) {
			conds := []backend.Condition{{}, at(backend.AnyRevision), at(noRevision)}
			for _, cond := range conds {
				e.Is("Delete before the first Write", e.a.Delete(e.Ctx, e.ws, cond), backend.ErrNotExist)
			}
			rev := e.create("one")
			e.Must("Delete", e.a.Delete(e.Ctx, e.ws, at(rev)))
			for _, cond := range append(conds, at(rev)) {
				e.Is("Delete the second time", e.b.Delete(e.Ctx, e.ws, cond), backend.ErrNotExist)
			}
		},
	},
	{
		Name:     "zero Condition deletes nothing",
		Sentence: "The zero Condition deletes nothing: where a state exists it does not hold (ErrConflict).",
		Check: func(e *env) {
			rev := e.create("one")
			e.Is("Delete with the zero Condition", e.a.Delete(e.Ctx, e.ws, backend.Condition{}), backend.ErrConflict)
			e.stored("one", rev)
		},
	},
	{
		Name:     "AnyRevision",
		Sentence: "AnyRevision stands for whatever is there, a missing state included when writing.",
		Check: func(e *env) {
			e.stored("one", e.write(e.a, "one", at(backend.AnyRevision)))
			e.stored("two", e.write(e.b, "two", at(backend.AnyRevision)))
			e.Must("Delete with AnyRevision", e.a.Delete(e.Ctx, e.ws, at(backend.AnyRevision)))
			e.missing()
		},
	},
	{
		Name:     "Stat",
		Sentence: "Stat returns the revision that Read returns.",
		Check: func(e *env) {
			rev := e.create("one")
			for _, data := range []string{"two", "three"} {
				rev = e.write(e.a, data, at(rev))
				for _, b := range []backend.Backend{e.a, e.b} {
					got, err := backend.Stat(e.Ctx, b, e.ws)
					e.Must("Stat", err)
					if got != rev {
						e.Errorf("Stat: got revision %q, want %q", got, rev)
					}
				}
			}
		},
	},
}
