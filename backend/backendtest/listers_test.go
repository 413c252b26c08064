package backendtest

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/statelatch/statelatch/backend"
)

// Mutants that list wrongly.
var listers = []mutant{
	mutate("default always listed", "List yields DefaultWorkspace although it has no state.",
		[]string{"list of none"},
		names(func(b *broken, names []string) []string {
			if !slices.Contains(names, backend.DefaultWorkspace) {
				names = append(names, backend.DefaultWorkspace)
			}
			return names
		})),
	mutate("list remembered", "List yields what it yielded first.",
		[]string{"list after write"},
		func(b *broken) {
			var first []string
			names(func(_ *broken, names []string) []string {
				if first == nil {
					first = names
				}
				return first
			})(b)
		}),
	mutate("listed twice", "List yields a name twice where pages meet.",
		[]string{"list after write", "many workspaces"},
		names(func(_ *broken, names []string) []string {
			if len(names) > 2 {
				names = slices.Insert(names, 2, names[1])
			}
			return names
		})),
	mutate("first page only", "List yields 1,000 names at most.",
		[]string{"many workspaces"},
		names(func(_ *broken, names []string) []string { return names[:min(len(names), 1000)] })),
	mutate("prefix look-alikes", "List leaves out names that begin like a default one.",
		[]string{"look-alikes"},
		names(func(_ *broken, names []string) []string {
			return slices.DeleteFunc(names, func(name string) bool {
				return name != backend.DefaultWorkspace && strings.HasPrefix(name, backend.DefaultWorkspace)
			})
		})),
	mutate("suffix cut", "List cuts what looks like its own suffix.",
		[]string{"look-alikes", "valid names"},
		names(func(_ *broken, names []string) []string {
			for i, name := range names {
				names[i] = strings.TrimSuffix(name, ".tfstate")
			}
			return names
		})),
	mutate("list of everything", "List yields the workspaces of another configuration too.",
		[]string{"second configuration beside it"},
		names(func(b *broken, names []string) []string {
			for name := range b.beside.List(context.Background()) {
				if !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
			return names
		})),
	mutate("cannot stop", "List goes on when its iteration is left.",
		[]string{"stop in mid-iteration"},
		func(b *broken) {
			b.list = func(ctx context.Context) iter.Seq2[string, error] {
				return func(yield func(string, error) bool) {
					for name, err := range b.service.List(ctx) {
						yield(name, err)
					}
				}
			}
		}),
	mutate("list used up", "An iteration of List can be run once.",
		[]string{"stop in mid-iteration"},
		func(b *broken) {
			b.list = func(ctx context.Context) iter.Seq2[string, error] {
				next, stop := iter.Pull2(b.service.List(ctx))
				context.AfterFunc(b.t.Context(), stop)
				return func(yield func(string, error) bool) {
					for name, err, ok := next(); ok && yield(name, err); name, err, ok = next() {
					}
				}
			}
		}),
	mutate("pages by number", "List fetches pages by number, which move when others come and go.",
		[]string{"list beside changes"},
		func(b *broken) {
			b.list = func(ctx context.Context) iter.Seq2[string, error] {
				return func(yield func(string, error) bool) {
					for page := 0; ; page++ {
						var names []string
						for name, err := range b.service.List(ctx) {
							if err != nil {
								yield("", err)
								return
							}
							names = append(names, name)
						}
						slices.Sort(names)
						if page == len(names) || page < len(names) && !yield(names[page], nil) {
							return
						}
					}
				}
			}
		}),
}

// names changes the names that List yields.
func names(change func(b *broken, names []string) []string) func(*broken) {
	return func(b *broken) {
		b.list = func(ctx context.Context) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				var names []string
				for name, err := range b.service.List(ctx) {
					if err != nil {
						yield("", err)
						return
					}
					names = append(names, name)
				}
				slices.Sort(names)
				for _, name := range change(b, names) {
					if !yield(name, nil) {
						return
					}
				}
			}
		}
	}
}
