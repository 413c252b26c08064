package httpbackend_test

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend"
	"github.com/statelatch/statelatch/internal/testservice"
	"github.com/statelatch/statelatch/lock"
)

// A recorder takes everything, has no state, and notes what it is asked.
type recorder struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	io.Copy(io.Discard, q.Body)
	line := q.Method + " " + q.URL.RequestURI()
	if user, password, ok := q.BasicAuth(); ok {
		line += " " + user + ":" + password
	} else if authorization := q.Header.Get("Authorization"); authorization != "" {
		line += " " + authorization
	}
	if extra := q.Header.Get("X-Extra"); extra != "" {
		line += " extra " + extra
	}
	if q.TLS != nil && len(q.TLS.PeerCertificates) > 0 {
		line += " by " + q.TLS.PeerCertificates[0].Subject.CommonName
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, line)
	if q.Method == http.MethodGet {
		w.WriteHeader(http.StatusNotFound)
	}
}

// open opens a Backend by its settings, those of three addresses and others.
func (r *recorder) open(t *testing.T, others backend.Settings) backend.Backend {
	t.Helper()
	s := backend.Settings{"address": r.URL + "/state?a=b", "lock_address": r.URL + "/lock", "unlock_address": r.URL + "/unlock"}
	maps.Copy(s, others)
	b, err := httpbackend.Driver.Open(t.Context(), s.Decode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// TestAttributesOnTheWire: what each attribute does to the requests of one cycle.
func TestAttributesOnTheWire(t *testing.T) {
	usual := []string{"LOCK /lock", "POST /state?ID=<id>&a=b", "GET /state?a=b", "UNLOCK /unlock"}
	all := func(suffix string) (lines []string) {
		for _, line := range usual {
			lines = append(lines, line+suffix)
		}
		return lines
	}
	for name, test := range map[string]struct {
		others backend.Settings
		want   []string
	}{
		"addresses":            {nil, usual},
		"no locks":             {backend.Settings{"lock_address": nil, "unlock_address": nil}, []string{"POST /state?a=b", "GET /state?a=b"}},
		"methods":              {backend.Settings{"update_method": "PUT", "lock_method": "POST", "unlock_method": "DELETE"}, []string{"POST /lock", "PUT /state?ID=<id>&a=b", "GET /state?a=b", "DELETE /unlock"}},
		"username, password":   {backend.Settings{"username": "u", "password": "p:w"}, all(" u:p:w")},
		"username":             {backend.Settings{"username": "u"}, all(" u:")},
		"password":             {backend.Settings{"password": "p"}, usual},
		"headers":              {backend.Settings{"headers": map[string]any{"Authorization": "Bearer t", "x-extra": "1"}}, all(" Bearer t extra 1")},
		"headers beside basic": {backend.Settings{"username": "u", "headers": map[string]any{"X-Extra": "1"}}, all(" u: extra 1")},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{}
			r.Server = httptest.NewServer(r)
			defer r.Close()
			b := r.open(t, test.others)
			locks, ok := backend.As[lock.Locker](b)
			if !ok {
				t.Fatal("it does not lock")
			}
			held, err := locks.Lock(t.Context(), backend.DefaultWorkspace, lock.NewInfo("test"))
			if err != nil && !errors.Is(err, errors.ErrUnsupported) {
				t.Fatal(err)
			}
			cond := backend.Condition{Revision: backend.AnyRevision, LockID: held.ID}
			if _, err := b.Write(t.Context(), backend.DefaultWorkspace, []byte("{}"), cond); err != nil {
				t.Error(err)
			}
			if _, err := b.Read(t.Context(), backend.DefaultWorkspace); !errors.Is(err, backend.ErrNotExist) {
				t.Error(err)
			}
			if held.ID != "" {
				if err := locks.Unlock(t.Context(), backend.DefaultWorkspace, held.ID); err != nil {
					t.Error(err)
				}
			}
			got := strings.Split(strings.ReplaceAll(strings.Join(r.asked, "\n"), "ID="+held.ID, "ID=<id>"), "\n")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestClientCertificate: the one of client_certificate_pem and client_private_key_pem is
// shown to a server that asks.
func TestClientCertificate(t *testing.T) {
	r := &recorder{}
	r.Server = httptest.NewUnstartedServer(r)
	r.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	r.StartTLS()
	defer r.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}))
	cert, key := clientPair(t, "client")
	b := r.open(t, backend.Settings{"client_ca_certificate_pem": ca, "client_certificate_pem": cert, "client_private_key_pem": key})
	if _, err := b.Read(t.Context(), backend.DefaultWorkspace); !errors.Is(err, backend.ErrNotExist) || !slices.Equal(r.asked, []string{"GET /state?a=b by client"}) {
		t.Errorf("%v, %q", err, r.asked)
	}
}

// clientPair returns a client's certificate and key.
func clientPair(t *testing.T, name string) (cert, key string) {
	t.Helper()
	ca, err := testservice.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	issued, err := ca.IssueClient(name)
	if err != nil {
		t.Fatal(err)
	}
	c, k, err := testservice.PEM(issued)
	if err != nil {
		t.Fatal(err)
	}
	return string(c), string(k)
}
