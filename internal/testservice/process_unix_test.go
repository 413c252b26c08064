//go:build unix

package testservice

import (
	"context"
	"testing"
	"time"
)

func TestGroup(t *testing.T) {
	s := Run(t, fake("parent"))
	s.Stop()
	until(t, "the server's child is dead too", refuses(s.Addr))
}

// until waits for the end of something that no channel tells of.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("still not after 10 s: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
