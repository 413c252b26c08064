//go:build unix

package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/statelatch/statelatch/internal/testservice"
)

// serving starts "serve" and returns its address.
func (w *world) serving(t *testing.T, args ...string) (*running, string) {
	t.Helper()
	r := w.start(append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	line := r.out.line(t)
	address, ok := strings.CutPrefix(line, "Serving ")
	if !ok {
		t.Fatalf("it says %q; %s", line, r.err)
	}
	return r, strings.TrimSuffix(address, "/WORKSPACE")
}

func status(t *testing.T, c *http.Client, url, user, password string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestServe: what serve serves is what the backend has, to those who know the password;
// and a signal ends it in order.
func TestServe(t *testing.T) {
	w := newWorld(t)
	put(t, "users", "alice:correct horse\nbob:battery\n")
	put(t, "s.tfstate", state(4, lineage, true))
	r, address := w.serving(t, "--url", "test:a", "--basic-auth-file", "users")
	for _, test := range []struct {
		user, password string
		want           int
	}{{"", "", 401}, {"alice", "wrong", 401}, {"mallory", "battery", 401}, {"bob", "battery", 404}, {"alice", "correct horse", 404}} {
		if got := status(t, http.DefaultClient, address+"/prod", test.user, test.password); got != test.want {
			t.Errorf("%s: status %d, want %d", test.user, got, test.want)
		}
	}
	t.Setenv("TF_HTTP_USERNAME", "alice")
	t.Setenv("TF_HTTP_PASSWORD", "correct horse")
	client := address + "/{workspace}?lock_address=" + address + "/{workspace}&unlock_address=" + address + "/{workspace}"
	w.ok("push", "s.tfstate", "--url", client, "--workspace", "prod")
	if got := w.ok("pull", "--url", "test:a", "--workspace", "prod"); got != state(4, lineage, true) {
		t.Errorf("behind the server is %s", got)
	}
	id := strings.TrimSpace(w.ok("lock", "--url", client, "--workspace", "prod"))
	if code, _, stderr := w.statelatch("", "push", "s.tfstate", "--force", "--url", "test:a", "--workspace", "prod"); code != exitHeld {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	w.ok("unlock", id, "--url", client, "--workspace", "prod")

	r.cancel(signalled{syscall.SIGTERM})
	if code := r.wait(t); code != 0 {
		t.Errorf("exit code %d: %s", code, r.err)
	}
	for _, secret := range []string{"correct horse", "battery", "hunter2"} {
		if strings.Contains(r.err.String(), secret) {
			t.Errorf("the log shows a secret: %s", r.err)
		}
	}
	if !strings.Contains(r.err.String(), "alice") {
		t.Errorf("the log does not say who it was: %s", r.err)
	}
}

// TestServedTwice: a lock of files ends with the server that took it; another cannot
// release it, and so nobody is told to try again.
func TestServedTwice(t *testing.T) {
	w := newWorld(t)
	client := func() string {
		_, address := w.serving(t, "--url", "local:terraform.tfstate", "--anonymous")
		return address + "/default?lock_address=" + address + "/default&unlock_address=" + address + "/default"
	}
	id := strings.TrimSpace(w.ok("lock", "--url", client()))
	code, _, stderr := w.statelatch("", "unlock", id, "--url", client())
	if code != exitHeld || !strings.Contains(stderr, "nobody else can release it") || strings.Contains(stderr, "unlock "+id) {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// TestServeJSON: the address and the log are JSON, one document a line or more.
func TestServeJSON(t *testing.T) {
	w := newWorld(t)
	r := w.start("serve", "--listen", "127.0.0.1:0", "--anonymous", "--url", "test:a", "--json")
	text := ""
	for !strings.HasSuffix(text, "}") {
		text += r.out.line(t)
	}
	var told serving
	if err := json.Unmarshal([]byte(text), &told); err != nil {
		t.Fatal(err)
	}
	if got := status(t, http.DefaultClient, told.Address+"/prod", "", ""); got != 404 {
		t.Errorf("status %d", got)
	}
	r.cancel(signalled{syscall.SIGINT})
	if code := r.wait(t); code != 0 {
		t.Errorf("exit code %d: %s", code, r.err)
	}
	for line := range strings.Lines(r.err.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

// TestServeSize: it takes what the backends take.
func TestServeSize(t *testing.T) {
	_, address := newWorld(t).serving(t, "--anonymous", "--url", "test:a")
	for size, want := range map[int]string{1 << 30: "408", 1<<30 + 1: "413"} { // the first is broken off
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(address, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /prod HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size)
		_ = conn.(*net.TCPConn).CloseWrite()
		reply, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.Contains(reply, want) {
			t.Errorf("%d bytes: %q, %v; want %s", size, reply, err, want)
		}
	}
}

// TestServeTLS: with --client-ca only clients with its certificates are let in; with
// passwords beside it, either will do.
func TestServeTLS(t *testing.T) {
	w := newWorld(t)
	ca, clientCA, other := newCA(t), newCA(t), newCA(t)
	host, err := ca.Issue()
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := testservice.PEM(host)
	if err != nil {
		t.Fatal(err)
	}
	put(t, "cert.pem", string(cert))
	put(t, "key.pem", string(key))
	put(t, "clients.pem", string(clientCA.PEM))
	put(t, "users", "alice:secret\n")
	// client trusts the server, and shows a certificate, if somebody issues one.
	client := func(by *testservice.CA) *http.Client {
		config := &tls.Config{RootCAs: ca.Pool()}
		if by != nil {
			pair, err := by.IssueClient("bob")
			if err != nil {
				t.Fatal(err)
			}
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		tr := &http.Transport{TLSClientConfig: config}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
	refused := func(c *http.Client, address string) {
		t.Helper()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"/prod", nil)
		if resp, err := c.Do(req); err == nil {
			resp.Body.Close()
			t.Errorf("let in, status %d", resp.StatusCode)
		}
	}
	tlsFlags := []string{"--url", "test:a", "--tls-cert", "cert.pem", "--tls-key", "key.pem", "--client-ca", "clients.pem"}
	_, address := w.serving(t, tlsFlags...)
	if !strings.HasPrefix(address, "https://") {
		t.Errorf("address %s", address)
	}
	refused(client(nil), address)
	refused(client(other), address)
	if got := status(t, client(clientCA), address+"/prod", "", ""); got != 404 {
		t.Errorf("status %d", got)
	}

	_, address = w.serving(t, append(tlsFlags, "--basic-auth-file", "users")...)
	if got := status(t, client(nil), address+"/prod", "", ""); got != 401 {
		t.Errorf("nobody: status %d", got)
	}
	if got := status(t, client(nil), address+"/prod", "alice", "secret"); got != 404 {
		t.Errorf("alice: status %d", got)
	}
	if got := status(t, client(clientCA), address+"/prod", "", ""); got != 404 {
		t.Errorf("bob: status %d", got)
	}
}

func newCA(t *testing.T) *testservice.CA {
	t.Helper()
	ca, err := testservice.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	return ca
}
