package tftest

import (
	"context"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/statefile"

	"github.com/google/go-cmp/cmp"
)

// A Fixture is one place for states, which nobody has used yet, and the two ways
// to it.
type Fixture struct {
	// Backend is the backend block through which the program gets there.
	Backend string
	// Env are the variables that it needs ("AWS_REGION=…").
	Env []string
	// Ours is our client of the same place; it is a lock.Locker. Interop closes it.
	Ours backend.Backend

	// ProcessBound: a lock ends with the process that took it, and no other
	// process can release it.
	ProcessBound bool
	// LeavesEmpty: a workspace that we delete becomes an empty state, which they list
	// until they delete it too.
	LeavesEmpty bool
	// Waiting, if not nil, returns when a command that has said that it waits for
	// the lock does all that makes up waiting.
	Waiting func(*Process)
	// Proxies are those through which the program's requests go, if any. A program
	// that is refused a lock asks whose it is, and if it is gone by then, gives up; so a
	// lock is released only between two attempts.
	Proxies []*faultproxy.Proxy
}

// Interop proves that a program and one of our backends see the same states,
// workspaces and locks. fixture is called once for each subtest; the subtests run
// in parallel.
func Interop(t *testing.T, p *Program, fixture func(t *testing.T) Fixture) {
	for _, c := range []struct {
		name string
		run  func(*scene)
	}{
		{"we read what they applied and they plan no change to what we wrote", states},
		{"their apply stops us, and we see who it is", theyHold},
		{"our lock stops them, and they see who we are", weHold},
		{"their waiting apply goes on from the state that we wrote meanwhile", theyWait},
		{"we release their lock by its ID", weRelease},
		{"they release our lock by its ID", theyRelease},
		{"workspaces are the same on both sides", workspaces},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(newScene(t, p, fixture(t)))
		})
	}
}

// A scene is where one subtest plays.
type scene struct {
	*testing.T
	Fixture
	locks  lock.Locker // ours
	theirs *Dir
}

func newScene(t *testing.T, p *Program, f Fixture) *scene {
	s := &scene{T: t, Fixture: f}
	t.Cleanup(func() {
		if err := f.Ours.Close(); err != nil {
			t.Error(err)
		}
	})
	var ok bool
	if s.locks, ok = backend.As[lock.Locker](f.Ours); !ok {
		t.Fatalf("%T is no lock.Locker", f.Ours)
	}
	s.theirs = p.Dir(t, Config{Backend: f.Backend}, f.Env...)
	return s
}

// apply lets them apply a configuration of so many resources.
func (s *scene) apply(count int, word string) {
	s.Helper()
	s.configure(count, word, "")
	s.theirs.Must("apply", "-auto-approve")
}

func (s *scene) configure(count int, word, gate string) {
	s.Helper()
	s.theirs.Configure(Config{Backend: s.Backend, Count: count, Word: word, Gate: gate})
}

// noChange lets them plan the configuration: the state has to match it.
func (s *scene) noChange(count int, word string) {
	s.Helper()
	s.configure(count, word, "")
	s.theirs.Must("plan", "-detailed-exitcode")
}

// read reads a state, which has to be whole, with these words in it.
func (s *scene) read(workspace string, words ...string) (backend.State, statefile.Header) {
	s.Helper()
	st, err := s.Ours.Read(s.Context(), workspace)
	if err != nil {
		s.Fatal(err)
	}
	got, err := Words(st.Data)
	if err != nil {
		s.Fatal(err)
	}
	if diff := cmp.Diff(words, got); diff != "" {
		s.Errorf("words in the state of workspace %q (-want +got):\n%s", workspace, diff)
	}
	return st, s.header(st.Data)
}

func (s *scene) header(data []byte) statefile.Header {
	s.Helper()
	h, err := statefile.ReadHeader(data)
	if err != nil {
		s.Fatalf("%v:\n%s", err, data)
	}
	return h
}

// update is how a tool of ours changes one word of a state to another; meanwhile
// is called while it holds the lock and has read the state.
func (s *scene) update(from, to string, meanwhile func()) statefile.Header {
	s.Helper()
	var wrote []byte
	_, err := backend.Update(s.Context(), s.Ours, backend.DefaultWorkspace, ourInfo(), lock.Options{},
		func(_ context.Context, current backend.State) (_ []byte, err error) {
			meanwhile()
			wrote, err = Reword(current.Data, from, to)
			return wrote, err
		})
	if err != nil {
		s.Fatal(err)
	}
	return s.header(wrote)
}
