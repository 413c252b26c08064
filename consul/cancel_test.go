package consul_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/trial"
	"github.com/statelatch/statelatch/lock"
)

// Each request of each method in turn hangs, before or after the server has applied
// it, until the caller gives up: then the method returns promptly, and what it says
// is true. What is still on its way arrives afterwards.
func TestCancelledAgainstAServerThatHangs(t *testing.T) {
	for name, fault := range map[string]faultproxy.Fault{
		"before":            faultproxy.Hang(),
		"before, and later": faultproxy.Hang().Late(),
		"after":             faultproxy.HangAfter(),
	} {
		for _, d := range deeds {
			t.Run(d.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				for nth := 1; d.hang(t, nth, fault); nth++ {
				}
			})
		}
	}
}

func (d deed) hang(t *testing.T, nth int, fault faultproxy.Fault) (again bool) {
	n := open(t)
	direct := n.client(t)
	rev, id := d.before(t, direct)
	b, p := n.proxied(t)
	h := p.Add(faultproxy.Rule{Nth: nth, Fault: fault})
	err, cancelled := trial.Cancel(t, 4*time.Second, func(ctx context.Context) error { return d.do(ctx, b, rev, id) }, h)
	if !cancelled { // it makes no more requests
		if err != nil {
			t.Errorf("request %d: %v", nth, err)
		}
		return false
	}
	h.Release()
	<-p.Idle()
	var unknown *lock.UnknownError
	switch done := d.done(t, direct); {
	case err == nil:
		if !done {
			t.Errorf("request %d: success, but it is not done", nth)
		}
	case !errors.Is(err, context.Canceled):
		t.Errorf("request %d: %v", nth, err)
	case errors.Is(err, backend.ErrUnknown) != done && done:
		t.Errorf("request %d: it is done, and the error is %v", nth, err)
	case errors.As(err, &unknown): // and may come late: this clears it
		if err := direct.Unlock(t.Context(), ws, unknown.ID); err != nil && !errors.Is(err, lock.ErrNotHeld) {
			t.Error(err)
		}
		if isHeld(t, direct) {
			t.Errorf("request %d: the lock is still held", nth)
		}
	}
	if left := n.sessions(t); d.name == "lock" && err != nil && left > 0 && nth > 1 {
		t.Errorf("request %d: %d sessions are left", nth, left)
	}
	// Where the tidying hangs, chunks that no index names stay. Others are all there.
	if _, err := direct.Read(t.Context(), ws); err != nil && !errors.Is(err, backend.ErrNotExist) {
		t.Errorf("request %d: %v", nth, err)
	}
	return true
}
