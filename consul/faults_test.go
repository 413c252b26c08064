package consul_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/consul"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/trial"
	"github.com/statelatch/statelatch/lock"
)

// What a server answers when it is in trouble.
var (
	failing  = faultproxy.Reply{Status: 500, Body: "rpc error making call: EOF"}
	throttle = faultproxy.Reply{Status: 429, Body: "rate limit exceeded, try again later or against a different server"}
	headless = faultproxy.Reply{Status: 500, Body: "No cluster leader"}
)

// play plays rounds, and then sees that no session was left. About every fifth
// request of the clients fails.
func play(t *testing.T, rounds int, play func(trial.Rounds, testing.TB)) {
	var all []*namespace
	play(trial.Rounds{Count: rounds, Shards: 8, Clear: true, Open: func() (lock.Locker, func(uint64) trial.Client) {
		n := open(t)
		all = append(all, n)
		return n.client(t), func(seed uint64) trial.Client {
			b, p := n.proxied(t)
			p.Add(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Chaos(seed,
				faultproxy.Chance{P: .04, Fault: faultproxy.CutAfter()},
				faultproxy.Chance{P: .03, Fault: faultproxy.CutBefore()},
				faultproxy.Chance{P: .02, Fault: faultproxy.AnswerAfter(failing)},
				faultproxy.Chance{P: .02, Fault: faultproxy.Answer(failing)},
				faultproxy.Chance{P: .02, Fault: faultproxy.Answer(throttle)},
				faultproxy.Chance{P: .02, Fault: faultproxy.Answer(headless)},
				faultproxy.Chance{P: .02, Fault: faultproxy.Delay(5 * time.Millisecond)},
				faultproxy.Chance{P: .02, Fault: faultproxy.DelayReply(5 * time.Millisecond)},
			)})
			return trial.Client{Backend: b, Proxies: []*faultproxy.Proxy{p}}
		}
	}}, t)
	sessions := 0
	for _, n := range all {
		sessions += n.sessions(t)
	}
	if sessions > 0 {
		t.Errorf("%d sessions were left", sessions)
	}
}

func TestLockRounds(t *testing.T) { play(t, 800, trial.Rounds.Locks) }

func TestStateRounds(t *testing.T) { play(t, 1200, trial.Rounds.States) }

// A deed is one call of a method that changes something, on a namespace that
// before has made ready.
type deed struct {
	name   string
	before func(t *testing.T, b *consul.Backend) (rev backend.Revision, id string)
	do     func(ctx context.Context, b *consul.Backend, rev backend.Revision, id string) error
	done   func(t *testing.T, b *consul.Backend) bool // whether it has taken effect
}

var threeChunks = slices.Concat([]byte(`{"serial": 1}`), []byte(strings.Repeat("big ", 300<<10)))

var deeds = []deed{
	{
		"lock",
		func(*testing.T, *consul.Backend) (backend.Revision, string) { return "", "" },
		func(ctx context.Context, b *consul.Backend, _ backend.Revision, _ string) error {
			_, err := b.Lock(ctx, ws, lock.NewInfo("test"))
			return err
		},
		isHeld,
	}, {
		"unlock",
		func(t *testing.T, b *consul.Backend) (backend.Revision, string) { return "", mustLock(t, b).ID },
		func(ctx context.Context, b *consul.Backend, _ backend.Revision, id string) error {
			return b.Unlock(ctx, ws, id)
		},
		func(t *testing.T, b *consul.Backend) bool { return !isHeld(t, b) },
	}, {
		"create",
		func(t *testing.T, b *consul.Backend) (backend.Revision, string) { return "", "" },
		writes("two"),
		holds("two"),
	}, {
		"create under the lock",
		func(t *testing.T, b *consul.Backend) (backend.Revision, string) { return "", mustLock(t, b).ID },
		writes("two"),
		holds("two"),
	}, {
		"write under the lock",
		func(t *testing.T, b *consul.Backend) (backend.Revision, string) {
			return mustWrite(t, b, []byte("one"), backend.Condition{}), mustLock(t, b).ID
		},
		writes("two"),
		holds("two"),
	}, {
		"write chunks in place of chunks",
		func(t *testing.T, b *consul.Backend) (backend.Revision, string) {
			return mustWrite(t, b, threeChunks, backend.Condition{}), ""
		},
		writes(string(threeChunks) + "2"),
		holds(string(threeChunks) + "2"),
	}, {
		"delete",
		func(t *testing.T, b *consul.Backend) (backend.Revision, string) {
			return mustWrite(t, b, []byte("one"), backend.Condition{}), ""
		},
		func(ctx context.Context, b *consul.Backend, rev backend.Revision, _ string) error {
			return b.Delete(ctx, ws, condition(rev))
		},
		func(t *testing.T, b *consul.Backend) bool {
			_, err := b.Read(t.Context(), ws)
			return errors.Is(err, backend.ErrNotExist)
		},
	},
}

