package consul_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/consul"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
)

func infoOf(operation string) lock.Info { return lock.NewInfo(operation) }

// The keys of a lock are Terraform's: so it sees ours, and we see its.
func TestLockHasTerraformsForm(t *testing.T) {
	for _, slash := range []string{"", "/"} {
		n := open(t)
		base := n.config.Path
		b := n.client(t, func(c *consul.Config) { c.Path += slash })
		info := lock.NewInfo("OperationTypeApply")
		held, err := b.Lock(t.Context(), ws, info)
		if err != nil {
			t.Fatal(err)
		}
		key := n.get(t, base+"/.lock")
		if key.Session != held.ID || key.Flags != 3304740253564472344 || len(key.Value) != 0 {
			t.Errorf("lock: %+v", key)
		}
		want, _ := held.MarshalJSON()
		if record := n.get(t, base+"/.lockinfo"); string(record.Value) != string(want) || record.Session != "" {
			t.Errorf("record: %s, want %s", record.Value, want)
		}
		if held.Path != base+slash || held.Ref != info.ID {
			t.Errorf("held: %+v", held)
		}
		session, _, err := n.raw.Session().Info(held.ID, nil)
		if err != nil || session.TTL != "" || len(session.NodeChecks)+len(session.Checks) > 0 || session.LockDelay != time.Millisecond {
			t.Errorf("session: %+v, %v", session, err)
		}
		mustUnlock(t, b, held.ID)
		if left := n.below(t, base); len(left) > 0 || n.sessions(t) > 0 {
			t.Errorf("left: %q, %d sessions", left, n.sessions(t))
		}
	}
}

func TestTerraformsLockIsSeenAndReleased(t *testing.T) {
	n := open(t)
	b := n.client(t)
	session := n.session(t, &api.SessionEntry{Name: "Consul API Lock", LockDelay: 5 * time.Second, TTL: "15s"})
	n.acquire(t, n.config.Path, session, fmt.Sprintf(`{"ID":%q,"Operation":"OperationTypePlan","Info":"consul session: %[1]s","Who":"them@there","Version":"1.11.4","Created":"2026-01-02T03:04:05.1Z","Path":"p"}`, session))
	want := lock.Info{ID: session, Operation: "OperationTypePlan", Info: "consul session: " + session, Who: "them@there",
		Version: "1.11.4", Created: time.Date(2026, 1, 2, 3, 4, 5, 1e8, time.UTC), Path: "p"}
	_, err := b.Lock(t.Context(), ws, lock.NewInfo("test"))
	var held *lock.HeldError
	if !errors.As(err, &held) || cmp.Diff(want, held.Holder) != "" {
		t.Errorf("got %v", err)
	}
	if n.sessions(t) > 0 {
		t.Error("the attempt left its session")
	}
	mustUnlock(t, b, session)
	if left := n.below(t, n.config.Path); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	mustUnlock(t, b, mustLock(t, b).ID) // no lock-delay: the lock was given back first
}

// A session is destroyed only where it held this very lock, or was made for it.
func TestUnlockLeavesOtherSessionsAlone(t *testing.T) {
	n := open(t)
	b := n.client(t)
	other, err := b.Lock(t.Context(), "other", lock.NewInfo("test"))
	if err != nil {
		t.Fatal(err)
	}
	foreign := n.session(t, &api.SessionEntry{Name: "Consul API Lock"})
	for _, id := range []string{other.ID, foreign, strings.ToUpper(other.ID)} {
		if err := b.Unlock(t.Context(), ws, id); !errors.Is(err, lock.ErrNotHeld) {
			t.Errorf("got %v", err)
		}
	}
	if holder, err := b.Holder(t.Context(), "other"); err != nil || holder != other {
		t.Errorf("the other lock: %v, %v", holder, err)
	}
	if session, _, err := n.raw.Session().Info(foreign, nil); err != nil || session == nil {
		t.Errorf("the foreign session: %v, %v", session, err)
	}
}

// A lock of unknown outcome is cleared by Unlock, also if its request arrives later.
func TestUnlockStopsALateLock(t *testing.T) {
	n := open(t)
	direct := n.client(t)
	b, p := n.proxied(t)
	h := p.Add(faultproxy.Rule{Match: txns, Fault: faultproxy.Hang().Late()})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-h.Reached(); cancel() }()
	_, err := b.Lock(ctx, ws, lock.NewInfo("test"))
	var unknown *lock.UnknownError
	if !errors.As(err, &unknown) {
		t.Fatalf("got %v", err)
	}
	if err := direct.Unlock(t.Context(), ws, unknown.ID); !errors.Is(err, lock.ErrNotHeld) {
		t.Errorf("got %v", err)
	}
	h.Release()
	<-p.Idle()
	mustUnlock(t, direct, mustLock(t, direct).ID)
	if n.sessions(t) > 0 {
		t.Errorf("%d sessions are left", n.sessions(t))
	}
}

