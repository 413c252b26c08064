package locktest

import (
	"errors"

	"github.com/statelatch/statelatch/lock"
)

var releasing = table{
	{
		Name:     "unlock",
		Sentence: "Unlock releases the lock if id holds it.",
		Check: func(e *env) {
			stored := e.lock(e.a)
			e.Must("Unlock", e.a.Unlock(e.Ctx, e.ws, stored.ID))
			e.free(e.b)
			e.lock(e.b)
		},
	},
	{
		Name:     "unlock with another ID",
		Sentence: "If another holds the lock, the error of Unlock is a *HeldError and the lock stays.",
		Check: func(e *env) {
			stored := e.lock(e.a)
			for _, id := range []string{lock.NewID(), "x", stored.ID + "x", stored.ID[1:]} {
				e.held("Unlock with another ID by the holder's client", e.a.Unlock(e.Ctx, e.ws, id), stored)
				e.held("Unlock with another ID", e.b.Unlock(e.Ctx, e.ws, id), stored)
			}
			e.holds(e.b, stored)
		},
	},
	{
		Name:     "unlock with an earlier ID",
		Sentence: "The ID of an earlier lock does not release a later one.",
		Check: func(e *env) {
			first := e.lock(e.a)
			e.Must("Unlock", e.a.Unlock(e.Ctx, e.ws, first.ID))
			second := e.lock(e.a)
			e.held("Unlock with the ID of the lock before", e.a.Unlock(e.Ctx, e.ws, first.ID), second)
			e.holds(e.b, second)
		},
	},
	{
		Name:     "unlock with an empty ID",
		Sentence: "An empty id is always an error, ErrNotHeld where nobody holds the lock and a *HeldError where somebody does.",
		Check: func(e *env) {
			e.Is("Unlock with an empty ID when nobody holds the lock", e.a.Unlock(e.Ctx, e.ws, ""), lock.ErrNotHeld)
			stored := e.lock(e.a)
			e.held("Unlock with an empty ID", e.a.Unlock(e.Ctx, e.ws, ""), stored)
			e.holds(e.b, stored)
		},
	},
	{
		Name:     "unlock when none is held",
		Sentence: "If nobody holds the lock, the error of Unlock matches ErrNotHeld: before the first lock, and the second time.",
		Check: func(e *env) {
			e.Is("Unlock before any Lock", e.a.Unlock(e.Ctx, e.ws, lock.NewID()), lock.ErrNotHeld)
			stored := e.lock(e.a)
			e.Must("Unlock", e.a.Unlock(e.Ctx, e.ws, stored.ID))
			e.Is("Unlock the second time", e.a.Unlock(e.Ctx, e.ws, stored.ID), lock.ErrNotHeld)
			e.Is("Unlock by another client after that", e.b.Unlock(e.Ctx, e.ws, stored.ID), lock.ErrNotHeld)
		},
	},
	{
		Name:     "unlock from elsewhere",
		Sentence: "A lock outlives the client that took it and is released by its ID from any other; where it ends with its process, another's Unlock is a *HeldError that matches errors.ErrUnsupported.",
		Check: func(e *env) {
			first := e.ns.Open(e.TB)
			stored := e.lock(first)
			if e.target.ProcessBound {
				err := e.b.Unlock(e.Ctx, e.ws, stored.ID)
				e.held("Unlock by another process", err, stored)
				e.Is("Unlock by another process", err, errors.ErrUnsupported)
				e.holds(e.b, stored)
				closeLocker(first)
				e.free(e.b)
				return
			}
			closeLocker(first)
			e.holds(e.b, stored)
			e.Must("Unlock by another client", e.b.Unlock(e.Ctx, e.ws, stored.ID))
			e.free(e.a)
		},
	},
	{
		Name:     "unreadable record",
		Sentence: "A lock whose record cannot be read is reported with an ID that Unlock takes as long as that record is there; it releases no later lock.",
		Check: func(e *env) {
			e.Need("CorruptLock", e.ns.CorruptLock != nil)
			e.ns.CorruptLock(e.TB, e.ws)
			_, err := e.a.Lock(e.Ctx, e.ws, e.info())
			var held *lock.HeldError
			if !errors.As(err, &held) {
				e.Fatalf("Lock over a record that cannot be read: got error %v, want a *HeldError", err)
			}
			seen, err := e.b.Holder(e.Ctx, e.ws)
			e.Must("Holder of a lock whose record cannot be read", err)
			if seen.ID == "" || seen.ID != held.Holder.ID {
				e.Errorf("the lock's ID is %q for Holder and %q for Lock", seen.ID, held.Holder.ID)
			}
			e.Must("Unlock with the ID that was reported", e.b.Unlock(e.Ctx, e.ws, seen.ID))
			e.free(e.a)
			later := e.lock(e.a)
			e.held("Unlock of a later lock with that ID", e.b.Unlock(e.Ctx, e.ws, seen.ID), later)
			e.holds(e.a, later)
		},
	},
}
