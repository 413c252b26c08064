package testservice

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/statelatch/statelatch/internal/services"
)

// A Server runs. Its methods are safe for concurrent use; what they do to a server
// that tests share, they do to all of them.
type Server struct {
	Endpoint  string // "http://127.0.0.1:41234"; Azurite's goes on with the account
	Addr      string // "127.0.0.1:41234"
	AccessKey string // S3, DynamoDB: the access key's ID; Azurite: the account
	SecretKey string // S3, DynamoDB: the secret access key; Azurite: the account's key, in base64
	Region    string // S3, DynamoDB
	KMSKey    string // MinIO: a key for SSE-KMS, by its bare name
	Token     string // Consul: it may do everything
	CA        *CA    // who signed the server's certificate; nil if it speaks HTTP
	CAFile    string // CA.PEM, as a file
	InMemory  bool   // Restart loses all data

	kind      Kind
	dir       string // holds all that the server leaves behind
	program   string
	args, env []string
	ports     []int
	hold      io.Closer // keeps other test processes off the endpoint's port

	mu      sync.Mutex
	process *process // nil: not started yet, killed or stopped
	stopped bool
}

const (
	attempts     = 3 // whoever took the port meanwhile, will not three times
	patience     = 2 * time.Minute
	grace        = 10 * time.Second
	pollInterval = 20 * time.Millisecond
)

// missingError: the service called name is not built.
type missingError struct {
	name string
	error
}

func (e *missingError) Unwrap() error { return e.error }

// errExited: the process ended before it answered, as it does if its port is taken.
var errExited = errors.New("it ended before it answered")

func start(k Kind) (*Server, error) {
	if k.find == nil {
		k.find = services.Path
	}
	program, err := k.find(k.name)
	if errors.Is(err, services.ErrNotBuilt) {
		return nil, &missingError{k.name, err}
	}
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		s := &Server{kind: k, program: program, InMemory: k.inMemory}
		if err = s.prepare(); err == nil {
			err = s.launch()
		}
		if err == nil {
			return s, nil
		}
		s.Stop()
		if attempt == attempts || !errors.Is(err, errExited) {
			return nil, fmt.Errorf("start %s: %w", k.name, err)
		}
	}
}

// prepare decides all that stays the same when the server is restarted.
func (s *Server) prepare() (err error) {
	if s.dir, err = os.MkdirTemp("", "statelatch-"+s.kind.name+"-"); err != nil {
		return err
	}
	for _, dir := range []string{s.data(), s.certs()} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	if err := s.reserve(); err != nil {
		return err
	}
	s.Endpoint = "http://" + s.Addr
	if s.kind.https {
		s.Endpoint = "https://" + s.Addr
		if err := s.certify(); err != nil {
			return err
		}
	}
	if s.kind.login != nil {
		s.kind.login(s)
	}
	s.args, s.env = s.kind.command(s)
	s.env = append(s.env, "PATH="+os.Getenv("PATH"), "HOME="+s.dir, "TMPDIR="+s.dir)
	return nil
}

// reserve finds the ports. Only that of the endpoint is kept from others: Consul
// itself uses UDP on another.
func (s *Server) reserve() error {
	port, hold, err := freePort()
	if err != nil {
		return err
	}
	s.hold, s.Addr = hold, net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for range s.kind.ports {
		port, hold, err := freePort()
		if err != nil {
			return err
		}
		defer hold.Close() // not before all differ
		s.ports = append(s.ports, port)
	}
	return nil
}

func (s *Server) certify() (err error) {
	if s.CA, err = NewCA(); err != nil {
		return err
	}
	if err := s.CA.install(s.certs()); err != nil {
		return err
	}
	s.CAFile = filepath.Join(s.dir, "ca.pem")
	return os.WriteFile(s.CAFile, s.CA.PEM, 0o600)
}

