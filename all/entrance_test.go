package all_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/server"
	"github.com/statelatch/statelatch/internal/testservice"
)

// An entrance is a way to be let in.
type entrance struct {
	auth     server.Auth
	tls      *tls.Config       // of the server; nil for HTTP
	settings map[string]string // of the block
}

func basicEntrance(*testing.T) entrance {
	return entrance{auth: server.Basic(map[string]string{"ann": "secret"}), settings: map[string]string{"username": "ann", "password": "secret"}}
}

// mutualEntrance lets those in who have a certificate.
func mutualEntrance(t *testing.T) entrance {
	ca, err := testservice.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	host, err := ca.Issue()
	if err != nil {
		t.Fatal(err)
	}
	ann, err := ca.IssueClient("ann")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := testservice.PEM(ann)
	if err != nil {
		t.Fatal(err)
	}
	return entrance{
		auth: server.ClientCertificate,
		tls:  &tls.Config{Certificates: []tls.Certificate{host}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12},
		settings: map[string]string{
			"client_ca_certificate_pem": string(ca.PEM),
			"client_certificate_pem":    string(cert),
			"client_private_key_pem":    string(key),
		},
	}
}

// serve serves b for the length of the test, and returns the address of its default
// workspace.
func (e entrance) serve(t *testing.T, b backend.Backend, opts server.Options) string {
	t.Helper()
	opts.Auth = e.auth
	s, err := server.New(b, opts)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + l.Addr().String() + "/default"
	if e.tls != nil {
		address = "https" + strings.TrimPrefix(address, "http")
		l = tls.NewListener(l, e.tls)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return address
}

// block is the backend block for an address; query is added where it unlocks.
func (e entrance) block(address, query string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "backend \"http\" {\n    address = %q\n    lock_address = %q\n    unlock_address = %q\n", address, address, address+query)
	for name, value := range e.settings {
		fmt.Fprintf(&b, "    %s = <<EOT\n%s\nEOT\n", name, strings.TrimSpace(value))
	}
	text := b.String() + "  }"
	for name, value := range e.settings {
		if !strings.Contains(value, "\n") { // else the heredoc's newline would be a part of it
			text = strings.Replace(text, fmt.Sprintf("%s = <<EOT\n%s\nEOT\n", name, value), fmt.Sprintf("%s = %q\n", name, value), 1)
		}
	}
	return text
}
