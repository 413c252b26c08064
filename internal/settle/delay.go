package settle

import (
	"net/http"
	"strconv"
	"time"
)

// Asked returns how long a server asks not to be asked again, an hour at most: its
// header Retry-After says so in seconds, or until when. 0 means that it does not ask.
func Asked(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	var delay time.Duration
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
		delay = time.Duration(seconds) * time.Second
	} else if until, err := http.ParseTime(text); err == nil {
		delay = time.Until(until)
	}
	return min(max(delay, 0), time.Hour)
}
