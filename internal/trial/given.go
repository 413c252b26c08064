package trial

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/statelatch/statelatch/lock"
)

// ids are the lock IDs that the callers of a round were given.
type ids struct {
	Rounds
	workspace string
	mu        sync.Mutex
	given     []string
}

// check fails the test if a lock was left whose ID no caller was given.
func (g *ids) check(t testing.TB, s *Shard) {
	t.Helper()
	s.Idle()
	if g == nil {
		return
	}
	holder, err := s.Direct.Holder(context.Background(), g.workspace)
	switch {
	case errors.Is(err, lock.ErrNotHeld):
	case err != nil:
		t.Errorf("Holder after the round: %v", err)
	case !slices.Contains(g.given, holder.ID) && !(g.Clear && slices.Contains(g.given, holder.Ref)):
		t.Errorf("lock %s of %s was left, and no caller was given its ID", holder.ID, holder.Ref)
	}
	if !g.Clear {
		return
	}
	for _, id := range g.given { // at most one holds it still
		_ = s.Direct.Unlock(context.Background(), g.workspace, id)
	}
	if holder, err := s.Direct.Holder(context.Background(), g.workspace); !errors.Is(err, lock.ErrNotHeld) {
		t.Errorf("lock %s of %s was left, %v: no ID that a caller was given clears it", holder.ID, holder.Ref, err)
	}
}

// giving is a Locker that notes which IDs it gives.
type giving struct {
	lock.Locker
	ids *ids
}

func (l *giving) Unlock(ctx context.Context, workspace, id string) error {
	l.ids.mu.Lock()
	given := slices.Contains(l.ids.given, id)
	l.ids.mu.Unlock()
	if l.ids.Told && !given {
		return errors.ErrUnsupported // which is not recorded
	}
	return l.Locker.Unlock(ctx, workspace, id)
}

func (l *giving) Lock(ctx context.Context, workspace string, info lock.Info) (lock.Info, error) {
	stored, err := l.Locker.Lock(ctx, workspace, info)
	var unknown *lock.UnknownError
	l.ids.mu.Lock()
	defer l.ids.mu.Unlock()
	if errors.As(err, &unknown) {
		l.ids.given = append(l.ids.given, unknown.ID)
	} else if err == nil {
		l.ids.given = append(l.ids.given, stored.ID)
	}
	return stored, err
}
