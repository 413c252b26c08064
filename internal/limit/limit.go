// Package limit bounds the size of a state: the setting max_size of every service.
package limit

import (
	"bytes"
	"fmt"
	"io"
	"math"
)

// Of returns how many bytes a state may have at most, where the setting asks for
// maxSize: 1 GiB if it asks for nothing.
func Of(maxSize int64) int64 {
	if maxSize <= 0 {
		return 1 << 30
	}
	return min(maxSize, math.MaxInt64-1) // a byte more is read, to see whether there is one
}

// ReadAll reads to the end, where a client may verify a checksum, but no more than one
// byte beyond limit. size is a guess, and negative if there is none.
func ReadAll(r io.Reader, size, limit int64) ([]byte, error) {
	buf := bytes.NewBuffer(make([]byte, 0, min(max(size, 0), limit)+bytes.MinRead))
	_, err := buf.ReadFrom(io.LimitReader(r, limit+1))
	return buf.Bytes(), err
}

// Exceeded is what to say of a state that has size bytes, or more.
func Exceeded(size, limit int64) error {
	return fmt.Errorf("it has %d bytes or more, at most %d are allowed (setting max_size)", size, limit)
}
