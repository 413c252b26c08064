package custom_test

import (
	"crypto/rand"
	"net/http/httptest"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/backend/backendtest"
	"github.com/statelatch/statelatch/examples/custom"
	"github.com/statelatch/statelatch/examples/custom/kvstore"
)

func TestConformance(t *testing.T) {
	mux := backend.NewMux(custom.Driver)
	backendtest.Run(t, backendtest.Target{
		New: func(t testing.TB) backendtest.Namespace {
			store := &kvstore.Store{}
			server := httptest.NewServer(kvstore.WithFaults(store))
			t.Cleanup(server.Close)
			open := func(prefix string) func(testing.TB) backend.Backend {
				return func(t testing.TB) backend.Backend {
					b, err := mux.OpenURL(t.Context(), "kv://"+server.Listener.Addr().String()+prefix)
					if err != nil {
						t.Fatal(err)
					}
					return b
				}
			}
			return backendtest.Namespace{
				Open: open("/a"), Beside: open("/ab"), Hung: open("/hung/a"),
				Lossy:       func(t testing.TB) backend.Backend { return open("/lossy/" + rand.Text() + "/a")(t) },
				CorruptLock: func(_ testing.TB, workspace string) { store.Put("/a/locks/"+workspace, []byte("rubbish")) },
			}
		},
		Skips: backendtest.Skips{
			"Advance": "locks do not expire", "Renewer": "locks do not expire",
			"Limited": "it has no such setting", "Unlocked": "it has no such setting", "Canary": "it has no credentials",
			"Empty": "the store takes no empty value", "Waiter": "the store tells nobody", "Watcher": "the store tells nobody",
		},
	})
}
