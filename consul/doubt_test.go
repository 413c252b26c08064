package consul_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/statelatch/statelatch/internal/faultproxy"
	"github.com/statelatch/statelatch/lock"
)

// A refusal whose reply is lost tells who holds the lock, and leaves nothing that
// could take it later: so Acquire waits.
func TestRefusalLost(t *testing.T) {
	n := open(t)
	direct := n.client(t)
	other := mustLock(t, direct)
	b, p := n.proxied(t)
	p.Add(faultproxy.Rule{Match: txns, Fault: faultproxy.CutAfter()})
	_, err := b.Lock(t.Context(), ws, lock.NewInfo("test"))
	var held *lock.HeldError
	if !errors.As(err, &held) || held.Holder != other || n.sessions(t) != 1 {
		t.Errorf("%v, and %d sessions", err, n.sessions(t))
	}
	p.Add(faultproxy.Rule{Match: txns, Fault: faultproxy.CutAfter()})
	kept, err := lock.Acquire(t.Context(), b, ws, lock.NewInfo("test"), lock.Options{Timeout: time.Minute,
		OnWait: func(*lock.HeldError) { mustUnlock(t, direct, other.ID) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := kept.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// A session whose creation is in doubt is found as soon as one of some requests gets
// through.
func TestSessionFoundLate(t *testing.T) {
	t.Parallel()
	n := open(t)
	b, p := n.proxied(t)
	p.Add(faultproxy.Rule{Match: faultproxy.Path("/v1/session/create"), Fault: faultproxy.CutAfter()})
	p.Add(faultproxy.Rule{Match: faultproxy.Path("/v1/session/list"), Times: 7, Fault: faultproxy.CutBefore()})
	mustUnlock(t, b, mustLock(t, b).ID)
	if n.sessions(t) > 0 {
		t.Errorf("%d sessions are left", n.sessions(t))
	}
}

// A request that was refused, and took the lock when it was delivered again, has not
// been refused by itself.
func TestRefusedAndTaken(t *testing.T) {
	n := open(t)
	b, p := n.proxied(t)
	p.Add(faultproxy.Rule{Match: txns, Fault: faultproxy.AnswerAfter(faultproxy.Reply{
		Status: http.StatusConflict, Body: `{"Errors":[{"OpIndex":0,"What":"failed to lock key, lock is already held"}]}`,
	})})
	mustUnlock(t, n.client(t), mustLock(t, b).ID)
}

// Whoever takes the lock as soon as it is free keeps its record, also if the release
// has not come to its end: Terraform's way of writing leaves a key with its session.
func TestReleaseLeavesTheNextRecordAlone(t *testing.T) {
	n := open(t)
	b, p := n.proxied(t)
	held := mustLock(t, b)
	session := n.session(t, &api.SessionEntry{Name: "Consul API Lock", TTL: "15s"})
	record := fmt.Sprintf(`{"ID":%q,"Operation":"OperationTypePlan"}`, session)
	p.Add(faultproxy.Rule{Match: faultproxy.Path("/v1/session/destroy/" + held.ID), Fault: faultproxy.Before(func(*http.Request) {
		n.acquire(t, n.config.Path, session, record)
	})})
	mustUnlock(t, b, held.ID)
	if holder, err := b.Holder(t.Context(), ws); err != nil || holder.Operation != "OperationTypePlan" {
		t.Errorf("holder: %+v, %v", holder, err)
	}
	if left := n.below(t, n.config.Path); !slices.Equal(left, []string{".lock", ".lockinfo"}) {
		t.Errorf("below the state: %q", left)
	}
}
