package trial

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
)

// Prompt is how soon a call has to return when it is cancelled: 100 ms, and more for
// a machine that has other things to do. What hangs is let go only afterwards.
const Prompt = 5 * time.Second

// Cancel makes a call, cancels it when one of the faults is reached, and ends the test
// unless it then returns within a time. It returns the call's error, and whether the
// call made so many requests.
func Cancel(t testing.TB, within time.Duration, call func(context.Context) error, faults ...*faultproxy.Handle) (err error, cancelled bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	for _, h := range faults {
		group.Go(func() {
			select {
			case <-h.Reached(): // the proxy has all of the request
				cancel()
			case <-ctx.Done():
			}
		})
	}
	result := make(chan error, 1)
	go func() { result <- call(ctx) }()
	select {
	case err := <-result:
		return err, ctx.Err() != nil
	case <-ctx.Done():
	}
	select {
	case err := <-result:
		return err, true
	case <-time.After(within):
		t.Fatalf("it has not returned %s after it was cancelled", within)
	}
	return nil, false
}

// Calls returns calls of methods that every client has, by their names, on a
// workspace that has a state and a lock. "Lock" takes another's.
func Calls[B Backend]() map[string]func(ctx context.Context, b B, workspace string, cond backend.Condition) error {
	type condition = backend.Condition
	return map[string]func(context.Context, B, string, condition) error{
		"Read": func(ctx context.Context, b B, workspace string, _ condition) error {
			_, err := b.Read(ctx, workspace)
			return err
		},
		"Stat": func(ctx context.Context, b B, workspace string, _ condition) error {
			_, err := backend.Stat(ctx, b, workspace)
			return err
		},
		"Lock": func(ctx context.Context, b B, workspace string, _ condition) error {
			_, err := b.Lock(ctx, workspace+"-new", lock.NewInfo("test"))
			return err
		},
		"Unlock": func(ctx context.Context, b B, workspace string, cond condition) error {
			return b.Unlock(ctx, workspace, cond.LockID)
		},
		"Holder": func(ctx context.Context, b B, workspace string, _ condition) error {
			_, err := b.Holder(ctx, workspace)
			return err
		},
		"List": func(ctx context.Context, b B, _ string, _ condition) error {
			for _, err := range b.List(ctx) {
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// Prepare leaves a state and a lock in workspace "old".
func Prepare(t testing.TB, b Backend) (rev backend.Revision, id string) {
	t.Helper()
	rev, err := b.Write(t.Context(), "old", []byte("old"), backend.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	held, err := b.Lock(t.Context(), "old", lock.NewInfo("test"))
	if err != nil {
		t.Fatal(err)
	}
	return rev, held.ID
}

// Changes are what every client makes, after Prepare, in workspaces "new" and "old".
var Changes = []struct {
	Name string
	// Do makes the change. cond holds for "old", which id locks.
	Do func(ctx context.Context, b Backend, cond backend.Condition, id string) error
	// Done reports whether it is to be seen.
	Done func(t testing.TB, b Backend) bool
}{
	{"create", func(ctx context.Context, b Backend, _ backend.Condition, _ string) error {
		_, err := b.Write(ctx, "new", []byte("new"), backend.Condition{})
		return err
	}, func(t testing.TB, b Backend) bool { return stored(t, b, "new") == "new" }},
	{"replace", func(ctx context.Context, b Backend, cond backend.Condition, _ string) error {
		_, err := b.Write(ctx, "old", []byte("new"), cond)
		return err
	}, func(t testing.TB, b Backend) bool { return stored(t, b, "old") == "new" }},
	{"overwrite", func(ctx context.Context, b Backend, cond backend.Condition, _ string) error {
		_, err := b.Write(ctx, "old", []byte("new"), backend.Condition{Revision: backend.AnyRevision, LockID: cond.LockID})
		return err
	}, func(t testing.TB, b Backend) bool { return stored(t, b, "old") == "new" }},
	{"delete", func(ctx context.Context, b Backend, cond backend.Condition, _ string) error {
		return b.Delete(ctx, "old", cond)
	}, func(t testing.TB, b Backend) bool { return stored(t, b, "old") == "" }},
	{"lock", func(ctx context.Context, b Backend, _ backend.Condition, _ string) error {
		_, err := b.Lock(ctx, "new", lock.NewInfo("test"))
		return err
	}, func(t testing.TB, b Backend) bool { return held(t, b, "new") }},
	{"unlock", func(ctx context.Context, b Backend, _ backend.Condition, id string) error {
		return b.Unlock(ctx, "old", id)
	}, func(t testing.TB, b Backend) bool { return !held(t, b, "old") }},
}

func stored(t testing.TB, b Backend, workspace string) string {
	t.Helper()
	st, err := b.Read(context.Background(), workspace)
	if err != nil && !errors.Is(err, backend.ErrNotExist) {
		t.Error(err)
	}
	return string(st.Data)
}

func held(t testing.TB, b Backend, workspace string) bool {
	t.Helper()
	_, err := b.Holder(context.Background(), workspace)
	if err != nil && !errors.Is(err, lock.ErrNotHeld) {
		t.Error(err)
	}
	return err == nil
}
