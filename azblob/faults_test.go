package azblob_test

import (
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

// rounds are those of clients about every fifth of whose requests fails.
func rounds(t *testing.T) trial.Rounds {
	n := newNamespace(t, false)
	return trial.Rounds{Count: 1000, Shards: 20, Open: func() (lock.Locker, func(uint64) trial.Client) {
		return n.client(t, nil), func(seed uint64) trial.Client {
			p := n.proxy(t, faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Chaos(seed,
				faultproxy.Chance{P: .04, Fault: faultproxy.CutAfter()},
				faultproxy.Chance{P: .03, Fault: faultproxy.CutBefore()},
				faultproxy.Chance{P: .03, Fault: faultproxy.AnswerAfter(failing)},
				faultproxy.Chance{P: .02, Fault: faultproxy.Answer(failing)},
				faultproxy.Chance{P: .02, Fault: faultproxy.Answer(busy)},
				faultproxy.Chance{P: .01, Fault: faultproxy.Answer(throttle)},
				faultproxy.Chance{P: .02, Fault: faultproxy.Delay(5 * time.Millisecond)},
				faultproxy.Chance{P: .01, Fault: faultproxy.DelayReply(5 * time.Millisecond)},
			)})
			return trial.Client{Backend: n.client(t, p), Proxies: []*faultproxy.Proxy{p}}
		}
	}}
}

func TestLockRounds(t *testing.T) {
	t.Parallel()
	rounds(t).Locks(t)
}

func TestStateRounds(t *testing.T) {
	t.Parallel()
	rounds(t).States(t)
}
