package consul_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/consul"
	"github.com/statelatch/statelatch/internal/services"
	"github.com/statelatch/statelatch/internal/testservice"
	"github.com/statelatch/statelatch/lock"
)

// An ownAgent is an agent with a configuration that testservice does not offer.
type ownAgent struct {
	t       *testing.T
	program string
	args    []string
	client  *api.Client // for whether it is ready
	stdin   io.Closer
	cmd     *exec.Cmd
}

// run starts an agent. Its ports but those in hcl are found here.
func run(t *testing.T, mode []string, hcl string, client *api.Client) *ownAgent {
	t.Helper()
	program, err := services.Path("consul")
	if errors.Is(err, services.ErrNotBuilt) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	a := &ownAgent{t: t, program: program, client: client}
	a.args = append([]string{"agent", "-bind", "127.0.0.1", "-client", "127.0.0.1", "-serf-lan-port", testservice.Port(t), "-server-port", testservice.Port(t),
		"-serf-wan-port", "-1", "-grpc-port", "-1", "-grpc-tls-port", "-1", "-dns-port", "-1", "-hcl", hcl, "-log-level", "warn"}, mode...)
	a.start()
	t.Cleanup(a.stop)
	return a
}

// start starts the agent under a shell that ends it when this process does, and
// waits until it has a leader and knows its node.
func (a *ownAgent) start() {
	a.t.Helper()
	const script = `"$@" & read _; kill -9 $!; wait`
	a.cmd = exec.Command("sh", append([]string{"-c", script, "sh", a.program}, a.args...)...)
	var err error
	if a.stdin, err = a.cmd.StdinPipe(); err != nil {
		a.t.Fatal(err)
	}
	var log strings.Builder
	a.cmd.Stdout, a.cmd.Stderr = &log, &log
	if err := a.cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		nodes, _, err := a.client.Health().Service("consul", "", true, nil)
		if err == nil && len(nodes) > 0 {
			return
		}
		if time.Now().After(deadline) {
			a.stop()
			a.t.Fatalf("the agent is not ready: %v\n%s", err, log.String())
		}
	}
}

// stop kills the agent.
func (a *ownAgent) stop() {
	a.stdin.Close()
	a.cmd.Wait()
}

// States, locks and revisions outlive a crash of the server; a waiter waits on.
func TestServerRestart(t *testing.T) {
	t.Parallel()
	address := net.JoinHostPort("127.0.0.1", testservice.Port(t))
	n := at(t, "http://"+address, "")
	_, httpPort, _ := net.SplitHostPort(address)
	server := run(t, []string{"-server", "-bootstrap-expect", "1", "-data-dir", t.TempDir(), "-http-port", httpPort},
		`performance { raft_multiplier = 1 }`, n.raw)
	b, other := n.client(t), n.client(t)
	rev := mustWrite(t, b, []byte("one"), backend.Condition{})
	plain, err := b.Lock(t.Context(), "plain", lock.NewInfo("test"))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := lock.Acquire(t.Context(), b, ws, lock.NewInfo("test"), lock.Options{TTL: time.Minute}) // longer than a restart
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		lock *lock.Lock
		err  error
	}
	waits, done := make(chan bool, 1), make(chan result, 1)
	go func() {
		l, err := lock.Acquire(t.Context(), other, "plain", lock.NewInfo("test"), lock.Options{Timeout: time.Minute, OnWait: func(*lock.HeldError) { waits <- true }})
		done <- result{l, err}
	}()
	<-waits

	server.stop()
	if _, err := b.Write(t.Context(), ws, []byte("two"), condition(rev)); !errors.Is(err, backend.ErrTransient) {
		t.Errorf("Write while the server is down: %v", err)
	}
	server.start()

	if st := mustRead(t, b); string(st.Data) != "one" || st.Revision != rev {
		t.Errorf("read %q at %q", st.Data, st.Revision)
	}
	if holder, err := other.Holder(t.Context(), "plain"); err != nil || holder != plain {
		t.Errorf("holder: %v, %v", holder, err)
	}
	mustWrite(t, b, []byte("two"), backend.Condition{Revision: rev, LockID: kept.ID()})
	if kept.Context().Err() != nil {
		t.Errorf("lost: %v", context.Cause(kept.Context()))
	}
	if err := kept.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if err := b.Unlock(t.Context(), "plain", plain.ID); err != nil {
		t.Fatal(err)
	}
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	if err := r.lock.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// One agent speaks TLS with those who have a certificate, and plainly on a socket.
func TestTLSAndUnixSocket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca, err := testservice.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue()
	if err != nil {
		t.Fatal(err)
	}
	serverCert, serverKey, err := testservice.PEM(cert)
	if err != nil {
		t.Fatal(err)
	}
	clients, err := testservice.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	clientCert, clientKey := pair(t, clients, "client")
	caFile, clientFile, keyFile := file("ca.pem", ca.PEM), file("client.pem", clientCert), file("client.key", clientKey)
	socketDir, err := os.MkdirTemp("", "consul") //nolint:usetesting // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(socketDir)
	socket, tls := "unix://"+filepath.Join(socketDir, "http"), testservice.Port(t)
	n := at(t, socket, "")
	run(t, []string{"-dev"}, fmt.Sprintf(`
		addresses { http = %q, https = "127.0.0.1" }
		ports { https = %s }
		tls { defaults { ca_file = %q, cert_file = %q, key_file = %q }, https { verify_incoming = true } }`,
		socket, tls, file("trusted.pem", clients.PEM), file("server.pem", serverCert), file("server.key", serverKey)), n.raw)

	plain := n.client(t)
	rev := mustWrite(t, plain, []byte("one"), backend.Condition{})
	mustUnlock(t, plain, mustLock(t, plain).ID)
	secure := func(cert, key string) *consul.Backend {
		return n.client(t, func(c *consul.Config) {
			c.Address, c.Scheme, c.CAFile, c.CertFile, c.KeyFile = "127.0.0.1:"+tls, "https", caFile, cert, key
		})
	}
	if st := mustRead(t, secure(clientFile, keyFile)); string(st.Data) != "one" || st.Revision != rev {
		t.Errorf("read %q", st.Data)
	}
	_, err = secure("", "").Read(t.Context(), ws)
	kind := backend.ErrPermission
	if errors.Is(err, backend.ErrTransient) { // as far as HTTP/2 tells
		kind = backend.ErrTransient
	}
	check(t, "Read without a certificate", err, kind, "cert_file and key_file")
}

// pair issues the certificate of a client of that name, in PEM.
func pair(t *testing.T, ca *testservice.CA, name string) (cert, key []byte) {
	t.Helper()
	issued, err := ca.IssueClient(name)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err = testservice.PEM(issued)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func pemOf(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
