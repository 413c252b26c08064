package backendtest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// Benchmarks measures a write and a read of 1 KB, 1 MB and 100 MB, as far as
// MaxSize allows, a lock with its unlock, the hand-off of a lock to 1, 2 and 20
// waiters, and a list of 100 workspaces. They are the same for every service, so that
// their results can be compared.
func Benchmarks(b *testing.B, target Target) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"1KB", 1e3}, {"1MB", 1e6}, {"100MB", 1e8}} {
		if target.MaxSize > 0 && size.bytes > target.MaxSize {
			continue
		}
		data := make([]byte, size.bytes)
		rand.NewChaCha8([32]byte{}).Read(data)
		b.Run("write/"+size.name, func(b *testing.B) { benchmarkWrite(b, target, data) })
		b.Run("read/"+size.name, func(b *testing.B) { benchmarkRead(b, target, data) })
	}
	b.Run("lock and unlock", func(b *testing.B) { benchmarkLock(b, target) })
	for _, waiters := range []int{1, 2, 20} {
		b.Run(fmt.Sprintf("hand-off/%d", waiters), func(b *testing.B) { benchmarkHandOff(b, target, waiters) })
	}
	b.Run("list/100", func(b *testing.B) { benchmarkList(b, target) })
}

func (target Target) bench(b *testing.B) (backend.Backend, string) {
	client := target.New(b).Open(b)
	b.Cleanup(func() { client.Close() })
	if target.Workspace != "" {
		return client, target.Workspace
	}
	return client, backend.DefaultWorkspace
}

func benchmarkWrite(b *testing.B, target Target, data []byte) {
	client, workspace := target.bench(b)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var cond backend.Condition
	for b.Loop() {
		data[0]++ // another state each time
		rev, err := client.Write(b.Context(), workspace, data, cond)
		if err != nil {
			b.Fatal(err)
		}
		cond.Revision = rev
	}
}

func benchmarkRead(b *testing.B, target Target, data []byte) {
	client, workspace := target.bench(b)
	if _, err := client.Write(b.Context(), workspace, data, backend.Condition{}); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Read(b.Context(), workspace); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkLock(b *testing.B, target Target) {
	client, workspace := target.bench(b)
	l, ok := backend.As[lock.Locker](client)
	if !ok {
		b.Skip("it is no lock.Locker")
	}
	b.ReportAllocs()
	for b.Loop() {
		held, err := l.Lock(b.Context(), workspace, lock.NewInfo("benchmark"))
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Unlock(b.Context(), workspace, held.ID); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkList(b *testing.B, target Target) {
	client, _ := target.bench(b)
	for i := range 100 {
		if _, err := client.Write(b.Context(), fmt.Sprint("w-", i), []byte("x"), backend.Condition{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range client.List(b.Context()) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
