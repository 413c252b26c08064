package backendtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/clause"
)

// A History records calls of Read, Stat, Write and Delete, and checks that they are
// linearizable. Calls whose outcome is unknown count as taking effect at any later
// time, or never. The zero History is ready; it may be used by several goroutines.
type History struct {
	log     clause.History
	remakes bool // a creation may take effect twice; see Rounds
}

// Client returns b, recorded as the client of that number.
func (h *History) Client(b backend.Backend, number int) backend.Backend {
	return &recorded{b, h, number}
}

// Check fails the test unless the recorded calls are linearizable for each
// workspace. All of them must have returned.
func (h *History) Check(t testing.TB) {
	t.Helper()
	clause.Check(t, &h.log, clause.Model[register, call, reply]{Step: step, Partition: func(c call) string { return c.workspace }})
}

// A call is one of a Backend's methods on a workspace; data is a digest of Write's.
type call struct {
	method, workspace string
	rev               backend.Revision
	data              string
}

func (c call) String() string { return fmt.Sprintf("%s(%s, if %q)", c.method, c.data, c.rev) }

// A reply is "ok", with what the method returns; "none", where there is no state;
// "conflict"; or "unknown".
type reply struct {
	outcome string
	rev     backend.Revision
	data    string
}

func (r reply) String() string { return fmt.Sprintf("%s %q %s", r.outcome, r.rev, r.data) }

// register is what is known of a stored state. The zero register is not known at
// all.
type register struct {
	state string           // "some", "none" or, before the first reply, ""
	rev   backend.Revision // where some: its revision; "" if no reply has told it
	data  string           // where some: a digest; "" if no reply has told it
}

var empty = register{state: "none"}

// step is the specification of a register that compares and swaps.
func step(s register, c call, r reply) (register, bool) {
	maybeSome, maybeNone := s.state != "none", s.state != "some"
	isAt := func(rev backend.Revision) bool { return maybeSome && (s.rev == "" || s.rev == rev) }
	holds := c.rev == "" && maybeNone || // may it hold?
		c.rev == backend.AnyRevision && (maybeSome || c.method == "Write") ||
		c.rev != "" && isAt(c.rev)
	fails := c.rev != backend.AnyRevision && // may it fail?
		(c.rev == "" && maybeSome || c.rev != "" && (maybeNone || s.rev != c.rev))
	after := register{"some", r.rev, c.data}
	if c.method == "Delete" {
		holds, fails, after = holds && maybeSome && c.rev != "", fails && maybeSome, empty
	}
	switch c.method + " " + r.outcome {
	case "Read ok":
		return register{"some", r.rev, r.data}, isAt(r.rev) && (s.data == "" || s.data == r.data)
	case "Stat ok":
		return register{"some", r.rev, s.data}, isAt(r.rev)
	case "Read none", "Stat none", "Delete none":
		return empty, maybeNone
	case "Write ok", "Delete ok":
		return after, holds
	case "Write conflict", "Delete conflict":
		return s, fails
	default: // unknown
		if holds {
			return after, true
		}
		return s, true
	}
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return fmt.Sprintf("%x", sum[:4])
}

// recorded is a Backend whose calls are recorded.
type recorded struct {
	backend.Backend
	h      *History
	number int
}

// Unwrap returns the Backend itself, for its other abilities.
func (r *recorded) Unwrap() backend.Backend { return r.Backend }

func (r *recorded) Read(ctx context.Context, workspace string) (backend.State, error) {
	start := r.h.log.Started()
	st, err := r.Backend.Read(ctx, workspace)
	r.ended(start, call{method: "Read", workspace: workspace}, st.Revision, digest(st.Data), err)
	return st, err
}

func (r *recorded) Stat(ctx context.Context, workspace string) (backend.Revision, error) {
	start := r.h.log.Started()
	rev, err := backend.Stat(ctx, r.Backend, workspace)
	r.ended(start, call{method: "Stat", workspace: workspace}, rev, "", err)
	return rev, err
}

func (r *recorded) Write(ctx context.Context, workspace string, data []byte, cond backend.Condition) (backend.Revision, error) {
	start := r.h.log.Started()
	rev, err := r.Backend.Write(ctx, workspace, data, cond)
	r.ended(start, call{"Write", workspace, cond.Revision, digest(data)}, rev, "", err)
	return rev, err
}

func (r *recorded) Delete(ctx context.Context, workspace string, cond backend.Condition) error {
	start := r.h.log.Started()
	err := r.Backend.Delete(ctx, workspace, cond)
	r.ended(start, call{"Delete", workspace, cond.Revision, ""}, "", "", err)
	return err
}

// ended records a call. One that failed for another reason has changed and told
// nothing: its contract says so, and the calls after it will show it.
func (r *recorded) ended(start int64, c call, rev backend.Revision, data string, err error) {
	end := func(outcome string, unknown bool) {
		r.h.log.Ended(r.number, start, c, reply{outcome, rev, data}, unknown)
	}
	changes := c.method == "Write" || c.method == "Delete"
	switch {
	case err == nil:
		if end("ok", false); r.h.remakes && c.method == "Write" && c.rev == "" {
			rev = "" // of what it had made before, for which no reply stands
			end("unknown", true)
		}
	case errors.Is(err, backend.ErrUnknown):
		if rev = ""; changes {
			end("unknown", true)
		}
	case errors.Is(err, backend.ErrNotExist):
		end("none", false)
	case errors.Is(err, backend.ErrConflict):
		end("conflict", false)
	}
}