func (s *Server) data() string  { return filepath.Join(s.dir, "data") }
func (s *Server) certs() string { return filepath.Join(s.dir, "certs") }
func (s *Server) log() string   { return filepath.Join(s.dir, "log") }

func (s *Server) host() string { host, _, _ := net.SplitHostPort(s.Addr); return host }
func (s *Server) port() string { _, port, _ := net.SplitHostPort(s.Addr); return port }

// launch starts the program and waits until it answers.
func (s *Server) launch() error {
	log, err := os.OpenFile(s.log(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.program, s.args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, s.env, log, log
	if s.process, err = launch(cmd); err != nil {
		return err
	}
	if err := s.await(s.process); err != nil {
		s.crash()
		return fmt.Errorf("%w\n%s", err, s.tail())
	}
	return nil
}

// await polls until the server answers as one that is ready does.
func (s *Server) await(p *process) error {
	client := &http.Client{Transport: s.transport()}
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(s.kind.patience, patience))
	defer cancel()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for last := errors.New("no answer yet"); ; {
		select {
		case <-p.done:
			return fmt.Errorf("%w: %v", errExited, p.err)
		case <-ctx.Done():
			return fmt.Errorf("it is not ready after %v; GET %s: %w", cmp.Or(s.kind.patience, patience), s.Endpoint+s.kind.path, last)
		case <-poll.C:
		}
		err := s.ask(ctx, client)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
	}
}

// transport trusts the server's CA, knows no proxy, and leaves nothing open.
func (s *Server) transport() *http.Transport {
	t := &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: time.Second}
	if s.CA != nil {
		t.TLSClientConfig = &tls.Config{RootCAs: s.CA.Pool()}
	}
	return t
}

// ask returns nil if the server is ready.
func (s *Server) ask(ctx context.Context, client *http.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+s.kind.path, nil)
	if err != nil {
		return err
	}
	if s.Token != "" {
		req.Header.Set("X-Consul-Token", s.Token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && !s.kind.ready(resp, string(body)) {
		err = fmt.Errorf("%s: %.200s", resp.Status, body)
	}
	return err
}

// check returns an error if the server does not run.
func (s *Server) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.process == nil:
		return fmt.Errorf("%s was stopped or killed by another test", s.kind.name)
	case s.process.ended():
		return fmt.Errorf("%s has ended: %v\n%s", s.kind.name, s.process.err, s.tail())
	}
	return nil
}

// Kill ends the server as a crash would. What it has on disk stays for [Server.Restart].
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.crash()
}

func (s *Server) crash() {
	if s.process != nil {
		s.process.kill()
		s.process = nil
	}
}

// Restart stops the server, unless it was killed, and starts it again on the same
// port and data; see [Server.InMemory]. It returns when the server answers.
func (s *Server) Restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return fmt.Errorf("restart %s: it was stopped, and its data removed", s.kind.name)
	}
	if s.process != nil {
		s.process.terminate(grace)
	}
	if err := s.launch(); err != nil {
		return fmt.Errorf("restart %s: %w", s.kind.name, err)
	}
	return nil
}

// Stop ends the server and removes its data.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	s.crash()
	if s.hold != nil {
		s.hold.Close()
	}
	if s.dir != "" {
		os.RemoveAll(s.dir)
	}
}

// Logs returns all that the server has printed, since before any restart; nothing
// after Stop.
func (s *Server) Logs() string {
	text, _ := os.ReadFile(s.log()) // none if it never started
	return string(text)
}

// tail says how the log ends.
func (s *Server) tail() string {
	const lines, size = 40, 8 << 10
	log := []byte(s.Logs())
	log = bytes.TrimSpace(log[max(0, len(log)-size):])
	all := strings.Split(string(log), "\n")
	end := strings.Join(all[max(0, len(all)-lines):], "\n")
	return fmt.Sprintf("the log of %s at %s ends:\n%s", s.kind.name, s.Addr, cmp.Or(end, "(it is empty)"))
}
