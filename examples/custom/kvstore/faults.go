package kvstore

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// WithFaults returns a handler of store whose network is bad: a request to
// /lossy/CLIENT/PATH reaches PATH, but of each CLIENT the first that changes
// something gets no reply; and one to /hung/PATH reaches nothing.
func WithFaults(store *Store) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", store)
	mux.HandleFunc("/hung/", hang)
	mux.Handle("/lossy/", http.StripPrefix("/lossy/", &lossy{store: store}))
	return mux
}

func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

type lossy struct {
	store   *Store
	clients sync.Map // those that have lost a reply
}

func (l *lossy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	client, path, _ := strings.Cut(r.URL.Path, "/")
	r.URL.Path = "/" + path
	if r.Method != http.MethodGet {
		if _, again := l.clients.LoadOrStore(client, true); !again {
			l.store.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler) // breaks the connection
		}
	}
	l.store.ServeHTTP(w, r)
}
