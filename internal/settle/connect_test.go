package settle_test

import (
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/statelatch/statelatch/internal/settle"
)

func TestUnconnected(t *testing.T) {
	for _, proxy := range []string{"", "http://127.0.0.1:1", "https://127.0.0.1:1", "socks5://127.0.0.1:1"} {
		transport := &http.Transport{}
		if proxy != "" {
			u, err := url.Parse(proxy)
			if err != nil {
				t.Fatal(err)
			}
			transport.Proxy = http.ProxyURL(u)
		}
		client := http.Client{Transport: transport}
		resp, err := client.Get("https://127.0.0.1:1")
		if err == nil {
			resp.Body.Close()
		}
		if !settle.Unconnected(err) {
			t.Errorf("by proxy %q: %v", proxy, err)
		}
	}
	if settle.Unconnected(errors.New("broken pipe")) {
		t.Error("whatever else")
	}
}
