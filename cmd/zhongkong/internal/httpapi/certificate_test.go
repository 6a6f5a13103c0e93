package httpapi

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority issues certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, err := x509.CreateCertificate(rand.Reader, template("authority", true), template("authority", true), &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	return a
}

func template(name string, authority bool) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: authority, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
}

// issue returns a certificate and its key in PEM.
func (a *authority) issue(name string) (cert, key []byte) {
	a.t.Helper()
	k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, err := x509.CreateCertificate(rand.Reader, template(name, false), a.cert, &k.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	private, _ := x509.MarshalPKCS8PrivateKey(k)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func write(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serveTLS serves a stage's API and returns the address.
func serveTLS(t *testing.T, s *stage, e Exposure) (*Server, string) {
	t.Helper()
	server, err := NewServer(s.api, e, slog.New(slog.NewTextHandler(s.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }() // ends with Shutdown
	t.Cleanup(func() {
		_ = server.Shutdown(context.Background())
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return server, l.Addr().String()
}

// subject returns the name in the certificate of a new connection, after a
// request over it.
func subject(t *testing.T, addr string, config *tls.Config) (string, error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Get("https://" + addr + "/healthz")
	if err != nil {
		return "", err
	}
	_ = answer.Body.Close()
	if answer.ProtoMajor != 2 {
		t.Errorf("%s, want HTTP/2", answer.Proto)
	}
	return answer.TLS.PeerCertificates[0].Subject.CommonName, nil
}

func TestCertificatesFollowTheirFiles(t *testing.T) {
	s, a, dir := newStage(t), newAuthority(t), t.TempDir()
	cert, key := a.issue("first")
	e := Exposure{CertFile: write(t, filepath.Join(dir, "c.pem"), cert), KeyFile: write(t, filepath.Join(dir, "k.pem"), key)}
	server, addr := serveTLS(t, s, e)
	trusting := &tls.Config{RootCAs: a.pool()}
	check := func(want string) {
		t.Helper()
		if got, err := subject(t, addr, trusting); err != nil || got != want {
			t.Errorf("certificate of %q %v, want %q", got, err, want)
		}
	}
	check("first")

	cert, key = a.issue("second")
	write(t, e.CertFile, cert)
	if err := server.Reload(); err == nil {
		t.Error("a certificate without its key was taken")
	}
	check("first")
	write(t, e.KeyFile, key)
	if err := server.Reload(); err != nil {
		t.Error(err)
	}
	check("second")

	later := func() { // as if the files were looked at long ago
		server.certificate.mu.Lock()
		defer server.certificate.mu.Unlock()
		server.certificate.checked = time.Time{}
	}
	if err := os.Remove(e.KeyFile); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		later()
		check("second")
	}
	if n := strings.Count(s.log.String(), "the old one stays"); n != 1 {
		t.Errorf("the log says %d times that the key is missing, want once:\n%s", n, s.log.String())
	}

	cert, key = a.issue("third")
	write(t, e.CertFile, cert)
	write(t, e.KeyFile, key)
	later()
	check("third")
	if log := s.log.String(); !strings.Contains(log, "certificate read again") {
		t.Errorf("the log does not say so: %s", log)
	}
}

func TestMutualTLSWantsACertificateToo(t *testing.T) {
	s, a, dir := newStage(t), newAuthority(t), t.TempDir()
	cert, key := a.issue("server")
	e := Exposure{
		CertFile: write(t, filepath.Join(dir, "c.pem"), cert), KeyFile: write(t, filepath.Join(dir, "k.pem"), key),
		ClientCAFile: write(t, filepath.Join(dir, "ca.pem"), a.pem()),
	}
	_, addr := serveTLS(t, s, e)
	bare := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.pool()}}}
	for _, path := range []string{"/v1/tokens/" + wxa, "/", "/cgi-bin/token", "/GetToken", "/metrics", "/healthz/", "/readyz/x", "//healthz"} {
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+addr+path, nil)
		r.SetBasicAuth("admin", "admin-password")
		answer, err := bare.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		content, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != 403 || !strings.Contains(string(content), "certificate_required") {
			t.Errorf("without a certificate %s: %d %s, want 403", path, answer.StatusCode, content)
		}
	}
	with := func(issuer *authority) *tls.Config {
		pair, err := tls.X509KeyPair(issuer.issue("client"))
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{pair}}
	}
	if _, err := subject(t, addr, with(newAuthority(t))); err == nil {
		t.Error("a certificate of another authority was accepted")
	}
	if _, err := subject(t, addr, with(a)); err != nil {
		t.Errorf("the right certificate: %v", err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: with(a)}}
	answer, err := client.Get("https://" + addr + "/v1/tokens/" + wxa)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != 401 {
		t.Errorf("a certificate in place of a password: %d, want 401", answer.StatusCode)
	}
}

func TestProbesNeedNoCertificateAndAuthenticateNoCaller(t *testing.T) {
	s, a, dir := newStage(t), newAuthority(t), t.TempDir()
	cert, key := a.issue("server")
	_, addr := serveTLS(t, s, Exposure{
		CertFile: write(t, filepath.Join(dir, "c.pem"), cert), KeyFile: write(t, filepath.Join(dir, "k.pem"), key),
		ClientCAFile: write(t, filepath.Join(dir, "ca.pem"), a.pem()),
	})
	for _, proto := range []string{"http/1.1", "h2"} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.pool()}, ForceAttemptHTTP2: proto == "h2"}
		defer transport.CloseIdleConnections()
		for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/readyz?account=none": 503} {
			for _, password := range []string{"admin-password", "wrong"} {
				r, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+addr+path, nil)
				r.SetBasicAuth("admin", password)
				answer, err := (&http.Client{Transport: transport}).Do(r)
				if err != nil {
					t.Fatal(err)
				}
				content, _ := io.ReadAll(answer.Body)
				_ = answer.Body.Close()
				if answer.StatusCode != want || strings.Contains(string(content), "missing") {
					t.Errorf("%s, %s: %d %s, want %d as for a stranger", proto, path, answer.StatusCode, content, want)
				}
			}
		}
	}
}