func isHeld(t *testing.T, b *consul.Backend) bool {
	_, err := b.Holder(t.Context(), ws)
	return err == nil
}

func writes(data string) func(context.Context, *consul.Backend, backend.Revision, string) error {
	return func(ctx context.Context, b *consul.Backend, rev backend.Revision, id string) error {
		_, err := b.Write(ctx, ws, []byte(data), backend.Condition{Revision: rev, LockID: id})
		return err
	}
}

func holds(data string) func(*testing.T, *consul.Backend) bool {
	return func(t *testing.T, b *consul.Backend) bool {
		st, err := b.Read(t.Context(), ws)
		return err == nil && string(st.Data) == data
	}
}

// run does the deed with a fault for one request, and reports whether there was one.
func (d deed) run(t *testing.T, rule faultproxy.Rule, check func(n *namespace, err error, done bool)) bool {
	n := open(t)
	direct := n.client(t)
	rev, id := d.before(t, direct)
	b, p := n.proxied(t)
	h := p.Add(rule)
	err := d.do(t.Context(), b, rev, id)
	check(n, err, d.done(t, direct))
	return h.Applied() > 0
}

// Each request of each method in turn is lost on its way there, or its reply on the
// way back, or it is delivered twice: in the end it is done, and what was in the way
// is gone.
func TestEachRequestLost(t *testing.T) {
	for name, rule := range map[string]faultproxy.Rule{
		"request":                               {Fault: faultproxy.CutBefore()},
		"reply":                                 {Fault: faultproxy.CutAfter()},
		"reply, reset":                          {Fault: faultproxy.CutAfter().Reset()},
		"reply, cut short":                      {Fault: faultproxy.Truncate(1)},
		"reply, 500":                            {Fault: faultproxy.AnswerAfter(failing)},
		"request, 429":                          {Fault: faultproxy.Answer(throttle)},
		"request, 500":                          {Fault: faultproxy.Answer(headless)},
		"delivered twice, the first reply lost": {Fault: faultproxy.Duplicate(2)},
		"request, a page":                       {Match: changes, Fault: faultproxy.Answer(faultproxy.Reply{Body: page})},
		"request, no results":                   {Match: txns, Fault: faultproxy.Answer(faultproxy.Reply{Body: `{}`})},
		"reply, results of null":                {Match: txns, Fault: faultproxy.AnswerAfter(faultproxy.Reply{Body: `{"Results":[null,{},null]}`})},
		"request, an error of null":             {Match: txns, Fault: faultproxy.Answer(faultproxy.Reply{Status: 409, Body: `{"Errors":[null]}`})},
	} {
		for _, d := range deeds {
			t.Run(d.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				rule := rule
				for nth := 1; ; nth++ {
					rule.Nth = nth
					again := d.run(t, rule, func(n *namespace, err error, done bool) {
						// Nothing tells whose a deletion was; nor, without a lock, whether what
						// was created has been deleted meanwhile.
						if errors.Is(err, backend.ErrUnknown) && (d.name == "delete" && done || d.name == "create" && !done) {
							return
						}
						twice := strings.HasPrefix(name, "delivered twice")
						if twice && d.name == "delete" && done && errors.Is(err, backend.ErrNotExist) { // the second found nothing
							return
						}
						if err != nil || !done {
							t.Errorf("request %d: %v, done: %v", nth, err, done)
						}
						if left := n.sessions(t); d.name == "unlock" && left > 0 {
							t.Errorf("request %d: %d sessions are left", nth, left)
						}
						if chunks := n.chunks(t); strings.Contains(d.name, "chunks") && len(chunks) != 3 {
							t.Errorf("request %d: the chunks are %q", nth, chunks)
						}
					})
					if !again {
						return
					}
				}
			})
		}
	}
}

// txns matches transactions.
func txns(r *http.Request) bool { return r.URL.Path == "/v1/txn" }
