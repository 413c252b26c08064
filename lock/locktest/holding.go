package locktest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/statelatch/statelatch/internal/clause"
	"github.com/statelatch/statelatch/lock"
)

var holding = table{
	{
		Name:     "second lock",
		Sentence: "If anybody holds the lock, this caller's own earlier lock included, the error of Lock is a *HeldError with the holder's Info.",
		Check: func(e *env) {
			first := e.lock(e.a)
			_, err := e.a.Lock(e.Ctx, e.ws, e.info())
			e.held("a second Lock by the holder's client", err, first)
			_, err = e.b.Lock(e.Ctx, e.ws, e.info())
			e.held("Lock by another client", err, first)
			e.holds(e.b, first)
		},
	},
	{
		Name:     "same info",
		Sentence: "Two calls of Lock with one and the same info are two callers: one of them gets a *HeldError.",
		Check: func(e *env) {
			info := e.info()
			first, err := e.a.Lock(e.Ctx, e.ws, info)
			e.Must("Lock", err)
			for _, l := range []lock.Locker{e.a, e.b} {
				_, err := l.Lock(e.Ctx, e.ws, info)
				e.held("Lock with the same info", err, first)
			}
		},
	},
	{
		Name:     "one winner",
		Sentence: "A Locker keeps one lock per workspace: of 16 that call Lock at once, one gets it.",
		Check:    func(e *env) { e.oneWinner(e.info) },
	},
	{
		Name:     "one winner of the same info",
		Sentence: "Two calls of Lock with one and the same info are two callers, at the same moment too.",
		Check: func(e *env) {
			info := e.info()
			e.oneWinner(func() lock.Info { return info })
		},
	},
	{
		Name:     "lock returns what is stored",
		Sentence: "Lock returns info as stored, with the ID that Unlock takes: info.ID, or another where the service imposes its own (then info.ID is kept in Ref).",
		Check: func(e *env) {
			asked := e.info()
			stored, err := e.a.Lock(e.Ctx, e.ws, asked)
			e.Must("Lock", err)
			if stored.ID == "" || stored.ID != asked.ID && stored.Ref != asked.ID {
				e.Errorf("Lock with ID %q returned ID %q and Ref %q", asked.ID, stored.ID, stored.Ref)
			}
			asked.ID, asked.Ref, asked.Path = stored.ID, stored.Ref, stored.Path // the service's to choose
			e.same("Lock returned", stored, asked)
			e.Must("Unlock with the returned ID", e.a.Unlock(e.Ctx, e.ws, stored.ID))
		},
	},
	{
		Name:     "what cannot be stored",
		Sentence: "An info whose lock could not be released by its ID is refused.",
		Check: func(e *env) {
			for _, change := range []func(*lock.Info){
				func(i *lock.Info) { i.ID = "" },
				func(i *lock.Info) { i.ID = "\xff" },
				func(i *lock.Info) { i.Info = strings.Repeat("x", lock.MaxInfo) },
				func(i *lock.Info) { i.TTL = -time.Second },
			} {
				info := e.info()
				change(&info)
				stored, err := e.a.Lock(e.Ctx, e.ws, info)
				if err == nil {
					e.Must("Unlock with the returned ID", e.a.Unlock(e.Ctx, e.ws, stored.ID))
				}
				stored, err = e.b.Lock(e.Ctx, e.ws, e.info())
				e.Must("Lock after that", err)
				e.Must("Unlock", e.b.Unlock(e.Ctx, e.ws, stored.ID))
			}
		},
	},
	{
		Name:     "holder",
		Sentence: "Holder returns the holder's Info, every field of it, to any client.",
		Check: func(e *env) {
			stored := e.lock(e.a)
			e.holds(e.a, stored)
			e.holds(e.b, stored)
		},
	},
	{
		Name:     "holder of none",
		Sentence: "Holder returns an error matching ErrNotHeld when nobody holds the lock: before the first, and after a release.",
		Check: func(e *env) {
			e.free(e.a)
			stored := e.lock(e.a)
			e.holds(e.b, stored)
			e.Must("Unlock", e.a.Unlock(e.Ctx, e.ws, stored.ID))
			e.free(e.a)
			e.free(e.b)
		},
	},
	{
		Name:     "workspaces apart",
		Sentence: "Locks of different workspaces do not touch each other.",
		Check: func(e *env) {
			stored := map[string]lock.Info{}
			for _, name := range clause.ValidNames {
				info, err := e.a.Lock(e.Ctx, name, e.info())
				e.Must("Lock of "+name+" beside the others", err)
				stored[name] = info
			}
			for _, name := range clause.ValidNames {
				got, err := e.b.Holder(e.Ctx, name)
				e.Must("Holder of "+name, err)
				e.same("Holder of "+name+" returned", got, stored[name])
				e.Must("Unlock "+name, e.a.Unlock(e.Ctx, name, stored[name].ID))
			}
		},
	},
	{
		Name:     "invalid names",
		Sentence: "A workspace name passes CheckWorkspace before any request is made; the error of one that does not matches ErrInvalidName.",
		Check: func(e *env) {
			lockers := []lock.Locker{e.a}
			if e.ns.Hung != nil { // a request would never return
				lockers = append(lockers, e.open(e.ns.Hung))
			}
			for _, l := range lockers {
				for _, name := range clause.InvalidNames {
					ctx, cancel := context.WithTimeout(e.Ctx, time.Second)
					for method, err := range e.all(ctx, l, name) {
						e.Is(method+" of an invalid name", err, lock.ErrInvalidName)
					}
					if cancel(); e.Failed() {
						return
					}
				}
			}
		},
	},
}

