package locktest

import (
	"slices"

	"github.com/statelatch/statelatch/internal/clause"
)

// clauses is the contract of a Locker, sentence by sentence.
var clauses = slices.Concat(holding, releasing, faults, waiting, expiry, linear)

type table = []clause.Clause[*env]
