package httpapi

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
)

// recheck looks at a connection whose client had to show a certificate, before
// each of its requests: whether the authorities have changed since its
// handshake. One that was under way meanwhile may have ended by the old ones.
func (s *Server) recheck(c *connection) {
	if s.keys.files.ClientCAFile == "" {
		return
	}
	s.keys.follow()
	current := s.keys.current.Load()
	if c.config.Swap(current) != current && !trusted(c, current) {
		_ = c.Close() // its requests fail by that
	}
}

// closeUntrusted closes the connections whose certificate the new authorities
// did not sign. Whoever waits on one is not answered.
func (s *Server) closeUntrusted(current *tls.Config) {
	n := 0
	known := make(map[[sha256.Size]byte]bool) // callers have many connections with one certificate
	for _, c := range s.connections.list() {
		if state, _ := c.phase(); state == fresh {
			continue // its handshake may be under way; recheck will look
		}
		secure := c.secure.Load()
		if secure == nil {
			continue
		}
		h := sha256.New()
		for _, cert := range secure.ConnectionState().PeerCertificates {
			_, _ = h.Write(cert.Raw) // never fails
		}
		chain := [sha256.Size]byte(h.Sum(nil))
		good, ok := known[chain]
		if !ok {
			good = trusted(c, current)
			known[chain] = good
		}
		if !good {
			_ = c.Close() // its requests fail by that
			n++
		}
	}
	if n > 0 {
		s.keys.log.Info("connections were closed: their certificates are of no authority in --client-ca any more", "closed", n)
	}
}

// trusted reports whether one of the authorities signed the client's
// certificate. There is nothing to trust in a client that showed none: it is
// answered probes only.
func trusted(c *connection, config *tls.Config) bool {
	secure := c.secure.Load()
	if secure == nil {
		return false
	}
	chain := secure.ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return true
	}
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: config.ClientCAs, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}
