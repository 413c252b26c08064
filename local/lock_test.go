//go:build unix

package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"

	"github.com/google/go-cmp/cmp"
)

func infoOf(c Config) string {
	return filepath.Join(filepath.Dir(c.Path), ".terraform.tfstate.lock.info")
}

func TestLockRecord(t *testing.T) {
	t.Parallel()
	config := place(t)
	b := open(t, config)
	asked := lock.NewInfo("OperationTypeApply")
	info, err := b.Lock(t.Context(), ws, asked)
	if err != nil {
		t.Fatal(err)
	}
	asked.Path = config.Path
	if diff := cmp.Diff(asked, info); diff != "" {
		t.Errorf("Lock returned (-want +got):\n%s", diff)
	}
	want, err := json.Marshal(asked)
	if err != nil {
		t.Fatal(err)
	}
	want = fmt.Appendf(want[:len(want)-1], `,"PID":%d}`, os.Getpid())
	if diff := cmp.Diff(string(want), string(raw(t, infoOf(config)))); diff != "" {
		t.Errorf("the record (-want +got):\n%s", diff)
	}
	if mode := modeOf(t, infoOf(config)); mode != 0o600 {
		t.Errorf("the record has mode %o", mode)
	}
	if err := b.Unlock(t.Context(), ws, info.ID); err != nil {
		t.Fatal(err)
	}
	if present(infoOf(config)) {
		t.Error("the record is there after the release")
	}
	// A Terraform that waits for the lock has this file open.
	if !present(config.Path) || len(raw(t, config.Path)) != 0 {
		t.Error("the empty state file is not there after the release")
	}
}

func TestLockRefuses(t *testing.T) {
	t.Parallel()
	b := open(t, place(t))
	long := lock.NewInfo("long")
	long.Info = strings.Repeat("x", lock.MaxInfo)
	expiring := lock.NewInfo("expiring")
	expiring.TTL = time.Minute
	for _, c := range []struct {
		info lock.Info
		kind error
	}{
		{long, backend.ErrInvalid}, {lock.Info{}, backend.ErrInvalid}, {expiring, errors.ErrUnsupported},
	} {
		_, err := b.Lock(t.Context(), ws, c.info)
		is(t, "Lock", err, c.kind)
		_, err = b.Holder(t.Context(), ws)
		is(t, "Holder after a refused Lock", err, lock.ErrNotHeld)
	}
}

