package all_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/statelatch/statelatch/backend"
	"github.com/statelatch/statelatch/httpbackend/server"
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
	ca, caKey := certify(t, "CA", nil, nil)
	host, hostKey := certify(t, "host", ca, caKey)
	ann, annKey := certify(t, "ann", ca, caKey)
	pair, err := tls.X509KeyPair(pemOf("CERTIFICATE", host.Raw), keyPEM(t, hostKey))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return entrance{
		auth: server.ClientCertificate,
		tls:  &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12},
		settings: map[string]string{
			"client_ca_certificate_pem": string(pemOf("CERTIFICATE", ca.Raw)),
			"client_certificate_pem":    string(pemOf("CERTIFICATE", ann.Raw)),
			"client_private_key_pem":    string(keyPEM(t, annKey)),
		},
	}
}

// certify issues a certificate; without a CA, one of a CA.
func certify(t *testing.T, name string, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: ca == nil,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if ca == nil {
		ca, caKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, &key.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func keyPEM(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf("PRIVATE KEY", der)
}

func pemOf(typ string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})
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