// A lock that was released by its ID before its own Lock knew of it is not taken
// again, although the session lives on for a moment.
func TestReleasedBeforeItsLockReturned(t *testing.T) {
	n := open(t)
	breaker, slow := n.proxied(t)
	destroy := slow.Add(faultproxy.Rule{Match: faultproxy.Not(txns), Fault: faultproxy.Hang()})
	b, p := n.proxied(t)
	p.Add(faultproxy.Rule{Match: txns, Fault: faultproxy.CutAfter()})
	released := make(chan error, 1)
	p.Add(faultproxy.Rule{Match: txns, Nth: 2, Fault: faultproxy.Before(func(r *http.Request) {
		go func() {
			holder, err := breaker.Holder(t.Context(), ws)
			if err == nil {
				err = breaker.Unlock(t.Context(), ws, holder.ID)
			}
			released <- err
		}()
		select {
		case <-destroy.Reached():
		case <-r.Context().Done():
		}
	})})
	_, err := b.Lock(t.Context(), ws, lock.NewInfo("test"))
	var unknown *lock.UnknownError
	if !errors.As(err, &unknown) {
		t.Errorf("got %v", err)
	}
	destroy.Release()
	if err := <-released; err != nil {
		t.Error(err)
	}
	if _, err := n.client(t).Holder(t.Context(), ws); !errors.Is(err, lock.ErrNotHeld) || n.sessions(t) > 0 {
		t.Errorf("got %v, and %d sessions", err, n.sessions(t))
	}
}

// What dies with the session in mid-write is the write.
func TestSessionInvalidatedInMidWrite(t *testing.T) {
	n := open(t)
	direct := n.client(t)
	rev := mustWrite(t, direct, []byte("one"), backend.Condition{})
	for name, then := range map[string]func(){
		"free":  func() {},
		"taken": func() { lockSoon(t, direct) },
	} {
		for what, size := range map[string]int{"small": 10, "in chunks": 1300 << 10} {
			t.Run(name+", "+what, func(t *testing.T) {
				b, p := n.proxied(t)
				held := mustLock(t, b)
				p.Add(faultproxy.Rule{Match: txns, Fault: faultproxy.Before(func(*http.Request) {
					n.destroy(t, held.ID)
					then()
				})})
				_, err := b.Write(t.Context(), ws, noise(1, size), backend.Condition{Revision: rev, LockID: held.ID})
				var by *lock.HeldError
				if errors.As(err, &by) != (name == "taken") || errors.Is(err, lock.ErrNotHeld) != (name == "free") {
					t.Errorf("got %v", err)
				}
				if st := mustRead(t, direct); string(st.Data) != "one" || st.Revision != rev || len(n.chunks(t)) > 0 {
					t.Errorf("it has changed: %.20q, %q", st.Data, n.chunks(t))
				}
				if holder, err := direct.Holder(t.Context(), ws); err == nil {
					mustUnlock(t, direct, holder.ID)
				}
			})
		}
	}
}

// The loss of a lock is reported at once, long before the next renewal.
func TestLossIsReportedAtOnce(t *testing.T) {
	for name, lose := range map[string]func(n *namespace, b *consul.Backend, id string){
		"session destroyed": func(n *namespace, _ *consul.Backend, id string) { n.destroy(t, id) },
		"key deleted": func(n *namespace, _ *consul.Backend, _ string) {
			if _, err := n.raw.KV().Delete(n.config.Path+"/.lock", nil); err != nil {
				t.Fatal(err)
			}
		},
		"unlocked by its ID": func(_ *namespace, b *consul.Backend, id string) { mustUnlock(t, b, id) },
	} {
		t.Run(name, func(t *testing.T) {
			n := open(t)
			b := n.client(t)
			held, err := lock.Acquire(t.Context(), b, ws, lock.NewInfo("test"), lock.Options{TTL: 10 * time.Minute}) // renewed after minutes
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			lose(n, n.client(t), held.ID())
			<-held.Context().Done()
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("noticed after %s", took)
			}
			if cause := context.Cause(held.Context()); !errors.Is(cause, lock.ErrNotHeld) {
				t.Errorf("cause: %v", cause)
			}
			if err := held.Release(t.Context()); !errors.Is(err, lock.ErrNotHeld) {
				t.Errorf("release: %v", err)
			}
			if n.sessions(t) > 0 {
				t.Errorf("%d sessions are left", n.sessions(t))
			}
		})
	}
}

