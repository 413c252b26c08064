package backendtest

import (
	"flag"
	"slices"
	"testing"

	"github.com/statelatch/statelatch/internal/clause"
)

var update = flag.Bool("update", false, "write the table of mutants into docs/mutants.md")

var mutants = slices.Concat(writers, conditions, lockers, readers, listers, cutters)

// The clauses hold for the harness itself: what fails a mutant is its mutation.
func TestHarness(t *testing.T) { Run(t, target(func(*broken) {})) }

func TestMutants(t *testing.T) { clause.Prove(t, clauses, target(func(*broken) {}).setup, mutants) }

func TestMutantsAreDocumented(t *testing.T) {
	clause.Document(t, "../../docs/mutants.md", "backendtest", mutants, *update)
}

type mutant = clause.Mutant[*env]

func mutate(name, wrong string, kill []string, change func(*broken)) mutant {
	return mutant{Name: name, Wrong: wrong, Kill: kill, Setup: target(change).setup}
}
