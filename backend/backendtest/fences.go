package backendtest

import (
	"errors"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

var fences = table{
	{
		Name:     "create over a placeholder",
		Sentence: "An empty placeholder that a lock left counts as no state.",
		Check: func(e *env) {
			held := e.lock(e.a)
			e.missing()
			e.unlock(e.a, held.ID)
			e.missing()
			held = e.lock(e.a)
			e.Is("Delete under a lock where there is no state", e.a.Delete(e.Ctx, e.ws, backend.Condition{LockID: held.ID}), backend.ErrNotExist)
			rev := e.write(e.a, "one", backend.Condition{LockID: held.ID})
			e.stored("one", rev)
			e.unlock(e.a, held.ID)
			e.stored("one", rev)
		},
	},
	{
		Name:     "revision survives locks",
		Sentence: "Locking and unlocking never change the revision of a state: one that was read before still holds, under the lock and after a neighbour's.",
		Check: func(e *env) {
			before := e.create("one")
			neighbours := e.lock(e.b)
			e.stored("one", before)
			e.unlock(e.b, neighbours.ID)
			e.stored("one", before)
			between := e.write(e.a, "two", at(before))
			mine := e.lock(e.a)
			under := e.write(e.a, "three", backend.Condition{Revision: between, LockID: mine.ID})
			e.unlock(e.a, mine.ID)
			e.stored("three", under)
			e.Must("Delete with a revision from before a lock", e.b.Delete(e.Ctx, e.ws, at(under)))
		},
	},
	{
		Name:     "write with the lock's ID",
		Sentence: "Who holds the lock and says so may write and delete, by the same rules: a stale revision is ErrConflict.",
		Check: func(e *env) {
			held := e.lock(e.a)
			cond := func(rev backend.Revision) backend.Condition {
				return backend.Condition{Revision: rev, LockID: held.ID}
			}
			first := e.write(e.a, "one", cond(""))
			second := e.write(e.a, "two", cond(first))
			_, err := e.a.Write(e.Ctx, e.ws, []byte("three"), cond(first))
			e.Is("Write under the lock with a stale revision", err, backend.ErrConflict)
			_, err = e.a.Write(e.Ctx, e.ws, []byte("three"), cond(""))
			e.Is("Write under the lock with no revision", err, backend.ErrConflict)
			e.Is("Delete under the lock with a stale revision", e.a.Delete(e.Ctx, e.ws, cond(first)), backend.ErrConflict)
			e.stored("two", second)
			e.Must("Delete under the lock", e.a.Delete(e.Ctx, e.ws, cond(second)))
			e.missing()
		},
	},
	{
		Name:     "write under a lost lock",
		Sentence: "If the service shows that Condition.LockID no longer holds the lock, and nobody does, the error matches ErrNotHeld, and nothing has changed.",
		Check: func(e *env) {
			rev := e.create("one")
			held := e.lock(e.a)
			e.unlock(e.a, held.ID)
			e.refused(rev, held.ID, func(err error) bool { return errors.Is(err, lock.ErrNotHeld) })
		},
	},
	{
		Name:     "write with a wrong lock ID",
		Sentence: "If another holds the lock, the error is a *HeldError, and nothing has changed. The lock is never a reason for ErrConflict.",
		Check: func(e *env) {
			rev := e.create("one")
			e.lock(e.b)
			e.refused(rev, lock.NewID(), isHeld)
		},
	},
	{
		Name:     "write without lock ID",
		Sentence: "If Condition.LockID is empty while another holds the lock, a fencing backend returns a *HeldError and changes nothing; the others go by the revision alone.",
		Check: func(e *env) {
			rev := e.create("one")
			e.lock(e.b)
			e.refused(rev, "", isHeld)
		},
	},
	{
		Name:     "read while locked",
		Sentence: "A lock keeps nobody from reading.",
		Check: func(e *env) {
			rev := e.create("one")
			e.lock(e.b)
			e.stored("one", rev)
			got, err := backend.Stat(e.Ctx, e.a, e.ws)
			if e.Must("Stat", err); got != rev {
				e.Errorf("Stat: got revision %q, want %q", got, rev)
			}
		},
	},
}

func isHeld(err error) bool {
	var held *lock.HeldError
	return errors.As(err, &held)
}

// refused writes to and deletes the state "one" with a lock ID that does not hold.
// A fencing backend refuses with an error that is right; another may refuse so too,
// or go by the revision.
func (e *env) refused(rev backend.Revision, id string, right func(error) bool) {
	e.Helper()
	data, cond := "one", backend.Condition{Revision: rev, LockID: id}
	done := func(doing string, err error) bool {
		wrong := err != nil && (!right(err) || errors.Is(err, backend.ErrConflict))
		if wrong || err == nil && e.target.Fenced {
			e.Fatalf("%s with a lock ID that does not hold: got error %v (Fenced: %v)", doing, err, e.target.Fenced)
		}
		return err == nil
	}
	written, err := e.a.Write(e.Ctx, e.ws, []byte("two"), cond)
	if done("Write", err) {
		data, cond.Revision = "two", written
	}
	e.stored(data, cond.Revision)
	if done("Delete", e.a.Delete(e.Ctx, e.ws, cond)) {
		e.missing()
	} else {
		e.stored(data, cond.Revision)
	}
}
