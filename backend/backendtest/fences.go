package backendtest

import (
	"cmp"
	"errors"
	"time"

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
			held := e.lock(e.a)
			e.unlock(e.a, held.ID)
			e.noCreation(held.ID, isNotHeld)
			e.refused(e.create("one"), held.ID, isNotHeld)
		},
	},
	{
		Name:     "write with a wrong lock ID",
		Sentence: "If another holds the lock, the error is a *HeldError, and nothing has changed. The lock is never a reason for ErrConflict.",
		Check: func(e *env) {
			e.fenced(lock.NewID())
		},
	},
	{
		Name:     "write without lock ID",
		Sentence: "If Condition.LockID is empty while another holds the lock, a fencing backend returns a *HeldError and changes nothing; the others go by the revision alone.",
		Check: func(e *env) {
			e.fenced("")
		},
	},
	{
		Name:     "write under an expired lock",
		Sentence: "A lock that has expired is not held: its holder is refused with ErrNotHeld, and everybody else may write.",
		Check: func(e *env) {
			_, renews := lock.As[lock.Renewer](e.locker(e.a))
			e.Need("Renewer", renews)
			rev := e.create("one")
			held := e.expired(e.a)
			e.refused(rev, held.ID, isNotHeld)
			e.write(e.b, "three", at(backend.AnyRevision))
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

func isNotHeld(err error) bool { return errors.Is(err, lock.ErrNotHeld) }

// fenced has a creation, and then all else, refused while another holds the lock.
func (e *env) fenced(id string) {
	e.Helper()
	theirs := e.lock(e.b)
	e.noCreation(id, isExactlyHeld)
	e.unlock(e.b, theirs.ID)
	rev := e.create("one")
	e.lock(e.b)
	e.refused(rev, id, isExactlyHeld)
}

// noCreation creates a state with a lock ID that does not hold, where there is none, and
// leaves none.
func (e *env) noCreation(id string, right func(error) bool) {
	e.Helper()
	rev, err := e.a.Write(e.Ctx, e.ws, []byte("one"), backend.Condition{LockID: id})
	if e.rightly("Write of the first state", err, right) {
		e.stored("one", rev)
		e.Must("Delete", e.a.Delete(e.Ctx, e.ws, at(rev)))
	}
	e.missing()
}

// refused writes to and deletes the state "one" with a lock ID that does not hold, by its
// revision and by none.
func (e *env) refused(rev backend.Revision, id string, right func(error) bool) {
	e.Helper()
	data := "one"
	for _, whatever := range []backend.Revision{"", backend.AnyRevision} {
		cond := backend.Condition{Revision: cmp.Or(whatever, rev), LockID: id}
		written, err := e.a.Write(e.Ctx, e.ws, []byte("two"), cond)
		if e.rightly("Write", err, right) {
			data, rev = "two", written
		}
		e.stored(data, rev)
	}
	if e.rightly("Delete of any revision", e.a.Delete(e.Ctx, e.ws, backend.Condition{Revision: backend.AnyRevision, LockID: id}), right) {
		e.missing()
		rev = e.create(data)
	}
	if e.rightly("Delete", e.a.Delete(e.Ctx, e.ws, backend.Condition{Revision: rev, LockID: id}), right) {
		e.missing()
	} else {
		e.stored(data, rev)
	}
}

// rightly reports whether a change with a lock ID that does not hold was made. A fencing
// backend refuses it with an error that is right; another may refuse it so too, or go by
// the revision.
func (e *env) rightly(doing string, err error, right func(error) bool) (made bool) {
	e.Helper()
	wrong := err != nil && (!right(err) || errors.Is(err, backend.ErrConflict))
	if wrong || err == nil && e.target.Fenced {
		e.Fatalf("%s with a lock ID that does not hold: got error %v (Fenced: %v)", doing, err, e.target.Fenced)
	}
	return err == nil
}

// expired takes a lock, and returns when it has expired.
func (e *env) expired(b backend.Backend) lock.Info {
	e.Helper()
	info := lock.NewInfo("conformance")
	info.TTL = cmp.Or(e.target.TTL, 2*time.Second)
	l := e.locker(b)
	held, err := l.Lock(e.Ctx, e.ws, info)
	e.Must("Lock with a TTL", err)
	for e.Ctx.Err() == nil {
		if _, err := l.Holder(e.Ctx, e.ws); errors.Is(err, lock.ErrNotHeld) {
			return held
		}
		if e.ns.Advance != nil {
			e.ns.Advance(info.TTL / 4)
		} else {
			time.Sleep(info.TTL / 10)
		}
	}
	e.Fatalf("a lock of %s does not expire", info.TTL)
	return held
}
