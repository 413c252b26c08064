// Package kvstore is the store that the example keeps states in, as somebody else
// might run it: HTTP, an ETag for each value, and the conditions If-Match and
// If-None-Match. It knows nothing of states or locks.
package kvstore

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// Store keeps values in memory, by their paths: GET, PUT, DELETE, and GET of a path
// that ends in a slash for the names below it, one a line. A value has some bytes.
type Store struct {
	mu     sync.Mutex
	values map[string]value
	puts   int
}

type value struct {
	data []byte
	etag string
}

// ServeHTTP implements [http.Handler].
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body bytes.Buffer
	body.Grow(int(min(max(r.ContentLength, 0), 64<<20)) + bytes.MinRead) // a guess
	if _, err := body.ReadFrom(r.Body); err != nil {
		return // the client has gone
	}
	status, found := s.apply(r, body.Bytes())
	w.Header().Set("Content-Length", strconv.Itoa(len(found.data)))
	w.Header().Set("ETag", found.etag)
	w.WriteHeader(status)
	_, _ = w.Write(found.data) // a client that has gone needs no answer
}

// apply does what a request asks for, at one moment.
func (s *Store) apply(r *http.Request, data []byte) (int, value) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path, match := r.URL.Path, r.Header.Get("If-Match")
	found, exists := s.values[path]
	switch {
	case strings.HasSuffix(path, "/"):
		return http.StatusOK, value{data: s.below(path)}
	case !exists && r.Method != http.MethodPut:
		return http.StatusNotFound, value{}
	case match != "" && match != found.etag, exists && r.Header.Get("If-None-Match") == "*":
		return http.StatusPreconditionFailed, value{}
	case r.Method == http.MethodPut && len(data) == 0:
		return http.StatusBadRequest, value{}
	case r.Method == http.MethodPut:
		return http.StatusOK, value{etag: s.put(path, data)}
	case r.Method == http.MethodDelete:
		delete(s.values, path)
		return http.StatusOK, value{}
	}
	return http.StatusOK, found
}

// Put stores a value, whatever is there.
func (s *Store) Put(path string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(path, data)
}

func (s *Store) put(path string, data []byte) (etag string) {
	if s.values == nil {
		s.values = map[string]value{}
	}
	s.puts++
	etag = fmt.Sprintf(`"%d"`, s.puts)
	s.values[path] = value{data, etag}
	return etag
}

func (s *Store) below(folder string) (names []byte) {
	for path := range s.values {
		if name, ok := strings.CutPrefix(path, folder); ok {
			names = append(names, name+"\n"...)
		}
	}
	return names
}
