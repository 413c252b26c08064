package testservice

import (
	"crypto/x509"
	"testing"
)

func TestCA(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	issued, err := ca.Issue("account.example.com")
	if err != nil {
		t.Fatal(err)
	}
	fromPEM := x509.NewCertPool()
	fromPEM.AppendCertsFromPEM(ca.PEM)
	tests := []struct {
		host  string
		roots *x509.CertPool
		good  bool
	}{
		{"127.0.0.1", ca.Pool(), true},
		{"::1", ca.Pool(), true},
		{"localhost", fromPEM, true},
		{"account.example.com", fromPEM, true},
		{"example.com", ca.Pool(), false},
		{"127.0.0.1", other.Pool(), false},
	}
	leaf, err := x509.ParseCertificate(issued.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: tt.roots, DNSName: tt.host})
		if (err == nil) != tt.good {
			t.Errorf("%s: %v", tt.host, err)
		}
	}
}

func newCA(t *testing.T) *CA {
	t.Helper()
	ca, err := NewCA()
	if err != nil {
		t.Fatal(err)
	}
	return ca
}
