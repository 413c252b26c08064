package backendtest

import (
	"fmt"
	"iter"
	"slices"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/clause"
	"github.com/statelatch/statelatch/lock"
)

var lists = table{
	{
		Name:     "list of none",
		Sentence: "DefaultWorkspace is listed only if it has a state; a lock is none.",
		Check: func(e *env) {
			e.listed()
			if l, ok := backend.As[lock.Locker](e.a); ok {
				_, err := l.Lock(e.Ctx, backend.DefaultWorkspace, lock.NewInfo("conformance"))
				e.Must("Lock", err)
				e.listed()
			}
		},
	},
	{
		Name:     "list after write",
		Sentence: "List yields the name of each workspace once, from the moment when its state was written; DefaultWorkspace until its state was deleted.",
		Check: func(e *env) {
			names := []string{backend.DefaultWorkspace, "prod", "stage"}
			for i, name := range names {
				e.in(name, e.a, "one")
				e.listed(names[:i+1]...)
				e.in(name, e.b, "two")
				e.listed(names[:i+1]...)
			}
			e.Must("Delete", e.a.Delete(e.Ctx, backend.DefaultWorkspace, at(backend.AnyRevision)))
			e.listed(names[1:]...)
		},
	},
	{
		Name:     "look-alikes",
		Sentence: "Names that begin like another, like DefaultWorkspace, or like the service's own prefixes and suffixes are names.",
		Check: func(e *env) {
			names := []string{"a", "a-", "a.", "a.b", "aa", "ab", "default-2", "defaul", "default.tfstate", "env:", "env:a", "tfstate", "a.tfstate", "a.tflock", "a.tfstate.lock", "a-env:", "a-md5"}
			for _, name := range names {
				e.in(name, e.a, name)
			}
			e.listed(names...)
			for _, name := range names[1:] {
				st, err := e.b.Read(e.Ctx, name)
				if e.Must("Read", err); string(st.Data) != name {
					e.Errorf("workspace %q has the state of %q", name, st.Data)
				}
			}
		},
	},
	{
		Name:     "many workspaces",
		Sentence: "List yields every workspace, however many there are.",
		Check: func(e *env) {
			names := make([]string, 1100) // services list 1,000 or fewer at a time
			for i := range names {
				names[i] = fmt.Sprintf("many-%04d", i)
			}
			const writers = 16
			errs := clause.Race(writers, func(first int) error {
				for i := first; i < len(names); i += writers {
					if _, err := e.either(i).Write(e.Ctx, names[i], []byte(names[i]), backend.Condition{}); err != nil {
						return err
					}
				}
				return nil
			})
			for _, err := range errs {
				e.Must("Write", err)
			}
			e.listed(names...)
		},
	},
	{
		Name:     "second configuration beside it",
		Sentence: "A Backend sees the workspaces of its own configuration only.",
		Check: func(e *env) {
			e.Need("Beside", e.ns.Beside != nil)
			beside := e.open(e.ns.Beside)
			for _, name := range []string{backend.DefaultWorkspace, "both"} {
				e.in(name, e.a, "ours")
				e.in(name, beside, "theirs")
			}
			e.in("ours", e.a, "ours")
			e.in("theirs", beside, "theirs")
			e.listed(backend.DefaultWorkspace, "both", "ours")
			for b, data := range map[backend.Backend]string{e.b: "ours", beside: "theirs"} {
				for _, name := range []string{backend.DefaultWorkspace, "both", data} {
					st, err := b.Read(e.Ctx, name)
					if e.Must("Read", err); string(st.Data) != data {
						e.Errorf("workspace %q has state %q, want %q", name, st.Data, data)
					}
				}
			}
		},
	},
	{
		Name:     "stop in mid-iteration",
		Sentence: "An iteration of List may be left at any point, and started again.",
		Check: func(e *env) {
			names := []string{"a", "b", "c"}
			for _, name := range names {
				e.in(name, e.a, name)
			}
			seq := e.a.List(e.Ctx)
			for stop := range len(names) {
				seen := 0
				for _, err := range seq {
					if e.Must("List", err); seen == stop {
						break
					}
					seen++
				}
				if seen != stop {
					e.Errorf("List: %d names, want at least %d", seen, stop)
				}
			}
			e.once(seq, names...)
		},
	},
	{
		Name:     "list beside changes",
		Sentence: "A workspace that exists throughout the iteration is listed, once, while others come and go.",
		Check: func(e *env) {
			var stay []string
			for i := range 20 {
				stay = append(stay, fmt.Sprintf("m-%02d", i))
				e.in(stay[i], e.a, "stays")
			}
			for _, first := range []string{"a", "z"} { // what goes, and comes, first
				for i := range 10 {
					e.in(fmt.Sprint(first, i), e.a, "goes")
				}
				var seen []string
				for name, err := range e.a.List(e.Ctx) {
					e.Must("List", err)
					other := fmt.Sprint(first, len(seen)%10)
					if err := e.b.Delete(e.Ctx, other, at(backend.AnyRevision)); err != nil {
						e.in(other, e.b, "comes")
					}
					seen = append(seen, name)
				}
				for _, name := range stay {
					if n := count(seen, name); n != 1 {
						e.Errorf("List yielded %q %d times, which was there throughout; it yielded %q", name, n, seen)
					}
				}
			}
		},
	},
}

func count(names []string, name string) (n int) {
	for i := range names {
		if names[i] == name {
			n++
		}
	}
	return n
}

// in writes a state to another workspace.
func (e *env) in(workspace string, b backend.Backend, data string) {
	e.Helper()
	_, err := b.Write(e.Ctx, workspace, []byte(data), at(backend.AnyRevision))
	e.Must("Write to "+workspace, err)
}

// list returns what an iteration of List yields, and fails the test if that is an
// error, or a name twice.
func (e *env) list(seq iter.Seq2[string, error]) []string {
	e.Helper()
	var names []string
	for name, err := range seq {
		e.Must("List", err)
		names = append(names, name)
	}
	slices.Sort(names)
	for i := 1; i < len(names); i++ {
		if names[i] == names[i-1] {
			e.Errorf("List: %q came more than once", names[i])
		}
	}
	return names
}

// once fails the test unless the iteration yields those names, once each.
func (e *env) once(seq iter.Seq2[string, error], names ...string) {
	e.Helper()
	got, want := e.list(seq), slices.Sorted(slices.Values(names))
	if slices.Equal(got, want) {
		return
	}
	in := func(of []string) func(string) bool {
		return func(name string) bool { return slices.Contains(of, name) }
	}
	missing := slices.DeleteFunc(slices.Clone(want), in(got))
	more := slices.DeleteFunc(slices.Clone(got), in(want))
	e.Errorf("List: %d names, want %d; missing %.5q, and not expected %.5q", len(got), len(want), missing, more)
}

// listed fails the test unless those are the names that both clients list.
func (e *env) listed(names ...string) {
	e.Helper()
	e.once(e.a.List(e.Ctx), names...)
	e.once(e.b.List(e.Ctx), names...)
}