// info is a record with something in each field that is the caller's.
func (e *env) info() lock.Info {
	info := lock.NewInfo("OperationTypeApply")
	info.Info = "a <b> & \"c\" \\ 'd'\ttab\nline é 世界 \u2028 𝄞 %41 +"
	info.Who = "Ünal O'Neill@höst.example"
	info.Version = "1.11.4"
	info.Created = time.Date(2024, 2, 29, 23, 59, 58, 123456700, time.UTC)
	return info
}

// lock takes the lock, which must be free.
func (e *env) lock(l lock.Locker) lock.Info {
	e.Helper()
	stored, err := l.Lock(e.Ctx, e.ws, e.info())
	e.Must("Lock of a free lock", err)
	return stored
}

// held fails the test unless err says that holder holds the lock.
func (e *env) held(doing string, err error, holder lock.Info) {
	e.Helper()
	var held *lock.HeldError
	if !errors.As(err, &held) {
		e.Errorf("%s: got error %v, want a *HeldError", doing, err)
		return
	}
	if held.Workspace != e.ws {
		e.Errorf("%s: the *HeldError names workspace %q, not %q", doing, held.Workspace, e.ws)
	}
	e.same(doing+" said that the holder is", held.Holder, holder)
}

// holds fails the test unless l sees holder hold the lock.
func (e *env) holds(l lock.Locker, holder lock.Info) {
	e.Helper()
	got, err := l.Holder(e.Ctx, e.ws)
	if err != nil {
		e.Errorf("Holder: %v, want %s", err, holder)
		return
	}
	e.same("Holder returned", got, holder)
}

// free fails the test unless l sees nobody hold the lock.
func (e *env) free(l lock.Locker) {
	e.Helper()
	got, err := l.Holder(e.Ctx, e.ws)
	if !errors.Is(err, lock.ErrNotHeld) {
		e.Errorf("Holder: got %s and error %v, want one that matches ErrNotHeld", got, err)
	}
}

func (e *env) same(what string, got, want lock.Info) {
	e.Helper()
	if got.Created.Equal(want.Created) {
		got.Created = want.Created // in whatever zone
	}
	if got != want {
		type fields lock.Info // without String, which leaves out what does not print
		e.Errorf("%s\n%+v, want\n%+v", what, fields(got), fields(want))
	}
}

// oneWinner lets 16 lock at once, on two clients.
func (e *env) oneWinner(info func() lock.Info) {
	e.Helper()
	e.oneWinnerOf(16, func(i int) (lock.Info, error) {
		return []lock.Locker{e.a, e.b}[i%2].Lock(e.Ctx, e.ws, info())
	})
}

// oneWinnerOf has n try at once to hold the lock, and returns the lock of the one that does.
func (e *env) oneWinnerOf(n int, try func(i int) (lock.Info, error)) lock.Info {
	e.Helper()
	type result struct {
		info lock.Info
		err  error
	}
	results := clause.Race(n, func(i int) result {
		stored, err := try(i)
		return result{stored, err}
	})
	var winners []lock.Info
	for _, r := range results {
		var held *lock.HeldError
		if r.err == nil {
			winners = append(winners, r.info)
		} else if !errors.As(r.err, &held) {
			e.Errorf("got error %v, want a *HeldError", r.err)
		}
	}
	if len(winners) != 1 {
		e.Fatalf("%d of %d got the lock", len(winners), n)
	}
	e.holds(e.b, winners[0])
	return winners[0]
}
