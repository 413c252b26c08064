package s3

import "time"

// SetDigestPatience makes Read less patient with a digest that does not match.
func (b *Backend) SetDigestPatience(pause, limit time.Duration) {
	b.digestPause, b.digestLimit = pause, limit
}
