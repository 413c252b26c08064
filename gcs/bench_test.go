package gcs_test

import (
	"testing"

	"github.com/statelatch/statelatch/backend/backendtest"
)

func Benchmark(b *testing.B) { backendtest.Benchmarks(b, fakegcs.target("")) }
