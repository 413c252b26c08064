package testservice

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// A CA signs certificates for servers and proxies in tests.
type CA struct {
	PEM  []byte // its own certificate
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA makes a CA, valid for a day, as are the certificates that it issues.
func NewCA() (*CA, error) {
	template := certificate("CA of statelatch's tests")
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign
	der, key, err := sign(template, nil)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &CA{PEM: certPEM(der), cert: cert, key: key}, nil
}

// Pool returns a pool that trusts the CA alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// Issue returns a certificate of a server on this machine: for the loopback
// addresses, localhost, and the given DNS names.
func (ca *CA) Issue(names ...string) (tls.Certificate, error) {
	template := certificate("localhost")
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	template.DNSNames = append([]string{"localhost"}, names...)
	return ca.issue(template)
}

// IssueClient returns a certificate of a client of that name.
func (ca *CA) IssueClient(name string) (tls.Certificate, error) {
	template := certificate(name)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return ca.issue(template)
}

func (ca *CA) issue(template *x509.Certificate) (tls.Certificate, error) {
	der, key, err := sign(template, ca)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// PEM returns an issued certificate and its key as files have them.
func PEM(issued tls.Certificate) (cert, key []byte, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(issued.PrivateKey)
	if err != nil {
		return nil, nil, err
	}
	return certPEM(issued.Certificate[0]), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes([]byte(rand.Text()[:16])),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
}

// sign makes a key and has ca, or the key itself, sign its certificate.
func sign(template *x509.Certificate, ca *CA) (der []byte, key *ecdsa.PrivateKey, err error) {
	key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if ca == nil {
		ca = &CA{cert: template, key: key}
	}
	der, err = x509.CreateCertificate(rand.Reader, template, ca.cert, &key.PublicKey, ca.key)
	return der, key, err
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// What MinIO calls the files in its folder of certificates.
const certFile, keyFile = "public.crt", "private.key"

// install writes a new certificate of the CA, and its key, into dir.
func (ca *CA) install(dir string) error {
	issued, err := ca.Issue()
	if err != nil {
		return err
	}
	cert, key, err := PEM(issued)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, keyFile), key, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, certFile), cert, 0o600)
}