// TestWaitTells: a call whose context ends while it waits for another says for what.
func TestWaitTells(t *testing.T) {
	t.Parallel()
	b := hung(t)
	for doing, call := range map[string]func(context.Context) error{
		"Lock": func(ctx context.Context) error {
			_, err := b.(lock.Locker).Lock(ctx, ws, lock.NewInfo("test"))
			return err
		},
		"Read": func(ctx context.Context) error {
			_, err := b.Read(ctx, ws)
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := call(ctx)
		cancel()
		if is(t, doing, err, context.DeadlineExceeded); !strings.Contains(err.Error(), ".journal: "+errBusy.Error()) {
			t.Errorf("%s: %v, want it to say what it waited for", doing, err)
		}
	}
}

// TestRecordWithoutLock: what a crash has left beside a state is no lock.
func TestRecordWithoutLock(t *testing.T) {
	t.Parallel()
	config := place(t)
	b := open(t, config)
	write(t, b, []byte("state"))
	put(t, infoOf(config), []byte(`{"ID":"stale"}`))
	_, err := b.Holder(t.Context(), ws)
	is(t, "Holder", err, lock.ErrNotHeld)
	is(t, "Unlock", b.Unlock(t.Context(), ws, "stale"), lock.ErrNotHeld)
	_, err = b.Write(t.Context(), ws, []byte("x"), backend.Condition{Revision: backend.AnyRevision, LockID: "stale"})
	is(t, "Write", err, lock.ErrNotHeld)
	info := take(t, b)
	if holder, err := open(t, config).Holder(t.Context(), ws); err != nil || holder.ID != info.ID {
		t.Errorf("Holder: %s, %v", holder, err)
	}
}

// TestLockWithoutRecord: whoever holds a lock whose record cannot be read has an ID.
func TestLockWithoutRecord(t *testing.T) {
	t.Parallel()
	for name, record := range map[string]string{
		"none": "", "rubbish": "\x00\x01", "no ID": `{"Who":"me"}`, "long": `{"ID":"` + strings.Repeat("x", lock.MaxInfo) + `"}`,
	} {
		config := place(t)
		a, b := open(t, config), open(t, config)
		info := take(t, a)
		put(t, infoOf(config), []byte(record))
		if name == "none" {
			os.Remove(infoOf(config))
		}
		if holder, err := a.Holder(t.Context(), ws); err != nil || holder != info {
			t.Errorf("%s: its own Holder: %s, %v; want %s", name, holder, err, info)
		}
		holder, err := b.Holder(t.Context(), ws)
		if err != nil || !strings.HasPrefix(holder.ID, "unreadable-") {
			t.Errorf("%s: Holder: %s, %v", name, holder, err)
		}
		_, err = b.Lock(t.Context(), ws, lock.NewInfo("test"))
		if got := heldBy(t, name, err).Holder; got != holder {
			t.Errorf("%s: Lock says %s, Holder says %s", name, got, holder)
		}
		is(t, name+": Unlock", b.Unlock(t.Context(), ws, holder.ID), errors.ErrUnsupported)
		if err := a.Unlock(t.Context(), ws, info.ID); err != nil {
			t.Errorf("%s: Unlock by the holder: %v", name, err)
		}
	}
}

func TestHeldByAnotherProcess(t *testing.T) {
	t.Parallel()
	config := place(t)
	cmd, lines := listening(t, part{Role: "hold", Config: config})
	defer ended(cmd)
	lines.Scan()
	id := lines.Text()
	b := open(t, config)
	_, err := b.Lock(t.Context(), ws, lock.NewInfo("test"))
	if holder := heldBy(t, "Lock", err).Holder; holder.ID != id || holder.Operation != "hold" {
		t.Errorf("Lock says that %s holds it, not %s", holder, id)
	}
	_, err = b.Write(t.Context(), ws, []byte("x"), backend.Condition{})
	heldBy(t, "Write", err)
	_, err = b.Write(t.Context(), ws, []byte("x"), backend.Condition{LockID: id})
	is(t, "Write with its ID", err, errors.ErrUnsupported)
	err = b.Unlock(t.Context(), ws, id)
	heldBy(t, "Unlock", err)
	is(t, "Unlock", err, errors.ErrUnsupported)
	if !strings.Contains(err.Error(), fmt.Sprintf("process %d", cmd.Process.Pid)) {
		t.Errorf("which process? %v", err)
	}
	if err := b.Unlock(t.Context(), ws, "other"); errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Unlock with another ID: %v", err)
	}
	ended(cmd)
	_, err = b.Holder(t.Context(), ws)
	is(t, "Holder when it is dead", err, lock.ErrNotHeld)
	take(t, b)
}

// TestHeldByTerraform has a child lock as Terraform does.
func TestHeldByTerraform(t *testing.T) {
	t.Parallel()
	config := place(t)
	cmd := child(t, part{Role: "posix", Config: config})
	lines := conversation(t, cmd)
	defer ended(cmd)
	lines.Scan()
	b := open(t, config)
	put(t, infoOf(config), []byte(`{"ID":"stale","Who":"a dead run of ours","PID":4242}`))
	_, err := b.Lock(t.Context(), ws, lock.NewInfo("test"))
	held := heldBy(t, "Lock", err)
	if strings.Contains(held.Error(), "stale") || strings.Contains(held.Error(), "dead") {
		t.Errorf("the record of another lock tells the holder: %v", held)
	}
	_, err = b.Write(t.Context(), ws, []byte("x"), backend.Condition{})
	heldBy(t, "Write", err)
	if !strings.Contains(held.Error(), fmt.Sprintf("process %d", cmd.Process.Pid)) {
		t.Errorf("which process? %v", held)
	}
	err = b.Unlock(t.Context(), ws, held.Holder.ID)
	if !strings.Contains(err.Error(), fmt.Sprintf("process %d", cmd.Process.Pid)) {
		t.Errorf("which process? %v", err)
	}
	ended(cmd)
	take(t, b)

	// And the other way round.
	other := child(t, part{Role: "posix", Config: config})
	lines = conversation(t, other)
	defer ended(other)
	if lines.Scan(); lines.Text() != "resource temporarily unavailable" {
		t.Errorf("with our lock held, Terraform would get: %s", lines.Text())
	}
}

