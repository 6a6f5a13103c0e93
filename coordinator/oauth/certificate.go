package oauth

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/zhongkong/zhongkong/coordinator"
)

// withCertificate returns a transport that shows the client's certificate, and the
// certificate's bytes for the fingerprint.
func withCertificate(c Config) (http.RoundTripper, string, error) {
	first, err := tls.LoadX509KeyPair(c.Certificate, c.CertificateKey)
	if err != nil {
		return nil, "", fmt.Errorf("certificate: %w", err)
	}
	var t *http.Transport
	switch given := c.Transport.(type) {
	case nil:
		timeout := cmp.Or(c.ConnectTimeout, defaultConnectTimeout)
		t = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: timeout}).DialContext,
			TLSHandshakeTimeout: timeout,
		}
	case *http.Transport:
		t = given.Clone()
	default:
		return nil, "", fmt.Errorf("client_auth: mtls needs an *http.Transport, not a %T", c.Transport)
	}
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	t.TLSClientConfig.Certificates = nil
	t.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(c.Certificate, c.CertificateKey)
		if err != nil { // the files are being replaced: a handshake with neither proves nothing
			return nil, errors.New("the client certificate cannot be read")
		}
		return &pair, nil
	}
	return t, string(first.Certificate[0]), nil
}

// boundTo names what a JWT access token is bound to (RFC 8705, RFC 9449), "" if
// nothing. The signature is not looked at: this only warns.
func boundTo(token coordinator.Token) string {
	var claims struct {
		Confirmation map[string]any `json:"cnf"`
	}
	if !jwtClaims(token.Reveal(), &claims) {
		return ""
	}
	switch {
	case claims.Confirmation["x5t#S256"] != nil:
		return "the client's certificate"
	case claims.Confirmation["jkt"] != nil:
		return "a key that proves its possession (DPoP)"
	}
	return ""
}
