package server

import "sync"

// arrivals are the requests, in the order in which they came. Terraform names neither a
// revision nor a call: what tells an old request of its from a new one is when it came.
type arrivals struct {
	mu   sync.Mutex
	last uint64
	made map[string]uint64 // by workspace: the last to come of those that changed the state
}

// next numbers a request that has come.
func (a *arrivals) next() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	return a.last
}

// changed notes, before it is told to anybody, that a request changed a state.
func (a *arrivals) changed(workspace string, number uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.made == nil {
		a.made = map[string]uint64{}
	}
	a.made[workspace] = max(a.made[workspace], number)
}

// passed reports whether a state was changed by a request that came after this one.
func (a *arrivals) passed(workspace string, number uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.made[workspace] > number
}
