package gcs_test

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/trial"
	"github.com/statelatch/statelatch/lock"
)

// What a server, or what is before it, answers when it is in trouble.
var (
	failing  = faultproxy.Reply{Status: 500, Body: `{"error":{"code":500,"message":"Internal Error"}}`}
	busy     = faultproxy.Reply{Status: 503, Body: "Service Unavailable"}
	throttle = faultproxy.Reply{Status: 429, Body: `{"error":{"code":429,"message":"The object exceeded the rate limit for object mutation operations."}}`}
)

// chances make about every fifth request fail.
var chances = []faultproxy.Chance{
	{P: .04, Fault: faultproxy.CutAfter()},
	{P: .03, Fault: faultproxy.CutBefore()},
	{P: .03, Fault: faultproxy.AnswerAfter(failing)},
	{P: .02, Fault: faultproxy.Answer(failing)},
	{P: .02, Fault: faultproxy.Answer(busy)},
	{P: .02, Fault: faultproxy.Answer(throttle)},
	{P: .02, Fault: faultproxy.Truncate(5)},
	{P: .02, Fault: faultproxy.Delay(5 * time.Millisecond)},
	{P: .01, Fault: faultproxy.DelayReply(5 * time.Millisecond)},
}

// twice has uploads delivered twice as well. Only a lock can stand that among others
// at work: a state that is found replaced tells nobody by which delivery.
var twice = append(slices.Clone(chances),
	faultproxy.Chance{P: .02, Fault: faultproxy.Duplicate(1)}, faultproxy.Chance{P: .02, Fault: faultproxy.Duplicate(2)})

// rounds are those of clients whose requests fail: uploads with the chances given,
// others with the usual ones.
func rounds(t *testing.T, uploads []faultproxy.Chance) trial.Rounds {
	n, stores := fakegcs.open(t), faultproxy.Method("POST")
	return trial.Rounds{Count: 1040, Shards: 16, Told: true, Clear: true, Open: func() (lock.Locker, func(uint64) trial.Client) {
		var creating sync.RWMutex
		return n.client(t, nil), func(seed uint64) trial.Client {
			c := n.client(t, nil)
			c.proxy.Add(faultproxy.Rule{Match: stores, Times: faultproxy.Always, Fault: faultproxy.Chaos(seed, uploads...)})
			c.proxy.Add(faultproxy.Rule{Match: faultproxy.Not(stores), Times: faultproxy.Always, Fault: faultproxy.Chaos(seed+1, chances...)})
			return trial.Client{Backend: &careful{c, &creating}, Proxies: []*faultproxy.Proxy{c.proxy}}
		}
	}}
}

func TestLockRounds(t *testing.T) {
	t.Parallel()
	rounds(t, twice).Locks(t)
}

func TestStateRounds(t *testing.T) {
	t.Parallel()
	rounds(t, chances).States(t)
}

// careful is a Backend that deletes no state while one is being created. Whoever
// creates one, loses the reply, and finds none because it was deleted, creates it
// again: one call does it twice, which no order of calls explains.
type careful struct {
	*client
	creating *sync.RWMutex
}

func (b *careful) Write(ctx context.Context, workspace string, data []byte, cond backend.Condition) (backend.Revision, error) {
	if cond.Revision == "" {
		b.creating.RLock()
		defer b.creating.RUnlock()
	}
	return b.client.Write(ctx, workspace, data, cond)
}

func (b *careful) Delete(ctx context.Context, workspace string, cond backend.Condition) error {
	if !b.creating.TryLock() {
		return errors.ErrUnsupported // which is not recorded
	}
	defer b.creating.Unlock()
	return b.client.Delete(ctx, workspace, cond)
}

// TestOneRequestFails has the one request that makes a change fail in each way.
func TestOneRequestFails(t *testing.T) {
	t.Parallel()
	ways := []struct {
		name  string
		fault faultproxy.Fault
		// lost: a deletion that is done cannot be told from another's.
		lost bool
	}{
		{"its reply lost", faultproxy.CutAfter(), true},
		{"its reply lost, by a reset", faultproxy.CutAfter().Reset(), true},
		{"its reply 500, though done", faultproxy.AnswerAfter(failing), true},
		{"never arriving", faultproxy.CutBefore(), false},
		{"refused by the network", faultproxy.Refuse(), false},
		{"its reply 500", faultproxy.Answer(failing), false},
		{"its reply 503", faultproxy.Answer(busy), false},
		{"its reply 429", faultproxy.Answer(throttle), false},
		{"its reply 429 with a Retry-After", faultproxy.Answer(faultproxy.Throttled(1)), false},
		{"delivered twice, the first reply lost", faultproxy.Duplicate(2), true},
	}
	methods := map[string]string{"delete": http.MethodDelete, "unlock": http.MethodDelete} // of the request, where it is not POST
	for _, c := range trial.Changes {
		method := cmp.Or(methods[c.Name], http.MethodPost)
		for _, way := range ways {
			t.Run(c.Name+", "+way.name, func(t *testing.T) {
				t.Parallel()
				n := fakegcs.open(t)
				direct, b := n.client(t, nil), n.client(t, nil)
				defer direct.Close()
				defer b.Close()
				rev, id := trial.Prepare(t, direct)
				fault := b.proxy.Add(faultproxy.Rule{Match: faultproxy.Method(method), Fault: way.fault})
				err := c.Do(t.Context(), b, backend.Condition{Revision: rev}, id)
				switch {
				case fault.Applied() != 1:
					t.Error("the fault was not met")
				case c.Name == "overwrite" && errors.Is(err, backend.ErrUnknown) && !way.lost: // is not repeated
				case method == http.MethodDelete && way.lost && way.name[0] == 'd': // the second finds nothing
				case method == http.MethodDelete && way.lost && !errors.Is(err, backend.ErrUnknown):
					t.Errorf("a deletion whose reply is lost: %v", err)
				case method == http.MethodDelete && way.lost:
				case err != nil:
					t.Error(err)
				}
				if err == nil != c.Done(t, direct) && !way.lost {
					t.Errorf("%v, and done is %t", err, c.Done(t, direct))
				}
			})
		}
	}
}
