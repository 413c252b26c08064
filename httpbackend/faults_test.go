package httpbackend_test

import (
	"cmp"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/internal/trial"
	"github.com/statelatch/statelatch/lock"
)

// What a server, or what is before it, answers when it is in trouble.
var (
	failing  = faultproxy.Reply{Status: 500, Body: "Internal Server Error"}
	gateway  = faultproxy.Reply{Status: 502, Body: "Bad Gateway"}
	busy     = faultproxy.Reply{Status: 503, Body: "Service Unavailable"}
	throttle = faultproxy.Reply{Status: 429}
	login    = faultproxy.Reply{Status: 200, Body: "<html>who are you?</html>"}
	nowhere  = faultproxy.Reply{Status: 404, Body: "<html>not found</html>"}
)

// chances make about every fourth request fail.
var chances = []faultproxy.Chance{
	{P: .04, Fault: faultproxy.CutAfter()},
	{P: .03, Fault: faultproxy.CutBefore()},
	{P: .03, Fault: faultproxy.AnswerAfter(gateway)},
	{P: .02, Fault: faultproxy.Answer(failing)},
	{P: .02, Fault: faultproxy.Answer(busy)},
	{P: .02, Fault: faultproxy.Answer(throttle)},
	{P: .02, Fault: faultproxy.Truncate(5)},
	{P: .02, Fault: faultproxy.Duplicate(1)},
	{P: .02, Fault: faultproxy.Duplicate(2)},
	{P: .02, Fault: faultproxy.Delay(5 * time.Millisecond)},
	{P: .01, Fault: faultproxy.DelayReply(5 * time.Millisecond)},
}

// rounds are those of clients whose requests fail.
func rounds(t *testing.T) trial.Rounds {
	return trial.Rounds{Count: 1040, Shards: 40, Told: true, Open: func() (lock.Locker, func(uint64) trial.Client) {
		store, p := overMemory(t)
		return store, func(seed uint64) trial.Client {
			c := p.client(t)
			c.proxy.Add(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Chaos(seed, chances...)})
			return trial.Client{Backend: c, Proxies: []*faultproxy.Proxy{c.proxy}}
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

// TestOneRequestFails has the one request that makes a change fail in each way: with
// our server, it is made again and known again, and nothing stays in doubt.
func TestOneRequestFails(t *testing.T) {
	ways := []struct {
		name  string
		fault faultproxy.Fault
	}{
		{"its reply lost", faultproxy.CutAfter()},
		{"its reply lost, by a reset", faultproxy.CutAfter().Reset()},
		{"its reply 502, though done", faultproxy.AnswerAfter(gateway)},
		{"never arriving", faultproxy.CutBefore()},
		{"refused by the network", faultproxy.Refuse()},
		{"its reply 500", faultproxy.Answer(failing)},
		{"its reply 503", faultproxy.Answer(busy)},
		{"its reply a page", faultproxy.Answer(login)},
		{"its reply a page, though done", faultproxy.AnswerAfter(login)},
		{"its reply 404", faultproxy.Answer(nowhere)},
		{"its reply 404, though done", faultproxy.AnswerAfter(nowhere)},
		{"its reply 429 with a Retry-After", faultproxy.Answer(faultproxy.Throttled(1))},
		{"delivered twice, the first reply lost", faultproxy.Duplicate(2)},
		{"delivered twice", faultproxy.Duplicate(1)},
	}
	methods := map[string]string{"delete": http.MethodDelete, "lock": "LOCK", "unlock": "UNLOCK"} // of the request, where it is not POST
	for _, c := range trial.Changes {
		method := cmp.Or(methods[c.Name], http.MethodPost)
		for _, way := range ways {
			t.Run(c.Name+", "+way.name, func(t *testing.T) {
				t.Parallel()
				store, p := overMemory(t)
				rev, id := trial.Prepare(t, store)
				b := p.client(t)
				defer b.Close()
				if _, err := b.Holder(t.Context(), "old"); err != nil { // which shows whose server it is
					t.Fatal(err)
				}
				fault := b.proxy.Add(faultproxy.Rule{Match: faultproxy.Method(method), Fault: way.fault})
				err := c.Do(t.Context(), b, backend.Condition{Revision: rev, LockID: id}, id)
				blind := c.Name == "overwrite" && errors.Is(err, backend.ErrUnknown) // is not repeated
				if fault.Applied() != 1 {
					t.Error("the fault was not met")
				}
				if err != nil && !blind {
					t.Error(err)
				}
				if done := c.Done(t, store); !done && !blind {
					t.Errorf("%v, and it is not done", err)
				}
			})
		}
	}
}

// TestPages: what only the server can know is believed of nobody else, once it is known
// for ours.
func TestPages(t *testing.T) {
	once := 0
	for name, status := range map[string]int{"page": 200, "no content": 204, "not found": 404, "conflict": 412, "held": 423} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, p := overMemory(t)
			rev, id := trial.Prepare(t, store)
			b := p.client(t, func(c *httpbackend.Config) { c.RetryMax = &once })
			defer b.Close()
			if _, err := b.Holder(t.Context(), "old"); err != nil { // which shows whose server it is
				t.Fatal(err)
			}
			page := faultproxy.Reply{Status: status, Body: "<html></html>"}
			b.proxy.Add(faultproxy.Rule{Times: faultproxy.Always, Fault: faultproxy.Answer(page)})
			cond := backend.Condition{Revision: rev, LockID: id}
			for method, call := range trial.Calls[*client]() {
				want := backend.ErrTransient
				if method == "Lock" || method == "Unlock" {
					want = backend.ErrUnknown
				}
				if err := call(t.Context(), b, "old", cond); !errors.Is(err, want) {
					t.Errorf("%s: %v", method, err)
				}
			}
			_, write := b.Write(t.Context(), "old", []byte("new"), cond)
			_, renew := b.Renew(t.Context(), "old", id)
			for _, err := range []error{write, renew, b.Delete(t.Context(), "old", cond)} {
				if !errors.Is(err, backend.ErrUnknown) {
					t.Error(err)
				}
			}
		})
	}
}
