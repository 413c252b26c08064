package azblob

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// body is what a PUT sends. The transport may go on reading when a request that was
// cut short has returned; by then the data is the caller's again.
type body struct {
	mu sync.Mutex
	r  *bytes.Reader // nil once released
}

func newBody(data []byte) *body { return &body{r: bytes.NewReader(data)} }

var errReleased = errors.New("the request has ended")

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.r == nil {
		return 0, errReleased
	}
	return b.r.Read(p)
}

func (b *body) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.r == nil {
		return 0, errReleased
	}
	return b.r.Seek(offset, whence)
}

func (b *body) Close() error { return nil }

func (b *body) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.r = nil
}

var _ io.ReadSeekCloser = (*body)(nil)
