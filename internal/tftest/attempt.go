package tftest

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/statelatch/statelatch/internal/faultproxy"
)

// refusals are the statuses by which the services refuse a lock.
var refusals = []int{http.StatusBadRequest, http.StatusConflict, http.StatusPreconditionFailed}

// holdNextAttempt waits until an attempt of the program's at the lock has come to its
// end: it was refused, and has read whose the lock is. The next one it holds until goOn.
func (s *scene) holdNextAttempt() (goOn func()) {
	s.Helper()
	for end := time.Now().Add(time.Minute); !slices.ContainsFunc(s.Proxies, attempted); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.Fatal("the program was refused no lock")
		}
	}
	var rules []*faultproxy.Handle
	for _, p := range s.Proxies {
		rules = append(rules, p.Add(faultproxy.Rule{Match: byProgram, Times: faultproxy.Always, Fault: faultproxy.Hang()}))
	}
	return func() {
		for _, h := range rules {
			h.Remove()
			h.Release()
		}
	}
}

func attempted(p *faultproxy.Proxy) bool {
	refused := false
	for _, q := range p.Requests() {
		if refused && !q.End.IsZero() {
			return true
		}
		refused = refused || slices.Contains(refusals, q.Status)
	}
	return false
}

// byProgram matches the requests of the program: ours do not name it.
func byProgram(r *http.Request) bool {
	agent := strings.ToLower(r.UserAgent())
	return strings.Contains(agent, "terraform") || strings.Contains(agent, "opentofu")
}
