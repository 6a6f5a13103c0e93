package redisstore

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
)

// TLSError says that no connection came about because of what the two sides
// want of TLS, which only a person can mend.
type TLSError struct {
	Err  error  // what is wrong
	Mend string // what to do
}

func (e *TLSError) Error() string { return fmt.Sprintf("%v; %s", e.Err, e.Mend) }

// Unwrap returns Err.
func (e *TLSError) Unwrap() error { return e.Err }

const (
	mendAuthority   = "--redis-ca must hold the authority that signed it"
	mendCertificate = "give this process one with --redis-cert and --redis-key"
)

// tlsError returns the TLSError behind a failure of the transport, nil if there
// is none.
func (s *Store) tlsError(err error) *TLSError {
	if found := certificateError(err); found != nil {
		return found
	}
	if s.peer == nil {
		return nil
	}
	return s.peer.examine(err, s.timeout/2)
}

// certificateError sorts what either side has against the other's certificate.
func certificateError(err error) *TLSError {
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &authority):
		return &TLSError{fmt.Errorf("the server's certificate: %w", authority), mendAuthority}
	case errors.As(err, &name):
		return &TLSError{fmt.Errorf("the server's certificate: %w", name), "write a name in the Redis URL that the certificate has"}
	case errors.As(err, &invalid):
		return &TLSError{fmt.Errorf("the server's certificate: %w", invalid), "renew it; if it is new, compare the clocks"}
	}
	if alert := alertIn(err); alert != nil {
		return alertError(alert)
	}
	return nil
}

// alertIn returns the alert by which the server has ended a connection, nil if
// err is none. Its type is crypto/tls's own.
func alertIn(err error) *net.OpError {
	var remote *net.OpError
	if errors.As(err, &remote) && remote.Op == "remote error" {
		return remote
	}
	return nil
}

// alertError sorts alerts.
func alertError(alert *net.OpError) *TLSError {
	mend := "look into the log of Redis"
	switch text := alert.Err.Error(); {
	case strings.HasSuffix(text, "certificate required"):
		return &TLSError{fmt.Errorf("the server wants a client certificate: %w", alert), mendCertificate}
	case strings.HasSuffix(text, "handshake failure"): // in TLS 1.2 it says the same, and other things
		mend = "if it wants a client certificate, " + mendCertificate
	case strings.Contains(text, "certificate"), strings.HasSuffix(text, "error decrypting message"): // the latter if two authorities have one name
		return &TLSError{fmt.Errorf("the server refuses the client certificate: %w", alert),
			"the authority that signed the one of --redis-cert must be in tls-ca-cert-file of Redis, and the certificate must be valid"}
	}
	return &TLSError{alert, mend}
}
