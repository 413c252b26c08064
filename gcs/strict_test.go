package gcs_test

import (
	"strings"
	"testing"
)

// TestStrictFakeGCS tests the proxy that makes fake-gcs-server as strict as Cloud
// Storage, and that it is still needed.
func TestStrictFakeGCS(t *testing.T) {
	t.Parallel()
	n := fakegcs.open(t)
	server, proxy := n.start(t).Endpoint, n.proxy(t).URL()
	object := func(base, name string) string { return n.url(base, n.object(name)) }
	generation := func(name string) string {
		n.put(t, name, "x")
		_, text := send(t, "GET", object(server, name), nil)
		_, rest, _ := strings.Cut(text, `"generation":"`)
		digits, _, _ := strings.Cut(rest, `"`)
		return digits
	}
	first := generation("a")
	second := generation("a")
	for _, test := range []struct {
		name, method, url string
		status            int
		text              string
	}{
		{"DELETE of another generation", "DELETE", object(proxy, "a") + "?ifGenerationMatch=" + first, 412, "pre-conditions"},
		{"it is still there", "GET", object(proxy, "a"), 200, second},
		{"DELETE of its generation", "DELETE", object(proxy, "a") + "?ifGenerationMatch=" + second, 200, ""},
		{"it is gone", "GET", object(proxy, "a"), 404, ""},
		{"DELETE of none", "DELETE", object(proxy, "a") + "?ifGenerationMatch=" + second, 404, "No such object"},
		{"JSON, missing bucket", "GET", proxy + api + "missing/o/a", 404, "The specified bucket does not exist."},
		{"XML, missing bucket", "GET", proxy + "/missing/a", 404, "<Code>NoSuchBucket</Code>"},
		{"upload, missing bucket", "POST", proxy + upload + "missing/o?uploadType=media&name=a", 404, "The specified bucket does not exist."},
		{"XML", "GET", proxy + "/" + n.config.Bucket + "/" + n.object("b"), 404, ""},
	} {
		if status, text := send(t, test.method, test.url, nil); status != test.status || !strings.Contains(text, test.text) {
			t.Errorf("%s: %d %s", test.name, status, text)
		}
	}
	stale := generation("b")
	generation("b")
	if status, _ := send(t, "DELETE", object(server, "b")+"?ifGenerationMatch="+stale, nil); status != 200 {
		t.Errorf("without the proxy: %d: this rule of it is not needed any longer", status)
	}
}
