package memory_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/memory"
)

// A test harness makes a lease expire when it says so.
func ExampleBackend_SetClock() {
	ctx, b := context.Background(), memory.New()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b.SetClock(func() time.Time { return now })

	info := lock.NewInfo("apply")
	info.TTL = time.Minute
	b.Lock(ctx, "prod", info)

	_, err := b.Lock(ctx, "prod", lock.NewInfo("another"))
	fmt.Println("held:", errors.As(err, new(*lock.HeldError)))
	now = now.Add(time.Minute)
	_, err = b.Lock(ctx, "prod", lock.NewInfo("another"))
	fmt.Println("a minute later:", err)
	// Output:
	// held: true
	// a minute later: <nil>
}

// A test harness shows a tool a lock that somebody else left, or ruined.
func ExampleBackend_SetLockRecord() {
	ctx, b := context.Background(), memory.New()
	b.SetLockRecord("prod", []byte(`{"ID":"42","Operation":"OperationTypeApply","Who":"ann@laptop"}`))
	_, err := b.Lock(ctx, "prod", lock.NewInfo("plan"))
	fmt.Println(err)

	b.SetLockRecord("prod", []byte("\x00"))
	holder, _ := b.Holder(ctx, "prod")
	fmt.Println(holder.Info)
	fmt.Println(b.Unlock(ctx, "prod", holder.ID))
	// Output:
	// workspace "prod" is locked by ann@laptop, operation OperationTypeApply, ID 42
	// the lock record cannot be read: it is not the JSON of a lock
	// <nil>
}

func TestWaitForAnExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		info := lock.NewInfo("dies")
		info.TTL = time.Minute
		if _, err := b.Lock(t.Context(), "prod", info); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := b.Client().Wait(t.Context(), "prod"); err != nil || time.Since(start) != time.Minute {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

func TestSetClockWakesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.New()
		info := lock.NewInfo("dies")
		info.TTL = time.Hour
		if _, err := b.Lock(t.Context(), "prod", info); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- b.Wait(t.Context(), "prod") }()
		synctest.Wait()
		later := time.Now().Add(time.Hour)
		b.SetClock(func() time.Time { return later })
		if err := <-done; err != nil || !time.Now().Before(later) {
			t.Errorf("%v at %s", err, time.Now())
		}
	})
}

func TestDriver(t *testing.T) {
	b, err := backend.NewMux(memory.Driver).OpenURL(t.Context(), "memory:")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Write(t.Context(), backend.DefaultWorkspace, []byte("x"), backend.Condition{}); err != nil {
		t.Error(err)
	}
	for name, err := range b.List(t.Context()) {
		if name != backend.DefaultWorkspace || err != nil {
			t.Errorf("%q, %v", name, err)
		}
	}
}
