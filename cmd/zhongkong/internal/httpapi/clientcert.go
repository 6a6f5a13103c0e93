package httpapi

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"net/http"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/requestid"
)

// Kubelets, load balancers and health checks of containers cannot be given a
// client certificate. Where clients need one, the probes are therefore answered
// without it, at the same address: a port of its own for them would have to be
// configured, exposed and watched. They are told what a client without
// credentials is told elsewhere. Every other request without a certificate is
// refused before authentication, so that only clients with one can try passwords.

// admits reports whether the request may be answered: its client has presented a
// certificate if it needs one, or it is a probe. It removes a probe's
// credentials.
func (s *Server) admits(r *http.Request) bool {
	if !s.needsClientCert() || r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return true
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.URL.Path != "/healthz" && r.URL.Path != "/readyz" {
		return false
	}
	r.Header.Del("Authorization")
	return true
}

func (s *Server) needsClientCert() bool {
	return s.certificate != nil && s.certificate.files.ClientCAFile != ""
}

var problemCertificate = problem{http.StatusForbidden, "certificate_required",
	"this server needs a client certificate of one of its authorities, besides name and password; " +
		"only /healthz and /readyz are answered without", 0}

// refuseWithoutCert answers a client that has presented no certificate, and
// closes its connection, on which it can present none.
func refuseWithoutCert(w http.ResponseWriter, r *http.Request) {
	requestid.Assign(w, r)
	w.Header().Set("Connection", "close")
	writeProblem(w, problemCertificate)
}

// reverify checks a connection's client certificate before each request if the
// authorities have changed since its handshake. A handshake that was under way
// when they changed may have ended by the old ones.
func (s *Server) reverify(c *connection) {
	if !s.needsClientCert() {
		return
	}
	s.certificate.reloadIfChanged()
	current := s.certificate.current.Load()
	if c.config.Swap(current) != current && !isVerified(c, current) {
		_ = c.Close() // the request fails with it
	}
}

// closeUnverified closes the connections whose client certificate the new
// authorities did not sign, also those with waiting requests.
func (s *Server) closeUnverified(current *tls.Config) {
	n := 0
	known := make(map[[sha256.Size]byte]bool) // by chain: a caller has many connections with one certificate
	for _, c := range s.connections.list() {
		if phase, _ := c.phase(); phase == opened {
			continue // its handshake may be under way: reverify follows
		}
		secure := c.secure.Load()
		if secure == nil {
			continue
		}
		h := sha256.New()
		for _, cert := range secure.ConnectionState().PeerCertificates {
			_, _ = h.Write(cert.Raw) // cannot fail
		}
		chain := [sha256.Size]byte(h.Sum(nil))
		verified, ok := known[chain]
		if !ok {
			verified = isVerified(c, current)
			known[chain] = verified
		}
		if !verified {
			_ = c.Close() // its requests fail with it
			n++
		}
	}
	if n > 0 {
		s.certificate.log.Info("connections were closed: their certificates are of no authority in --client-ca any more", "closed", n)
	}
}

// isVerified reports whether one of the authorities signed the client's
// certificate. A client without a certificate counts as verified: only its probes
// are answered.
func isVerified(c *connection, config *tls.Config) bool {
	secure := c.secure.Load()
	if secure == nil {
		return false
	}
	chain := secure.ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return true
	}
	intermediates := x509.NewCertPool()
	for _, cert := range chain[1:] {
		intermediates.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: config.ClientCAs, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}
