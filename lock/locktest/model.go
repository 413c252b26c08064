package locktest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/statelatch/statelatch/internal/clause"
	"github.com/statelatch/statelatch/lock"
)

// A History records calls of Lock, Unlock and Holder, and checks that they are
// linearizable. Calls whose outcome is unknown count as taking effect at any later
// time, or never. The zero History is ready; it may be used by several goroutines.
type History struct{ log clause.History }

// Client returns l, recorded as the client of that number.
func (h *History) Client(l lock.Locker, number int) lock.Locker { return &recorded{l, h, number} }

// Check fails the test unless the recorded calls are linearizable for each
// workspace. All of them must have returned.
func (h *History) Check(t testing.TB) {
	t.Helper()
	clause.Check(t, &h.log, clause.Model[mutex, call, reply]{Step: step, Partition: func(c call) string { return c.workspace }})
}

// A call is one of a Locker's methods on a workspace; id is Unlock's.
type call struct{ method, workspace, id string }

func (c call) String() string { return fmt.Sprintf("%s(%s)", c.method, c.id) }

// A reply is "ok" with the ID that is locked or holds, and the caller's own where the
// service imposes another; "held" with the holder's IDs; "free"; or "unknown".
type reply struct{ outcome, id, ref string }

func (r reply) String() string { return r.outcome + " " + r.id + " " + r.ref }

// mutex is what is known of a lock's state. The zero mutex is not known at all.
type mutex struct {
	state string // "held", "free" or, before the first reply, ""
	id    string // where held: the holder's ID; "" if no reply has told it
	ref   string // and its own ID, where the service imposes another: Unlock may take both
}

// step is the specification of a lock.
func step(m mutex, c call, r reply) (mutex, bool) {
	free := m.state != "held"
	heldBy := func(id string) bool {
		return m.state == "" || m.state == "held" && (m.id == id || m.id == "" || vague(id))
	}
	opens := func(id string) bool { return heldBy(id) || m.state == "held" && m.ref == id && id != "" }
	after := func(r reply) mutex { // what a report of the holder leaves known
		if vague(r.id) {
			r.id, r.ref = m.id, m.ref
		}
		return mutex{"held", r.id, r.ref}
	}
	switch c.method + " " + r.outcome {
	case "Lock ok":
		return mutex{"held", r.id, r.ref}, free
	case "Lock unknown": // its ID is the caller's, and the service may impose another
		if free {
			return mutex{"held", "", ""}, true
		}
		return m, true
	case "Unlock ok":
		return mutex{"free", "", ""}, opens(c.id)
	case "Unlock unknown":
		if opens(c.id) {
			return mutex{"free", "", ""}, true
		}
		return m, true
	case "Unlock held":
		return after(r), heldBy(r.id) && r.id != c.id && (r.ref != c.id || c.id == "")
	case "Lock held", "Holder ok":
		return after(r), heldBy(r.id)
	default: // "Unlock free", "Holder free"
		return mutex{"free", "", ""}, m.state != "held"
	}
}

// vague says that an ID tells nothing: the record was not there yet, or not any
// longer, when it was looked at.
func vague(id string) bool { return id == "" || strings.HasPrefix(id, "unreadable-") }

// recorded is a Locker whose calls are recorded.
type recorded struct {
	l      lock.Locker
	h      *History
	number int
}

// Unwrap returns the Locker itself, for its other abilities.
func (r *recorded) Unwrap() lock.Locker { return r.l }

func (r *recorded) Lock(ctx context.Context, workspace string, info lock.Info) (lock.Info, error) {
	start := r.h.log.Started()
	stored, err := r.l.Lock(ctx, workspace, info)
	r.ended(start, call{"Lock", workspace, ""}, stored, err)
	return stored, err
}

func (r *recorded) Unlock(ctx context.Context, workspace, id string) error {
	start := r.h.log.Started()
	err := r.l.Unlock(ctx, workspace, id)
	r.ended(start, call{"Unlock", workspace, id}, lock.Info{}, err)
	return err
}

func (r *recorded) Holder(ctx context.Context, workspace string) (lock.Info, error) {
	start := r.h.log.Started()
	holder, err := r.l.Holder(ctx, workspace)
	r.ended(start, call{"Holder", workspace, ""}, holder, err)
	return holder, err
}

// ended records a call. One that failed for another reason has changed and told
// nothing: its contract says so, and the calls after it will show it.
func (r *recorded) ended(start int64, c call, info lock.Info, err error) {
	var held *lock.HeldError
	unknown := errors.Is(err, lock.ErrUnknown)
	switch {
	case errors.Is(err, errors.ErrUnsupported): // such as another process's lock
	case err == nil:
		r.h.log.Ended(r.number, start, c, reply{"ok", info.ID, info.Ref}, false)
	case unknown && c.method != "Holder":
		r.h.log.Ended(r.number, start, c, reply{"unknown", "", ""}, true)
	case errors.As(err, &held):
		r.h.log.Ended(r.number, start, c, reply{"held", held.Holder.ID, held.Holder.Ref}, false)
	case errors.Is(err, lock.ErrNotHeld):
		r.h.log.Ended(r.number, start, c, reply{"free", "", ""}, false)
	}
}
