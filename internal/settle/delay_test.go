package settle_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/statelatch/statelatch/internal/settle"
)

func TestAsked(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "2": 2 * time.Second, "-2": 0, "1000000": time.Hour, "99999999999999999999": 0, "soon": 0, "1.5": 0,
		"Mon, 02 Jan 2006 15:04:05 GMT": 0, "Mon, 02 Jan 2150 15:04:05 GMT": time.Hour,
	} {
		if got := settle.Asked(http.Header{"Retry-After": {text}}); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	at := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
	if got := settle.Asked(http.Header{"Retry-After": {at}}); got < 50*time.Second || got > time.Minute {
		t.Errorf("in a minute: %s", got)
	}
}
