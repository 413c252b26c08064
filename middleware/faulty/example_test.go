package faulty_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/memory"
	"github.com/statelatch/statelatch/middleware/faulty"
)

// add is an edit for Update.
func add(_ context.Context, current backend.State) ([]byte, error) {
	return append(current.Data, '+'), nil
}

// A tool is tried with a fault on each of its calls, one after the other.
func Example() {
	ctx, info := context.Background(), lock.NewInfo("apply")
	for n := range 4 {
		f := faulty.Wrap(memory.New())
		f.LoseReply(faulty.Any, n+1)
		_, err := backend.Update(ctx, f, "prod", info, lock.Options{}, add)

		f.Heal()
		st, _ := f.Read(ctx, "prod")
		fmt.Printf("call %d lost: unknown %t, state %q\n", n+1, errors.Is(err, backend.ErrUnknown), st.Data)
	}
	// Output:
	// call 1 lost: unknown false, state ""
	// call 2 lost: unknown false, state ""
	// call 3 lost: unknown true, state "+"
	// call 4 lost: unknown true, state "+"
}

// The service refuses the first write, and takes the second.
func ExampleBackend_Fail() {
	ctx, f := context.Background(), faulty.Wrap(memory.New())
	f.Fail(faulty.Write, 1, backend.ErrPermission)
	for range 2 {
		_, err := f.Write(ctx, "prod", []byte("{}"), backend.Condition{})
		fmt.Println(err)
	}
	// Output:
	// write workspace "prod" in faulty: permission denied
	// <nil>
}

// A client that does not know whether it has the lock is told how to clear it.
func ExampleBackend_LoseReply() {
	ctx, f := context.Background(), faulty.Wrap(memory.New())
	f.LoseReply(faulty.Lock, 1)
	l, _ := backend.As[lock.Locker](f)

	_, err := l.Lock(ctx, "prod", lock.Info{ID: "42"})
	fmt.Println(err)
	unknown, _ := errors.AsType[*lock.UnknownError](err)
	fmt.Println(l.Unlock(ctx, "prod", unknown.ID))
	// Output:
	// workspace "prod" may have been locked with ID 42 (unlock it with that ID): the reply was lost
	// <nil>
}

// Another client writes between our read and our write.
func ExampleBackend_Before() {
	ctx, b := context.Background(), memory.New()
	f := faulty.Wrap(b)
	f.Before(faulty.Write, 1, func(ctx context.Context) error {
		_, err := b.Write(ctx, "prod", []byte("theirs"), backend.Condition{})
		return err
	})
	_, err := f.Write(ctx, "prod", []byte("ours"), backend.Condition{})
	fmt.Println(err)
	// Output:
	// write workspace "prod" in memory: the state has changed since it was read
}

// A run is cancelled while its write is on the way back.
func ExampleBackend_HangReply() {
	ctx, cancel := context.WithCancel(context.Background())
	f := faulty.Wrap(memory.New())
	reached, release := f.HangReply(faulty.Write, 1)
	defer release()
	go func() {
		<-reached
		cancel()
	}()
	_, err := f.Write(ctx, "prod", []byte("{}"), backend.Condition{})
	fmt.Println(err)
	// Output:
	// write workspace "prod" in faulty: outcome unknown: context canceled
}

// A slow service makes a tool give up.
func ExampleBackend_Delay() {
	f := faulty.Wrap(memory.New())
	f.Delay(faulty.Any, faulty.Every, time.Hour)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err := f.Read(ctx, "prod")
	fmt.Println(err)
	// Output:
	// read workspace "prod" in faulty: context deadline exceeded
}
