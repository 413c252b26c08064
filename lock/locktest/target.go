package locktest

import (
	"io"
	"testing"
	"time"

	"github.com/statelatch/statelatch/internal/clause"
	"github.com/statelatch/statelatch/lock"
)

// A Target is an implementation to be tested.
type Target struct {
	// New makes a fresh Namespace for one clause, or for one round of random calls;
	// t.Cleanup takes it away again. Clauses run in parallel.
	New func(t testing.TB) Namespace

	// Workspace is the one that most clauses work in: "default" if empty. Where the
	// service treats another differently, run the suite twice.
	Workspace string

	// ProcessBound says that a lock ends with the client that took it, and that no
	// other process can release it (package local).
	ProcessBound bool

	// TTL is a time to live that the service grants; best its shortest. 0 means 2 s.
	TTL time.Duration

	// Skips declares, by reasons, what is left out: a clause, by its name, or a
	// field of Namespace, or an ability ("Renewer", "Waiter", "Watcher"), by its own.
	Skips Skips
}

// Skips are the reasons for which something is not tested.
type Skips = clause.Skips

// A Namespace is a place of its own in a service, at first without locks. Each
// field but Open may be nil where Target.Skips says why.
type Namespace struct {
	// Open opens another client, with connections of its own. One that is an io.Closer
	// is closed when the clause ends, by the suite; nothing of it may be left then.
	Open func(t testing.TB) lock.Locker

	// CorruptLock puts a lock record that cannot be read in place of a workspace's.
	CorruptLock func(t testing.TB, workspace string)

	// Lossy opens a client that never gets the reply to its first request that
	// changes something: the server applies it, and the connection breaks.
	Lossy func(t testing.TB) lock.Locker

	// Hung opens a client whose requests are taken and never answered.
	Hung func(t testing.TB) lock.Locker

	// Unlocked opens a client that is configured not to lock.
	Unlocked func(t testing.TB) lock.Locker

	// Advance sets the clock of the service forward. Without it, the clauses about
	// expiry wait, and those that would wait too long need a skip.
	Advance func(d time.Duration)
}

// needs are the names by which Skips declares an ability.
var needs = []string{"CorruptLock", "Lossy", "Hung", "Unlocked", "Advance", "Renewer", "Waiter", "Watcher"}

// Run checks each sentence of the contract in a subtest.
func Run(t *testing.T, target Target) {
	t.Helper()
	clause.Run(t, clauses, target.Skips, needs, target.setup)
}

// env is what a clause works with: two clients of a fresh namespace.
type env struct {
	*clause.T
	target Target
	ns     Namespace
	ws     string
	a, b   lock.Locker
}

func (target Target) setup(t *clause.T) *env {
	e := &env{T: t, target: target, ns: target.New(t), ws: target.Workspace}
	if e.ws == "" {
		e.ws = "default"
	}
	e.a, e.b = e.open(e.ns.Open), e.open(e.ns.Open)
	return e
}

// open opens a client, to be closed when the clause ends.
func (e *env) open(how func(testing.TB) lock.Locker) lock.Locker {
	l := how(e.TB)
	e.Cleanup(func() { closeLocker(l) })
	return l
}

func closeLocker(l lock.Locker) {
	if c, ok := l.(io.Closer); ok {
		c.Close()
	}
}
