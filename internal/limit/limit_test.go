package limit_test

import (
	"math"
	"strings"
	"testing"

	"github.com/statelatch/statelatch/internal/limit"
)

func TestReadAll(t *testing.T) {
	for _, test := range []struct {
		maxSize int64
		want    string
	}{{0, "a state"}, {7, "a state"}, {6, "a state"}, {3, "a st"}, {math.MaxInt64, "a state"}} {
		for _, guess := range []int64{-1, 0, 3, 7, 100} {
			got, err := limit.ReadAll(strings.NewReader("a state"), guess, limit.Of(test.maxSize))
			if string(got) != test.want || err != nil {
				t.Errorf("max_size %d, guess %d: %q, %v; want %q", test.maxSize, guess, got, err, test.want)
			}
		}
	}
}
