package server_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/statelatch/statelatch/httpbackend/server"
	"github.com/statelatch/statelatch/memory"
)

// bare stores bytes in a map: the least that a server can do.
type bare struct {
	mu     sync.Mutex
	states map[string][]byte
}

func (h *bare) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		h.mu.Lock()
		data := h.states[r.URL.Path]
		h.mu.Unlock()
		w.Write(data)
	case http.MethodPost:
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		h.mu.Lock()
		h.states[r.URL.Path] = data
		h.mu.Unlock()
	}
}

// BenchmarkServer has 64 clients read, and write, each a state of its own of 10 KB, as
// Terraform does it without a lock: of this server over package memory with basic
// authentication, and of one that stores bytes in a map.
func BenchmarkServer(b *testing.B) {
	handlers := map[string]http.Handler{
		"bare":   &bare{states: map[string][]byte{}},
		"memory": serve(b, memory.New(), server.Options{Auth: server.Basic(map[string]string{"ann": "secret"})}),
	}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, name := range slices.Sorted(maps.Keys(handlers)) {
			b.Run(method+"/"+name, func(b *testing.B) { benchmark(b, handlers[name], method) })
		}
	}
}

func benchmark(b *testing.B, h http.Handler, method string) {
	s := httptest.NewServer(h)
	defer s.Close()
	transport := &http.Transport{MaxIdleConnsPerHost: crowd}
	defer transport.CloseIdleConnections()
	state := bytes.Repeat([]byte("0123456789"), 1000)
	one := func(method string, i int) error {
		r, err := http.NewRequestWithContext(b.Context(), method, fmt.Sprintf("%s/state-%d", s.URL, i), nil)
		if err != nil {
			return err
		}
		if method == http.MethodPost {
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(state)), int64(len(state))
		}
		r.SetBasicAuth("ann", "secret")
		reply, err := transport.RoundTrip(r)
		if err != nil {
			return err
		}
		defer reply.Body.Close()
		if reply.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", reply.StatusCode)
		}
		_, err = io.Copy(io.Discard, reply.Body)
		return err
	}
	for i := range crowd {
		if err := one(http.MethodPost, i); err != nil {
			b.Fatal(err)
		}
	}
	took := make([][]time.Duration, crowd)
	var group sync.WaitGroup
	b.ResetTimer()
	start := time.Now()
	for i := range crowd {
		n := b.N / crowd
		if i < b.N%crowd {
			n++
		}
		group.Go(func() {
			for range n {
				start := time.Now()
				if err := one(method, i); err != nil {
					b.Error(err)
					return
				}
				took[i] = append(took[i], time.Since(start))
			}
		})
	}
	group.Wait()
	elapsed := time.Since(start)
	all := slices.Concat(took...)
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	b.ReportMetric(float64(len(all))/elapsed.Seconds(), "requests/s")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
}
