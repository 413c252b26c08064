package azblob_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/trial"
	"github.com/statelatch/statelatch/lock"
)

// What the service, or what is before it, answers when it is in trouble.
var (
	failing  = faultproxy.Reply{Status: 500, Header: map[string][]string{"X-Ms-Error-Code": {"InternalError"}}}
	busy     = faultproxy.Reply{Status: 503, Header: map[string][]string{"X-Ms-Error-Code": {"ServerBusy"}}}
	throttle = faultproxy.Reply{Status: 429}
)

// chances make about every fifth request fail.
var chances = []faultproxy.Chance{
	{P: .04, Fault: faultproxy.CutAfter()},
	{P: .03, Fault: faultproxy.CutBefore()},
	{P: .03, Fault: faultproxy.AnswerAfter(failing)},
	{P: .02, Fault: faultproxy.Answer(failing)},
	{P: .02, Fault: faultproxy.Answer(busy)},
	{P: .01, Fault: faultproxy.Answer(throttle)},
	{P: .02, Fault: faultproxy.Delay(5 * time.Millisecond)},
	{P: .01, Fault: faultproxy.DelayReply(5 * time.Millisecond)},
}

// twice has requests delivered twice as well. Only those that take a lock can stand that
// among others at work: where another has come in between, nothing tells by which
// delivery a state was written, or a lock released.
var twice = append(slices.Clone(chances),
	faultproxy.Chance{P: .02, Fault: faultproxy.Duplicate(1)}, faultproxy.Chance{P: .02, Fault: faultproxy.Duplicate(2)})

func takes(r *http.Request) bool {
	return r.Method == http.MethodPut && (r.Header.Get("X-Ms-Lease-Id") == "" && r.Header.Get("X-Ms-Lease-Action") == "" || r.Header.Get("X-Ms-Lease-Action") == "acquire")
}

// rounds are those of clients whose requests fail: those that take a lock with the
// chances given, others with the usual ones.
func rounds(t *testing.T, taking []faultproxy.Chance) trial.Rounds {
	n := newNamespace(t, false)
	return trial.Rounds{Count: 1000, Shards: 20, Open: func() (lock.Locker, func(uint64) trial.Client) {
		return n.client(t, nil), func(seed uint64) trial.Client {
			p := n.proxy(t,
				faultproxy.Rule{Match: takes, Times: faultproxy.Always, Fault: faultproxy.Chaos(seed, taking...)},
				faultproxy.Rule{Match: faultproxy.Not(takes), Times: faultproxy.Always, Fault: faultproxy.Chaos(seed+1, chances...)})
			return trial.Client{Backend: n.client(t, p), Proxies: []*faultproxy.Proxy{p}}
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
