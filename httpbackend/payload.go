package httpbackend

import (
	"io"
	"net/http"
	"sync"
)

// A payload is the caller's data. The client of net/http may still be sending it when
// the reply is there, or the context has ended: close takes it away from it.
type payload struct {
	mu   sync.Mutex
	data []byte // nil when closed
}

func (p *payload) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.data = nil
}

// reading is one reading of a payload.
type reading struct {
	*payload
	offset int
}

// Read implements [io.Reader].
func (r *reading) Read(buf []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.data == nil:
		return 0, http.ErrBodyReadAfterClose
	case r.offset == len(r.data):
		return 0, io.EOF
	}
	n := copy(buf, r.data[r.offset:])
	r.offset += n
	return n, nil
}

// Close implements [io.Closer]. The payload is read again where a redirect is followed.
func (r *reading) Close() error { return nil }
