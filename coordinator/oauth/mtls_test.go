package oauth_test

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

// writeCertificate makes a self-signed certificate for a key, writes both, and returns
// its DER.
func writeCertificate(t *testing.T, key crypto.Signer, certificateFile, keyFile string) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "client"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		certificateFile: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyFile: pemOf(t, key),
	} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return der
}

func TestAClientProvesItselfByItsCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	issuer := newIssuer(oauthtest.Client{ID: clientID, Secret: secret, Certificate: writeCertificate(t, keyOf("P-256"), cert, key)})
	server := httptest.NewUnstartedServer(issuer)
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo) // of the handshake that breaks off
	server.StartTLS()
	defer server.Close()

	trust := &http.Transport{TLSClientConfig: server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()}
	c := oauth.Config{
		TokenURL: server.URL + "/oauth2/token", ClientID: clientID, ClientAuth: oauth.MTLS, Certificate: cert, CertificateKey: key, Transport: trust,
	}
	s := sourceOf(t, c)
	r := fetch(t, s)
	if calls := issuer.Calls(); !issuer.Valid(r.Token.Reveal()) || calls[0].Auth != "mtls" || r.Doubt != "" {
		t.Errorf("%+v %+v", calls, r)
	}
	issuer.Tune(func(k *oauthtest.Knobs) { k.JWT = true })
	if r := fetch(t, s); !strings.Contains(r.Doubt, "bound to the client's certificate") {
		t.Errorf("a token that is bound to the certificate: %q", r.Doubt)
	}

	// The certificate is replaced, first at the client.
	renewed := writeCertificate(t, keyOf("P-384"), cert, key)
	if f := refused(t, s); f.Kind != coordinator.FailedRefused || f.Code != "invalid_client" {
		t.Errorf("an unknown certificate: %v", f)
	}
	issuer.AddClient(oauthtest.Client{ID: clientID, Certificate: renewed})
	fetch(t, s)
	if sourceOf(t, c).Credential() == s.Credential() {
		t.Error("another certificate has the same credential")
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if f := refused(t, s); f.Kind != coordinator.FailedBusy || f.Calls != 0 {
		t.Errorf("without the key's file: %v", f)
	}
	c.Transport = issuer.Transport()
	if _, err := c.Source(); err == nil {
		t.Error("a transport that cannot show the certificate is accepted")
	}
}

// By TLS 1.3 the request is sent before the server looks at the client's certificate.
func TestARefusedCertificateUsesUpNoRefreshToken(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	shown, err := x509.ParseCertificate(writeCertificate(t, keyOf("P-256"), cert, key))
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for want, change := range map[string]func(*tls.Config){
			"unknown certificate authority": func(c *tls.Config) { c.ClientCAs = x509.NewCertPool() },
			"expired certificate":           func(c *tls.Config) { c.Time = func() time.Time { return shown.NotAfter.Add(time.Second) } },
			"":                              func(*tls.Config) {},
		} {
			t.Run(tls.VersionName(version)+" "+want, func(t *testing.T) {
				issuer := newIssuer(oauthtest.Client{ID: clientID, Certificate: shown.Raw})
				_, first := issuer.Consent(clientID, "")
				server := httptest.NewUnstartedServer(issuer)
				server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool(), MinVersion: version, MaxVersion: version}
				server.TLS.ClientCAs.AddCert(shown)
				change(server.TLS)
				server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
				server.StartTLS()
				defer server.Close()
				s := sourceOf(t, oauth.Config{
					TokenURL: server.URL + "/oauth2/token", Grant: oauth.RefreshToken, ClientID: clientID,
					ClientAuth: oauth.MTLS, Certificate: cert, CertificateKey: key, Transport: server.Client().Transport,
				})
				if want == "" {
					fetch(t, s, ofGrant(first))
					return
				}
				f := failed(t.Context(), t, s, ofGrant(first))
				if f.Kind != coordinator.FailedBusy || f.Calls != 0 || !strings.Contains(f.Message, want) || !issuer.Accepts(first) {
					t.Errorf("%s, %d calls: %v", f.Kind, f.Calls, f)
				}
			})
		}
	}
}
