//go:build unix

package main

import (
	"strings"
	"sync"
	"testing"
	"time"
)

const patience = 20 * time.Second

// A syncBuffer takes output, of which a test waits for the lines.
type syncBuffer struct {
	mu    sync.Mutex
	all   strings.Builder
	rest  string
	lines chan string
}

func newBuffer() *syncBuffer { return &syncBuffer{lines: make(chan string, 1000)} }

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all.Write(p)
	b.rest += string(p)
	for {
		line, rest, ok := strings.Cut(b.rest, "\n")
		if !ok {
			return len(p), nil
		}
		b.rest = rest
		b.lines <- line
	}
}

// line waits for the next line.
func (b *syncBuffer) line(t *testing.T) string {
	t.Helper()
	select {
	case line := <-b.lines:
		return line
	case <-time.After(patience):
		t.Fatalf("no further line after %q", b)
		return ""
	}
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}
