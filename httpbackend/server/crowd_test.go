package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
	"github.com/statelatch/statelatch/httpbackend"
	"github.com/statelatch/statelatch/httpbackend/server"
	"github.com/statelatch/statelatch/local"
	"github.com/statelatch/statelatch/lock"
	"github.com/statelatch/statelatch/lock/locktest"
	"github.com/statelatch/statelatch/memory"
)

const crowd = 64

// stores are those that the crowd uses.
var stores = map[string]func(t testing.TB) backend.Backend{
	"memory": func(testing.TB) backend.Backend { return memory.New() },
	"local": func(t testing.TB) backend.Backend {
		dir := t.TempDir()
		b, err := local.New(t.Context(), local.Config{
			Path: filepath.Join(dir, "terraform.tfstate"), WorkspaceDir: filepath.Join(dir, "workspaces"), NoBackup: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return b
	},
}

// gather runs f for each client of the crowd at once.
func gather(t *testing.T, store backend.Backend, f func(i int, b *httpbackend.Backend)) {
	t.Helper()
	base, _ := run(t, serve(t, store, server.Options{}), "")
	var group sync.WaitGroup
	for i := range crowd {
		b := client(t, base)
		group.Go(func() { f(i, b) })
	}
	group.Wait()
}

// TestCrowdWrites: of 64 clients that count in one state, each by the revision that it
// read and without a lock, no count is lost, and each revision is replaced once.
func TestCrowdWrites(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			store := open(t)
			const each = 5
			var mu sync.Mutex
			replaced := map[backend.Revision]string{}
			var conflicts atomic.Int64
			gather(t, store, func(i int, b *httpbackend.Backend) {
				for done := 0; done < each; {
					st, err := b.Read(t.Context(), "prod")
					if err != nil && !errors.Is(err, backend.ErrNotExist) {
						t.Error(err)
						return
					}
					count, _, _ := strings.Cut(string(st.Data), " ")
					n, _ := strconv.Atoi(count)
					data := fmt.Appendf(nil, "%d by %d", n+1, i)
					_, err = b.Write(t.Context(), "prod", data, backend.Condition{Revision: st.Revision})
					switch {
					case errors.Is(err, backend.ErrConflict):
						conflicts.Add(1)
						continue
					case err != nil:
						t.Error(err)
						return
					}
					done++
					mu.Lock()
					if first, twice := replaced[st.Revision]; twice {
						t.Errorf("%q and %q have replaced the same state, %q", first, data, st.Data)
					}
					replaced[st.Revision] = string(data)
					mu.Unlock()
				}
			})
			st, err := store.Read(t.Context(), "prod")
			if want := fmt.Appendf(nil, "%d by ", crowd*each); err != nil || !bytes.HasPrefix(st.Data, want) {
				t.Errorf("the state is %q (%v), want %q", st.Data, err, want)
			}
			t.Logf("%d updates and %d conflicts", len(replaced), conflicts.Load())
		})
	}
}

// TestCrowdLocks: of 64 clients that lock one state, one has it.
func TestCrowdLocks(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			const each = 2
			var inside, got, refused atomic.Int64
			gather(t, open(t), func(i int, b *httpbackend.Backend) {
				for mine := 0; mine < each && t.Context().Err() == nil; {
					held, err := b.Lock(t.Context(), "prod", lock.NewInfo("crowd"))
					if errors.As(err, new(*lock.HeldError)) {
						refused.Add(1)
						time.Sleep(rand.N(100 * time.Millisecond))
						continue
					} else if err != nil {
						t.Error(err)
						return
					}
					if n := inside.Add(1); n != 1 {
						t.Errorf("%d have the lock", n)
					}
					if _, err := b.Write(t.Context(), "prod", fmt.Appendf(nil, "%d of %d", mine, i), backend.Condition{Revision: backend.AnyRevision, LockID: held.ID}); err != nil {
						t.Error(err)
					}
					inside.Add(-1)
					if err := b.Unlock(t.Context(), "prod", held.ID); err != nil {
						t.Error(err)
						return
					}
					got.Add(1)
					mine++
				}
			})
			t.Logf("%d locks and %d refusals", got.Load(), refused.Load())
			if got.Load() != crowd*each {
				t.Errorf("%d locks were taken", got.Load())
			}
		})
	}
}

// TestCrowdLinearizable has 64 clients at work in 16 workspaces, whose histories must
// each have an order.
func TestCrowdLinearizable(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			base, _ := run(t, serve(t, open(t), server.Options{}), "")
			seed := locktest.Seed(t)
			var group sync.WaitGroup
			for part := range crowd / 4 {
				backends, lockers := make([]backend.Backend, 4), make([]lock.Locker, 4)
				for i := range backends {
					b := client(t, base)
					backends[i], lockers[i] = b, b
				}
				group.Go(func() {
					backendtest.Rounds(t, seed+uint64(part), 8, func(round int) (string, []backend.Backend) {
						return fmt.Sprintf("states-%d-%d", part, round), backends
					})
					locktest.Rounds(t, seed+uint64(part), 8, func(round int) (string, []lock.Locker) {
						return fmt.Sprintf("locks-%d-%d", part, round), lockers
					})
				})
			}
			group.Wait()
		})
	}
}
