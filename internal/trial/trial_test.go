package trial

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/statelatch/statelatch/internal/clause"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/memory"
)

// silent is a Backend that takes a lock, says that it failed, and perhaps of which ID
// nobody knows whether it holds it.
type silent struct {
	*memory.Backend
	unknown bool
}

func (b *silent) Lock(ctx context.Context, workspace string, info lock.Info) (lock.Info, error) {
	stored, err := b.Backend.Lock(ctx, workspace, info)
	if err == nil && b.unknown {
		return lock.Info{}, &lock.UnknownError{Workspace: workspace, ID: stored.ID, Err: errors.New("lost")}
	}
	return lock.Info{}, errors.Join(err, errors.New("lost"))
}

// TestLocksNotice has locks left in rounds: that is a failure if nobody was told.
func TestLocksNotice(t *testing.T) {
	for name, test := range map[string]struct {
		rounds  Rounds
		unknown bool
		fails   bool
	}{
		"not told":            {Rounds{}, false, true},
		"not told, and clear": {Rounds{Clear: true}, false, true},
		"told":                {Rounds{}, true, false},
		"told, and clear":     {Rounds{Clear: true}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			said, failed := clause.Try(t, time.Minute, func(t testing.TB) {
				s, g := &Shard{Direct: memory.New()}, &ids{Rounds: test.rounds, workspace: "default"}
				l := &giving{&silent{s.Direct.(*memory.Backend), test.unknown}, g}
				l.Lock(t.Context(), g.workspace, lock.NewInfo("test"))
				g.check(t, s)
			})
			if failed != test.fails {
				t.Errorf("failed is %t: %s", failed, said)
			}
		})
	}
}

// TestTold: no lock is broken before the one who takes it was told.
func TestTold(t *testing.T) {
	b := memory.New()
	stored, err := b.Lock(t.Context(), "default", lock.NewInfo("test"))
	if err != nil {
		t.Fatal(err)
	}
	for _, told := range []bool{true, false} {
		l := &giving{b, &ids{Rounds: Rounds{Told: told}}}
		if err := l.Unlock(t.Context(), "default", stored.ID); errors.Is(err, errors.ErrUnsupported) != told {
			t.Errorf("Told is %t: %v", told, err)
		}
	}
}

// TestCancel has calls that make a request, and may return when they are cancelled.
func TestCancel(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	for name, test := range map[string]struct {
		nth              int // which request hangs; the call makes one
		stubborn         bool
		fails, cancelled bool
	}{
		"returns":       {1, false, false, true},
		"does not":      {1, true, true, false},
		"makes no such": {2, false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := faultproxy.New(t, server.URL)
			hung := p.Add(faultproxy.Rule{Nth: test.nth, Fault: faultproxy.Hang()})
			var err error
			var cancelled bool
			said, failed := clause.Try(t, time.Minute, func(t testing.TB) {
				err, cancelled = Cancel(t, Prompt, func(ctx context.Context) error {
					if test.stubborn {
						ctx = context.WithoutCancel(ctx)
					}
					return get(ctx, p.URL())
				}, hung)
			})
			if failed != test.fails || cancelled != test.cancelled || errors.Is(err, context.Canceled) != cancelled {
				t.Errorf("returned %v, %t, and failed is %t: %s", err, cancelled, failed, said)
			}
		})
	}
}

func get(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	return reply.Body.Close()
}
