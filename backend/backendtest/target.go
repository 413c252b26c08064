package backendtest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/clause"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/lock/locktest"
)

// A Target is an implementation to be tested.
type Target struct {
	// New makes a fresh Namespace for one clause, or for one round of random calls;
	// t.Cleanup takes it away again. Clauses run in parallel.
	New func(t testing.TB) Namespace

	// Workspace is the one that most clauses work in: "default" if empty. Where the
	// service treats another differently, run the suite twice.
	Workspace string

	// Fenced says that a Write without lock ID is refused while another holds the
	// lock, and one with an ID that does not hold it.
	Fenced bool

	// ProcessBound says that a lock ends with the client that took it, and that no
	// other process can release it (package local).
	ProcessBound bool

	// TTL is a time to live that the service grants its locks; best its shortest. 0
	// means 2 s.
	TTL time.Duration

	// MaxSize is the largest state, in bytes, that the service takes. 0 means that
	// the suite can try 32 MiB and more.
	MaxSize int

	// Canary is a credential in the configuration, which no text may show.
	Canary string

	// Skips declares, by reasons, what is left out: a clause, by its name; one of
	// package locktest, by "lock/" and its name; or, by its own, a field of
	// Namespace, Canary, or an ability ("Locker", "Renewer", "Waiter", "Watcher").
	Skips Skips
}

// Skips are the reasons for which something is not tested.
type Skips = clause.Skips

// A Namespace is a place of its own in a service, at first empty. Each field but
// Open may be nil where Target.Skips says why.
type Namespace struct {
	// Open opens another client, with connections of its own: nothing of it may be
	// left once the suite has closed it.
	Open func(t testing.TB) backend.Backend

	// Empty puts an object of no bytes in the place of a workspace's state, as another
	// program may.
	Empty func(t testing.TB, workspace string)

	// Beside opens a second configuration as near as may be: the same bucket, and a
	// key or prefix that begins with the first one's.
	Beside func(t testing.TB) backend.Backend

	// CorruptLock puts a lock record that cannot be read in place of a workspace's.
	CorruptLock func(t testing.TB, workspace string)

	// Lossy opens a client that never gets the reply to its first request that
	// changes something: the server applies it, and the connection breaks.
	Lossy func(t testing.TB) backend.Backend

	// Hung opens a client whose requests are taken and never answered.
	Hung func(t testing.TB) backend.Backend

	// Limited opens a client that is configured to take states of up to limit bytes.
	Limited func(t testing.TB, limit int) backend.Backend

	// Unlocked opens a client that is configured not to lock.
	Unlocked func(t testing.TB) backend.Backend

	// Advance sets the clock of the service forward. Without it, the clauses about
	// expiry wait, and those that would wait too long need a skip.
	Advance func(d time.Duration)
}

// What Skips may declare, beside clauses: of a Locker, and of a Backend alone.
var (
	lockNeeds = []string{"Advance", "CorruptLock", "Hung", "Lossy", "Renewer", "Unlocked", "Waiter", "Watcher"}
	needs     = append([]string{"Beside", "Canary", "Empty", "Limited", "Locker"}, lockNeeds...)
)

// Run checks each sentence of the contract in a subtest, and those of package
// locktest in the subtests of one named lock.
func Run(t *testing.T, target Target) {
	t.Helper()
	own, ofLock := Skips{}, Skips{}
	for name, reason := range target.Skips {
		lockClause, isLock := strings.CutPrefix(name, "lock/")
		if isLock || slices.Contains(lockNeeds, name) {
			ofLock[lockClause] = reason
		}
		if !isLock {
			own[name] = reason
		}
	}
	clause.Run(t, clauses, own, needs, target.setup)
	t.Run("lock", func(t *testing.T) {
		b := target.New(t).Open(t)
		defer b.Close()
		if _, ok := backend.As[lock.Locker](b); ok {
			locktest.Run(t, target.locks(ofLock))
		} else if reason, ok := own["Locker"]; ok {
			t.Skip("declared: " + reason)
		} else {
			t.Error(`the Backend is no lock.Locker: make it one, or declare the reason in Skips["Locker"]`)
		}
	})
}

// locks is target for package locktest.
func (target Target) locks(skips Skips) locktest.Target {
	return locktest.Target{
		Workspace:    target.Workspace,
		ProcessBound: target.ProcessBound,
		TTL:          target.TTL,
		Skips:        skips,
		New: func(t testing.TB) locktest.Namespace {
			ns := target.New(t)
			return locktest.Namespace{
				Open:        lockerOf(ns.Open),
				CorruptLock: ns.CorruptLock,
				Lossy:       lockerOf(ns.Lossy),
				Hung:        lockerOf(ns.Hung),
				Unlocked:    lockerOf(ns.Unlocked),
				Advance:     ns.Advance,
			}
		},
	}
}

func lockerOf(open func(testing.TB) backend.Backend) func(testing.TB) lock.Locker {
	if open == nil {
		return nil
	}
	return func(t testing.TB) lock.Locker {
		b := open(t)
		l, ok := backend.As[lock.Locker](b)
		if !ok {
			t.Fatal("this client is no lock.Locker")
		}
		return &locker{l, b}
	}
}

// locker is the Locker of a Backend, with its abilities; it closes the Backend.
type locker struct {
	lock.Locker
	b backend.Backend
}

func (l *locker) Unwrap() lock.Locker { return l.Locker }
func (l *locker) Close() error        { return l.b.Close() }
