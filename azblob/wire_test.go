package azblob_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/statelatch/statelatch/azblob"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/lock"
)

// A recorder answers like a service with one blob, and notes what it is sent.
type recorder struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string // with the headers that matter
}

// telling are the headers that a test here looks at.
var telling = []string{
	"Content-Md5", "If-Match", "If-None-Match", "X-Ms-Blob-Content-Type", "X-Ms-Blob-Type", "X-Ms-Encryption-Algorithm", "X-Ms-Encryption-Key",
	"X-Ms-Encryption-Key-Sha256", "X-Ms-Encryption-Scope", "X-Ms-Lease-Action", "X-Ms-Lease-Duration", "X-Ms-Lease-Id", "X-Ms-Meta-Owner",
}

func newRecorder(t *testing.T) *recorder {
	r := &recorder{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		io.Copy(io.Discard, q.Body)
		line := describeHTTP(q)
		for _, name := range telling {
			if value := q.Header.Get(name); value != "" {
				line += "\n  " + name + ": " + value
			}
		}
		r.mu.Lock()
		r.requests = append(r.requests, line)
		r.mu.Unlock()
		header := w.Header()
		header.Set("ETag", `"0x1"`)
		header.Set("X-Ms-Request-Id", "1")
		header.Set("x-ms-meta-Owner", "me")
		header.Set("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg==") // of "hello"
		switch {
		case q.Method == http.MethodGet:
			io.WriteString(w, "hello")
		case q.Method == http.MethodHead:
			header.Set("Content-Length", "5")
		case q.Method == http.MethodDelete:
			w.WriteHeader(http.StatusAccepted)
		case q.URL.Query().Get("comp") == "metadata", q.Header.Get("X-Ms-Lease-Action") == "release":
			w.WriteHeader(http.StatusOK)
		default:
			w.WriteHeader(http.StatusCreated)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func describeHTTP(q *http.Request) string {
	line := q.Method
	if comp := q.URL.Query().Get("comp"); comp != "" {
		line += " " + comp
	}
	return line
}

func (r *recorder) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := strings.Join(r.requests, "\n") + "\n"
	r.requests = nil
	return all
}

func (r *recorder) open(t *testing.T, change func(*azblob.Config)) *azblob.Backend {
	t.Helper()
	config := azblob.Config{StorageAccountName: "account", ContainerName: "container", Key: "key", AccessKey: "a2V5", BlobEndpoint: r.URL}
	if change != nil {
		change(&config)
	}
	b, err := azblob.New(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// cycle locks, reads, writes with a snapshot, unlocks and looks.
func cycle(t *testing.T, b *azblob.Backend) lock.Info {
	t.Helper()
	held, err := b.Lock(t.Context(), ws, lock.NewInfo("test"))
	if err != nil {
		t.Fatal(err)
	}
	st, err := b.Read(t.Context(), ws)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Write(t.Context(), ws, []byte("new"), backend.Condition{Revision: st.Revision, LockID: held.ID}); err != nil {
		t.Fatal(err)
	}
	if err := b.Unlock(t.Context(), ws, held.ID); err != nil {
		t.Fatal(err)
	}
	return held
}

// TestEncryptionOnTheWire: the emulator has neither customer-provided keys nor
// encryption scopes, so this is what is sent for them, request by request.
func TestEncryptionOnTheWire(t *testing.T) {
	const key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
	provided := "\n  X-Ms-Encryption-Algorithm: AES256\n  X-Ms-Encryption-Key: " + key + "\n  X-Ms-Encryption-Key-Sha256: hhAJ7E1Zn6sfQKvHbm+JiAz/WDPHnFSMmfkEXxkc2Qs="
	scope := "\n  X-Ms-Encryption-Scope: scope"
	for _, test := range []struct {
		name           string
		change         func(*azblob.Config)
		reads, changes string
	}{
		{"none", func(*azblob.Config) {}, "", ""},
		{"customer-provided key", func(c *azblob.Config) { c.CustomerProvidedKey = key }, provided, provided},
		{"encryption scope", func(c *azblob.Config) { c.EncryptionScope = "scope" }, "", scope},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRecorder(t)
			b := r.open(t, func(c *azblob.Config) {
				c.Snapshot = true
				test.change(c)
			})
			held := cycle(t, b)
			want := strings.NewReplacer("<reads>", test.reads, "<changes>", test.changes, "<id>", held.ID).Replace(strings.TrimPrefix(`
HEAD<reads>
PUT metadata
  If-Match: "0x1"<changes>
  X-Ms-Meta-Owner: me
PUT lease
  If-Match: "0x1"
  X-Ms-Lease-Action: acquire
  X-Ms-Lease-Duration: -1
GET<reads>
PUT snapshot
  If-Match: "0x1"<changes>
  X-Ms-Lease-Id: <id>
PUT
  Content-Md5: Iq9kXRhZy1ym2gxITx836g==
  If-Match: "0x1"
  X-Ms-Blob-Content-Type: application/json
  X-Ms-Blob-Type: BlockBlob<changes>
  X-Ms-Lease-Id: <id>
  X-Ms-Meta-Owner: me
PUT lease
  If-Match: "0x1"
  X-Ms-Lease-Action: release
  X-Ms-Lease-Id: <id>
PUT metadata
  If-Match: "0x1"<changes>
  X-Ms-Meta-Owner: me
`, "\n"))
			if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(r.take(), "\n")); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// TestEntered: how each way to enter the account shows in a request.
func TestEntered(t *testing.T) {
	var seen *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		w.Header().Set("X-Ms-Error-Code", "BlobNotFound")
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	for name, test := range map[string]struct {
		change func(*azblob.Config)
		check  func() bool
	}{
		"key before SAS": {func(c *azblob.Config) { c.AccessKey, c.SASToken = "a2V5", "sig=x" }, func() bool {
			return strings.HasPrefix(seen.Header.Get("Authorization"), "SharedKey account:") && seen.URL.RawQuery == ""
		}},
		"SAS": {func(c *azblob.Config) { c.SASToken = "sv=1&sig=x%2By" }, func() bool {
			return seen.Header.Get("Authorization") == "" && seen.URL.Query().Get("sig") == "x+y"
		}},
		"SAS with its question mark, before Entra ID": {func(c *azblob.Config) { c.SASToken, c.UseAzureADAuth = "?sig=x", true }, func() bool {
			return seen.Header.Get("Authorization") == "" && slices.Equal(seen.URL.Query()["sig"], []string{"x"})
		}},
	} {
		config := azblob.Config{StorageAccountName: "account", ContainerName: "container", Key: "dir/key", BlobEndpoint: server.URL + "/"}
		test.change(&config)
		b, err := azblob.New(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Read(t.Context(), "prod"); !errors.Is(err, backend.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
		b.Close()
		if !test.check() || seen.URL.Path != "/container/dir/keyenv:prod" {
			t.Errorf("%s: %s %s, Authorization %q", name, seen.URL.Path, seen.URL.RawQuery, seen.Header.Get("Authorization"))
		}
	}
}

// TestEndpoints: where each cloud has the account.
func TestEndpoints(t *testing.T) {
	for environment, host := range map[string]string{
		"": "account.blob.core.windows.net", "public": "account.blob.core.windows.net", "Global": "account.blob.core.windows.net",
		"usgovernment": "account.blob.core.usgovcloudapi.net", "usgovernmentl4": "account.blob.core.usgovcloudapi.net",
		"dod": "account.blob.core.usgovcloudapi.net", "usgovernmentl5": "account.blob.core.usgovcloudapi.net",
		"china": "account.blob.core.chinacloudapi.cn", "canary": "account.blob.core.windows.net",
	} {
		config := azblob.Config{StorageAccountName: "account", ContainerName: "container", Key: "key", AccessKey: "a2V5", Environment: environment}
		b, err := azblob.New(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		b.Close()
		got := b.URL()
		if want := "https://" + host; !strings.HasPrefix(got, want) {
			t.Errorf("environment %q: the container is at %q, want %q", environment, got, want)
		}
	}
}
