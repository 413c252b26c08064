package backendtest

import (
	"bytes"
	"slices"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/clause"
	"github.com/statelatch/statelatch/lock"
)

// clauses is the contract of a Backend, sentence by sentence.
var clauses = slices.Concat(revisions, races, fences, values, lists, contexts, errorShapes, linear)

type table = []clause.Clause[*env]

// env is what a clause works with: two clients of a fresh namespace.
type env struct {
	*clause.T
	target Target
	ns     Namespace
	ws     string
	a, b   backend.Backend
}

func (target Target) setup(t *clause.T) *env {
	e := &env{T: t, target: target, ns: target.New(t), ws: target.Workspace}
	if e.ws == "" {
		e.ws = backend.DefaultWorkspace
	}
	e.a, e.b = e.open(e.ns.Open), e.open(e.ns.Open)
	return e
}

// open opens a client, to be closed when the clause ends.
func (e *env) open(how func(testing.TB) backend.Backend) backend.Backend {
	b := how(e.TB)
	e.Cleanup(func() { b.Close() })
	return b
}

// write must succeed.
func (e *env) write(b backend.Backend, data string, cond backend.Condition) backend.Revision {
	e.Helper()
	rev, err := b.Write(e.Ctx, e.ws, []byte(data), cond)
	e.Must("Write", err)
	if rev == "" || rev == backend.AnyRevision {
		e.Fatalf("Write returned revision %q, which names no stored value", rev)
	}
	return rev
}

// create writes the first state.
func (e *env) create(data string) backend.Revision {
	e.Helper()
	return e.write(e.a, data, backend.Condition{})
}

// stored fails the test unless both clients read that state.
func (e *env) stored(data string, rev backend.Revision) {
	e.Helper()
	for _, b := range []backend.Backend{e.a, e.b} {
		st, err := b.Read(e.Ctx, e.ws)
		if err != nil {
			e.Errorf("Read: %v", err)
		} else if !bytes.Equal(st.Data, []byte(data)) || st.Revision != rev {
			e.Errorf("Read: got %s with revision %q, want %s with revision %q", brief(st.Data), st.Revision, brief([]byte(data)), rev)
		}
	}
}

// missing fails the test unless both clients read that there is no state.
func (e *env) missing() {
	e.Helper()
	for _, b := range []backend.Backend{e.a, e.b} {
		_, err := b.Read(e.Ctx, e.ws)
		e.Is("Read where there is no state", err, backend.ErrNotExist)
	}
}

// brief shows the beginning of a state.
func brief(data []byte) string {
	const most = 40
	if len(data) > most {
		return string(bytes.ToValidUTF8(data[:most], []byte("?"))) + "…"
	}
	return string(data)
}

// locker returns the Locker of b, which must be one.
func (e *env) locker(b backend.Backend) lock.Locker {
	e.Helper()
	l, ok := backend.As[lock.Locker](b)
	e.Need("Locker", ok)
	return l
}

// lock takes the lock, which must be free.
func (e *env) lock(b backend.Backend) lock.Info {
	e.Helper()
	info, err := e.locker(b).Lock(e.Ctx, e.ws, lock.NewInfo("conformance"))
	e.Must("Lock", err)
	return info
}

// unlock releases the lock.
func (e *env) unlock(b backend.Backend, id string) {
	e.Helper()
	e.Must("Unlock", e.locker(b).Unlock(e.Ctx, e.ws, id))
}

// at is the condition that a revision is there.
func at(rev backend.Revision) backend.Condition { return backend.Condition{Revision: rev} }
