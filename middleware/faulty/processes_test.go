package faulty_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/respawn"
	"github.com/statelatch/statelatch/local"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/middleware/faulty"
)

// A part is what a child process does; it is in the child's environment.
type part struct {
	Dir     string
	Seed    uint64
	Updates int
	Way     string
}

const partName = "STATELATCH_TEST_PART"

func TestMain(m *testing.M) {
	if os.Getenv(partName) != "" {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child updates the state, and prints its tally.
func child() error {
	var p part
	if err := json.Unmarshal([]byte(os.Getenv(partName)), &p); err != nil {
		return err
	}
	b, err := local.New(context.Background(), local.Config{WorkspaceDir: p.Dir})
	if err != nil {
		return err
	}
	defer b.Close()
	f := faulty.Wrap(b)
	f.Chaos(faulty.Any, p.Seed, 0, 0.2)
	var c tally
	for range p.Updates {
		rev, err := update(context.Background(), ways[p.Way](f))
		// A write without a lock of its own takes the file's, if nobody has it.
		for errors.As(err, new(*lock.HeldError)) && !errors.Is(err, backend.ErrUnknown) && p.Way != "locked" {
			rev, err = update(context.Background(), ways[p.Way](f))
		}
		c.count(rev, err)
	}
	if len(c.other) > 0 {
		return errors.Join(c.other...)
	}
	return json.NewEncoder(os.Stdout).Encode([]int{c.done, c.unknown, c.failed})
}

// The same as TestUpdatesWithLostReplies, by processes and on files.
func TestProcessesWithLostReplies(t *testing.T) {
	const processes, each = 8, 100
	for way := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var all tally
			var group sync.WaitGroup
			for seed := range uint64(processes) {
				group.Go(func() {
					done, unknown, failed := start(t, part{dir, seed, each, way})
					all.mu.Lock()
					defer all.mu.Unlock()
					all.done, all.unknown, all.failed = all.done+done, all.unknown+unknown, all.failed+failed
				})
			}
			group.Wait()
			b, err := local.New(t.Context(), local.Config{WorkspaceDir: dir})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			all.check(t, processes*each, counter(t, b))
			if holder, err := b.Holder(t.Context(), ws); !errors.Is(err, lock.ErrNotHeld) {
				t.Errorf("the lock is left to %v, %v", holder, err)
			}
		})
	}
}

// start runs a child and returns its tally.
func start(t *testing.T, p part) (done, unknown, failed int) {
	description, err := json.Marshal(p)
	if err != nil {
		t.Error(err)
	}
	cmd := respawn.Command(t.Context(), nil, partName+"="+string(description))
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	if err != nil {
		t.Errorf("child %d: %v", p.Seed, err)
		return 0, 0, 0
	}
	var counts [3]int
	if err := json.Unmarshal(output, &counts); err != nil {
		t.Errorf("child %d: %v in %s", p.Seed, err, output)
	}
	return counts[0], counts[1], counts[2]
}