// A waiter waits through the lock-delay of a session of Terraform's, and leaves no
// session of a failed attempt.
func TestWaiterWaitsThroughTheLockDelay(t *testing.T) {
	t.Parallel()
	n := open(t)
	b := n.client(t)
	const delay = 5 * time.Second
	session := n.session(t, &api.SessionEntry{LockDelay: delay})
	n.acquire(t, n.config.Path, session, "")
	type result struct {
		lock *lock.Lock
		err  error
	}
	done := make(chan result, 1)
	waits := make(chan bool, 10)
	go func() {
		l, err := lock.Acquire(t.Context(), b, ws, lock.NewInfo("test"), lock.Options{Timeout: time.Minute, OnWait: func(*lock.HeldError) { waits <- true }})
		done <- result{l, err}
	}()
	<-waits
	start := time.Now()
	n.destroy(t, session)
	_, err := b.Lock(t.Context(), ws, lock.NewInfo("test"))
	var held *lock.HeldError
	if !errors.As(err, &held) || !strings.Contains(err.Error(), "lock-delay") {
		t.Errorf("Lock within the lock-delay: %v", err)
	}
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	if took := time.Since(start); took < delay || took > delay+30*time.Second { // a blocking query lasts a minute
		t.Errorf("took the lock after %s", took)
	}
	if n.sessions(t) != 1 {
		t.Errorf("%d sessions", n.sessions(t))
	}
	if err := r.lock.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// When a session of ours dies, the lock is free at once.
func TestNoLockDelayOfOurs(t *testing.T) {
	n := open(t)
	b := n.client(t)
	n.destroy(t, mustLock(t, b).ID)
	mustUnlock(t, b, lockSoon(t, b).ID)
}

// lockSoon takes a lock whose session has just died: the lock-delay is a millisecond,
// and would be 15 s if Consul had its way.
func lockSoon(t testing.TB, b *consul.Backend) lock.Info {
	t.Helper()
	var held *lock.HeldError
	for end := time.Now().Add(10 * time.Second); ; {
		info, err := b.Lock(t.Context(), ws, lock.NewInfo("test"))
		if err == nil {
			return info
		}
		if !errors.As(err, &held) || time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// A lock that is kept by Acquire has Terraform's TTL, unless another is asked for.
func TestAcquireTakesALease(t *testing.T) {
	held, err := lock.Acquire(t.Context(), open(t).client(t), ws, lock.NewInfo("test"), lock.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if held.Info().TTL != 15*time.Second {
		t.Errorf("TTL %s", held.Info().TTL)
	}
	if err := held.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// Whoever holds the lock renews it, however long the run: each third of its TTL.
func TestAcquireKeepsTheLock(t *testing.T) {
	t.Parallel()
	n := open(t)
	b, p := n.proxied(t)
	const ttl = 10 * time.Second
	start := time.Now()
	held, err := lock.Acquire(t.Context(), b, ws, lock.NewInfo("test"), lock.Options{TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	twice := make(chan struct{})
	p.Add(faultproxy.Rule{Match: faultproxy.Path("/v1/session/renew/" + held.ID()), Nth: 2, Fault: faultproxy.After(func(*http.Request) { close(twice) })})
	select {
	case <-twice:
	case <-held.Context().Done():
		t.Fatalf("lost: %v", context.Cause(held.Context()))
	case <-time.After(6 * ttl): // it would be lost by then
		t.Fatal("not renewed twice")
	}
	if took := time.Since(start); took < ttl/2 {
		t.Errorf("renewed twice in %s", took)
	}
	if err := held.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// Lock = false is the pointer's; nil is true.
func TestLockSetting(t *testing.T) {
	n := open(t)
	yes, no := true, false
	for name, test := range map[string]struct {
		set  *bool
		want error
	}{"nil": {nil, nil}, "true": {&yes, nil}, "false": {&no, errors.ErrUnsupported}} {
		b := n.client(t, func(c *consul.Config) { c.Lock = test.set })
		held, err := b.Lock(t.Context(), name, lock.NewInfo("test"))
		if !errors.Is(err, test.want) || err != nil && test.want == nil {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			b.Unlock(t.Context(), name, held.ID)
		}
		_, err = backend.Update(t.Context(), b, name, lock.NewInfo("test"), lock.Options{},
			func(context.Context, backend.State) ([]byte, error) { return []byte("x"), nil })
		if err != nil {
			t.Errorf("%s: Update: %v", name, err)
		}
	}
}

// A lock takes a record as long as may be, which can be read, and none with one byte
// more.
func TestLongRecord(t *testing.T) {
	n := open(t)
	b := n.client(t)
	info := lock.NewInfo("test")
	held := info
	held.Ref, held.ID, held.Path = info.ID, lock.NewID(), n.config.Path // IDs of sessions are as long
	record, err := json.Marshal(held)
	if err != nil {
		t.Fatal(err)
	}
	info.Info = strings.Repeat("x", lock.MaxInfo-len(record)+1)
	_, err = b.Lock(t.Context(), ws, info)
	check(t, "Lock", err, backend.ErrInvalid, "at most 65536 are read")
	if n.sessions(t) > 0 {
		t.Error("the attempt left its session")
	}
	info.Info = info.Info[1:]
	if held, err = b.Lock(t.Context(), ws, info); err != nil {
		t.Fatal(err)
	}
	if holder, err := b.Holder(t.Context(), ws); err != nil || holder != held {
		t.Errorf("holder: %.200v, %v", holder, err)
	}
	mustUnlock(t, b, held.ID)
}
