package faultproxy

import (
	"testing"
	"time"
)

// SetPatience lets a test on a slow machine tell waiting in vain from being slow.
func SetPatience(t *testing.T, d time.Duration) {
	before := patience
	patience = d
	t.Cleanup(func() { patience = before })
}
