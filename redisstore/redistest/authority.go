package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates for a test: those of servers that listen for TLS,
// and those of their clients.
type Authority struct {
	File string // its own certificate, in PEM

	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority that nobody knows yet.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{dir: t.TempDir()}
	a.cert = template(pkix.Name{CommonName: "authority " + rand.Text()[:8]})
	a.cert.IsCA, a.cert.BasicConstraintsValid, a.cert.KeyUsage = true, true, x509.KeyUsageCertSign
	a.File, _, a.key = a.sign(t, a.cert)
	return a
}

// Issue writes a certificate and its key, in PEM, as they are good for the server
// at 127.0.0.1 and for its clients. Edits change it before it is signed.
func (a *Authority) Issue(t testing.TB, edits ...func(*x509.Certificate)) (certFile, keyFile string) {
	t.Helper()
	c := template(pkix.Name{CommonName: "test"})
	c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	c.KeyUsage = x509.KeyUsageDigitalSignature
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, edit := range edits {
		edit(c)
	}
	certFile, keyFile, _ = a.sign(t, c)
	return certFile, keyFile
}

// Args are the arguments of Start for a server that speaks TLS alone, with a
// certificate of the authority's, and takes clients that have one of it too.
func (a *Authority) Args(t testing.TB, edits ...func(*x509.Certificate)) []string {
	t.Helper()
	cert, key := a.Issue(t, edits...)
	return []string{"--tls-port 0", "--tls-cert-file " + cert, "--tls-key-file " + key, "--tls-ca-cert-file " + a.File}
}

// template is what all certificates have in common.
func template(name pkix.Name) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62)) // never fails
	return &x509.Certificate{
		SerialNumber: serial, Subject: name,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}

// sign signs a certificate for a new key, by that key itself if it is the
// authority's own, and writes both.
func (a *Authority) sign(t testing.TB, c *x509.Certificate) (certFile, keyFile string, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer := a.key
	if c == a.cert {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(a.dir, c.SerialNumber.String())
	certFile, keyFile = base+".pem", base+".key"
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile, key
}