// TestFileReplaced: who holds the lock of a file that has been replaced holds
// nothing, and takes nothing from the next.
func TestFileReplaced(t *testing.T) {
	t.Parallel()
	config := place(t)
	a, b := open(t, config), open(t, config)
	write(t, a, []byte("before"))
	lost := take(t, a)
	put(t, config.Path+".tmp", []byte("after"))
	if err := os.Rename(config.Path+".tmp", config.Path); err != nil {
		t.Fatal(err)
	}
	_, err := a.Holder(t.Context(), ws)
	is(t, "Holder", err, lock.ErrNotHeld)
	next := take(t, b)
	_, err = a.Write(t.Context(), ws, []byte("x"), backend.Condition{Revision: backend.AnyRevision, LockID: lost.ID})
	heldBy(t, "Write under the lost lock", err)
	heldBy(t, "Unlock of the lost lock", a.Unlock(t.Context(), ws, lost.ID))
	if holder, err := a.Holder(t.Context(), ws); err != nil || holder.ID != next.ID {
		t.Errorf("Holder: %s, %v", holder, err)
	}
	if got := string(raw(t, config.Path)); got != "after" {
		t.Errorf("the state is %q", got)
	}
}

// TestLockIsNotCollected: a lock is not lost with the Backend that took it.
func TestLockIsNotCollected(t *testing.T) {
	t.Parallel()
	config := place(t)
	func() {
		b, err := New(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		h := take(t, b)
		t.Cleanup(func() { releaseAll(h.ID) })
	}()
	for range 3 {
		runtime.GC()
	}
	if _, err := open(t, config).Holder(t.Context(), ws); err != nil {
		t.Error(err)
	}
}

// releaseAll releases what nobody can reach any more.
func releaseAll(id string) {
	pinned.Range(func(h, _ any) bool {
		if h := h.(*held); h.info.ID == id {
			h.release()
		}
		return true
	})
}

// TestRemovedWhileWritten: Terraform gives up its lock, and then removes the empty file
// that it made for it, into which we have begun to write.
func TestRemovedWhileWritten(t *testing.T) {
	config := place(t)
	b := open(t, config)
	defer func() { testHook = nil }()
	testHook = func(step string) {
		if step == "journal safe" {
			os.Remove(config.Path)
		}
	}
	_, err := b.Write(t.Context(), ws, []byte("x"), backend.Condition{})
	is(t, "Write", err, backend.ErrUnknown)
	testHook = nil
	_, err = b.Read(t.Context(), ws)
	is(t, "Read", err, backend.ErrNotExist)
	write(t, b, []byte("x"))
}

// TestUnlockWaitsForWrite: a lock is not released under a write in progress.
func TestUnlockDuringWrites(t *testing.T) {
	t.Parallel()
	config := place(t)
	a, b := open(t, config), open(t, config)
	for range 50 {
		info := take(t, a)
		wrote := make(chan error)
		go func() {
			_, err := a.Write(t.Context(), ws, document(100_000), backend.Condition{Revision: backend.AnyRevision, LockID: info.ID})
			wrote <- err
		}()
		if err := a.Unlock(t.Context(), ws, info.ID); err != nil {
			t.Fatal(err)
		}
		write(t, b, []byte("after the release"))
		if err := <-wrote; err != nil && !errors.Is(err, lock.ErrNotHeld) {
			t.Fatal(err)
		}
		if got := raw(t, config.Path); string(got) != "after the release" {
			t.Fatalf("a write took place after the release of its lock: %s", what(got))
		}
	}
}

func TestAcquireWaits(t *testing.T) {
	t.Parallel()
	config := place(t)
	a, b := open(t, config), open(t, config)
	info := take(t, a)
	waiting := make(chan struct{})
	acquired := make(chan error)
	go func() {
		k, err := lock.Acquire(t.Context(), b, ws, lock.NewInfo("next"), lock.Options{
			Timeout: minute,
			OnWait:  func(*lock.HeldError) { close(waiting) },
		})
		if err == nil {
			err = k.Release(context.Background())
		}
		acquired <- err
	}()
	<-waiting
	if err := a.Unlock(t.Context(), ws, info.ID); err != nil {
		t.Fatal(err)
	}
	if err := <-acquired; err != nil {
		t.Error(err)
	}
}
