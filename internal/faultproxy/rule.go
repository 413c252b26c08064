package faultproxy

import (
	"net/http"
	"slices"
	"strings"
	"sync"
)

// A Match says whether a rule is about a request. It must not read the body.
type Match func(*http.Request) bool

// Method matches requests with one of these methods.
func Method(methods ...string) Match {
	return func(r *http.Request) bool { return slices.Contains(methods, r.Method) }
}

// Path matches the whole unescaped path.
func Path(path string) Match {
	return func(r *http.Request) bool { return r.URL.Path == path }
}

// PathSuffix matches the end of the unescaped path.
func PathSuffix(suffix string) Match {
	return func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, suffix) }
}

// Query matches requests with this value for a name of their query.
func Query(name, value string) Match {
	return func(r *http.Request) bool { return slices.Contains(r.URL.Query()[name], value) }
}

// Header matches requests with this value for a header, as in
// Header("X-Amz-Target", "DynamoDB_20120810.PutItem").
func Header(name, value string) Match {
	return func(r *http.Request) bool { return slices.Contains(r.Header.Values(name), value) }
}

// All matches what all of its parts match.
func All(parts ...Match) Match {
	return func(r *http.Request) bool {
		return !slices.ContainsFunc(parts, func(m Match) bool { return !m(r) })
	}
}

// Any matches what one of its parts matches.
func Any(parts ...Match) Match {
	return func(r *http.Request) bool {
		return slices.ContainsFunc(parts, func(m Match) bool { return m(r) })
	}
}

// Not matches what m does not.
func Not(m Match) Match {
	return func(r *http.Request) bool { return !m(r) }
}

// Always is the Times of a rule that applies for ever.
const Always = -1

// A Rule says which requests meet with a fault.
//
// Each rule counts the requests that it matches, whether or not another rule
// applies to them. Of several rules that would apply, the one added first does.
type Rule struct {
	Match Match // nil = every request
	Nth   int   // the first request of those it matches that it applies to, from 1; 0 = 1
	Times int   // to how many, one after another; 0 = 1
	Fault Fault // the zero Fault does nothing
}

// A Handle is a rule at work.
type Handle struct {
	p        *Proxy
	rule     Rule
	seen     int // guarded by p.mu, as is applied
	applied  int
	reached  chan struct{}
	released chan struct{}
	reach    func() // closes reached
	release  func() // closes released
}

// Add puts a rule to work, behind those that were added before.
func (p *Proxy) Add(rule Rule) *Handle {
	h := &Handle{p: p, rule: rule, reached: make(chan struct{}), released: make(chan struct{})}
	h.reach = sync.OnceFunc(func() { close(h.reached) })
	h.release = sync.OnceFunc(func() { close(h.released) })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, h)
	return h
}

// Remove takes the rule away. What it holds stays held until Release or Close.
func (h *Handle) Remove() {
	h.p.mu.Lock()
	defer h.p.mu.Unlock()
	h.p.rules = slices.DeleteFunc(h.p.rules, func(other *Handle) bool { return other == h })
}

// Release lets the requests go on that the rule holds (Hang, HangAfter), and
// those that it would hold later.
func (h *Handle) Release() { h.release() }

// Reached returns a channel that is closed when the rule first holds a request,
// or else when it is done with the first one.
func (h *Handle) Reached() <-chan struct{} { return h.reached }

// Applied returns to how many requests the rule has been applied.
func (h *Handle) Applied() int {
	h.p.mu.Lock()
	defer h.p.mu.Unlock()
	return h.applied
}

// choose counts r in the rules that match it and returns the one that applies,
// with its fault, or nil.
func (p *Proxy) choose(r *http.Request) (*Handle, Fault) {
	p.mu.Lock()
	rules := slices.Clone(p.rules)
	p.mu.Unlock()
	rules = slices.DeleteFunc(rules, func(h *Handle) bool { // unlocked: a Match may ask the proxy
		return h.rule.Match != nil && !h.rule.Match(r)
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	var chosen *Handle
	var fault Fault
	for _, h := range rules {
		if f := h.next(); chosen == nil && f.run != nil {
			chosen, fault = h, f
			h.applied++
		}
	}
	return chosen, fault
}

// next counts one more request and returns the fault it would meet with.
func (h *Handle) next() Fault {
	h.seen++
	from, times := max(h.rule.Nth, 1), h.rule.Times
	if times == 0 {
		times = 1
	}
	if h.seen < from || times > 0 && h.seen >= from+times {
		return Fault{}
	}
	f := h.rule.Fault
	for f.draw != nil {
		f = f.draw()
	}
	return f
}