func TestWhatIsWrongWithTLSIsSaidAtOnce(t *testing.T) {
	s, a, dir := newStage(t), newAuthority(t), t.TempDir()
	cert, key := a.issue("server")
	good := Exposure{CertFile: write(t, filepath.Join(dir, "c.pem"), cert), KeyFile: write(t, filepath.Join(dir, "k.pem"), key)}
	empty := write(t, filepath.Join(dir, "empty.pem"), []byte("x"))
	for want, e := range map[string]Exposure{
		"--tls-key":   {CertFile: good.CertFile},
		"--tls-cert":  {ClientCAFile: empty},
		"--tls-cert ": {CertFile: empty, KeyFile: good.KeyFile},
		"--client-ca": {CertFile: good.CertFile, KeyFile: good.KeyFile, ClientCAFile: empty},
		"no such":     {CertFile: good.CertFile, KeyFile: filepath.Join(dir, "none")},
	} {
		_, err := NewServer(s.api, e, nil)
		if checked := e.Check(); err == nil || checked == nil || checked.Error() != err.Error() {
			t.Errorf("%+v: Check() = %v, NewServer() = %v", e, checked, err)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error that names %s", e, err, want)
		}
		if err != nil && bytes.Contains([]byte(err.Error()), key[30:60]) {
			t.Errorf("the key is in the error: %v", err)
		}
	}
}

func TestPlaintextBeyondLoopbackIsRefused(t *testing.T) {
	for _, c := range []struct {
		addr    net.Addr
		e       Exposure
		refused bool
	}{
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}, Exposure{}, false},
		{&net.TCPAddr{IP: net.IPv6loopback, Port: 8080}, Exposure{}, false},
		{&net.UnixAddr{Name: "/run/zk.sock"}, Exposure{}, false},
		{&net.TCPAddr{IP: net.IPv6unspecified, Port: 8080}, Exposure{}, true},
		{&net.TCPAddr{IP: net.IPv4zero, Port: 8080}, Exposure{}, true},
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 8080}, Exposure{}, true},
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 8080}, Exposure{PlaintextOK: true}, false},
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 8080}, Exposure{CertFile: "c", KeyFile: "k"}, false},
	} {
		err := c.e.CheckExposure(c.addr)
		if (err != nil) != c.refused {
			t.Errorf("%v %+v: %v", c.addr, c.e, err)
		}
		if err != nil && !strings.Contains(err.Error(), "--plaintext-ok") {
			t.Errorf("%v does not say what to do", err)
		}
	}
}
