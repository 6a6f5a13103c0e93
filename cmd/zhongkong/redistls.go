package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
)

// redisTLS returns the TLS configuration for Redis, nil if the options have none.
func (s *session) redisTLS() (*tls.Config, error) {
	if s.cfg.RedisCA == "" && s.cfg.RedisCert == "" {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if path := s.cfg.RedisCA; path != "" {
		authorities, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("--redis-ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(authorities) {
			return nil, fmt.Errorf("--redis-ca: %s has no certificate: PEM is expected", path)
		}
	}
	if s.cfg.RedisCert != "" {
		c := &clientCertificate{certFile: s.cfg.RedisCert, keyFile: s.cfg.RedisKey, log: s.log}
		if _, err := c.readLocked(); err != nil { // nobody else has c yet
			return nil, err
		}
		config.GetClientCertificate = c.get
	}
	return config, nil
}

// clientCertificate is a certificate that is read again for each handshake. The pool
// replaces its connections every minute, so a certificate that was renewed in place is
// soon in use.
type clientCertificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate // guarded by mu
	refused string           // guarded by mu: the last error that was logged about the files
}

// get is tls.Config.GetClientCertificate. While the files cannot be used, perhaps
// because they are being written, it returns the certificate as it was.
func (c *clientCertificate) get(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed, err := c.readLocked()
	switch {
	case err == nil && changed:
		c.log.Info("the client certificate for Redis was read again", "valid_until", c.current.Leaf.NotAfter)
	case err != nil && err.Error() != c.refused:
		c.log.Error("the new client certificate for Redis is refused, the old one stays in use", "error", err)
	}
	if c.refused = ""; err != nil {
		c.refused = err.Error()
	}
	return c.current, nil
}

func (c *clientCertificate) readLocked() (changed bool, err error) {
	next, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return false, fmt.Errorf("--redis-cert %s, --redis-key %s: %w", c.certFile, c.keyFile, err)
	}
	changed = c.current == nil || !bytes.Equal(c.current.Certificate[0], next.Certificate[0])
	c.current = &next
	return changed, nil
}
