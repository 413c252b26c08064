package s3

import "time"

// IsAWS reports whether a client is trusted as AWS.
var IsAWS = isAWS

// SetMoment gives a cancelled call more time to remove a scratch object.
func (b *Backend) SetMoment(moment time.Duration) { b.moment = moment }

// SetDigestPatience makes Read less patient with a digest that does not match.
func (b *Backend) SetDigestPatience(pause, limit time.Duration) {
	b.digestPause, b.digestLimit = pause, limit
}
