package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority is a certificate authority for servers that speak TLS and for their
// clients. What it signs is valid for two days.
type Authority struct {
	File string // its own certificate, in PEM

	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority with a new key.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a, err := OpenAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// OpenAuthority is NewAuthority for programs that are not tests. The authority
// writes its files into dir, an existing directory.
func OpenAuthority(dir string) (*Authority, error) {
	a := &Authority{dir: dir}
	a.cert = template(pkix.Name{CommonName: "authority " + rand.Text()[:8]})
	a.cert.IsCA, a.cert.BasicConstraintsValid, a.cert.KeyUsage = true, true, x509.KeyUsageCertSign
	var err error
	a.File, _, a.key, err = a.sign(a.cert)
	return a, err
}

// Issue writes a certificate, for the server at 127.0.0.1 and for its clients, and
// its key, in PEM. The edits change the certificate before it is signed.
func (a *Authority) Issue(t testing.TB, edits ...func(*x509.Certificate)) (certFile, keyFile string) {
	t.Helper()
	certFile, keyFile, err := a.issue(edits)
	if err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

func (a *Authority) issue(edits []func(*x509.Certificate)) (certFile, keyFile string, err error) {
	c := template(pkix.Name{CommonName: "test"})
	c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	c.KeyUsage = x509.KeyUsageDigitalSignature
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, edit := range edits {
		edit(c)
	}
	certFile, keyFile, _, err = a.sign(c)
	return certFile, keyFile, err
}

// Args returns the arguments of a server that speaks only TLS, with a certificate
// of this authority, and demands one of its clients.
func (a *Authority) Args(t testing.TB, edits ...func(*x509.Certificate)) []string {
	t.Helper()
	args, err := a.ServerArgs(edits...)
	if err != nil {
		t.Fatal(err)
	}
	return args
}

// ServerArgs is Args for programs that are not tests.
func (a *Authority) ServerArgs(edits ...func(*x509.Certificate)) ([]string, error) {
	cert, key, err := a.issue(edits)
	return []string{"--tls-port 0", "--tls-cert-file " + cert, "--tls-key-file " + key, "--tls-ca-cert-file " + a.File}, err
}

// template returns what all certificates have in common.
func template(name pkix.Name) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62)) // never fails
	return &x509.Certificate{
		SerialNumber: serial, Subject: name,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
	}
}

// sign signs a certificate for a new key and writes both. The authority's own
// certificate is signed by its own key.
func (a *Authority) sign(c *x509.Certificate) (certFile, keyFile string, key *ecdsa.PrivateKey, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return "", "", nil, err
	}
	signer := a.key
	if c == a.cert {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), signer)
	if err != nil {
		return "", "", nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", nil, err
	}
	base := filepath.Join(a.dir, c.SerialNumber.String())
	certFile, keyFile = base+".pem", base+".key"
	err = errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600),
	)
	return certFile, keyFile, key, err
}
