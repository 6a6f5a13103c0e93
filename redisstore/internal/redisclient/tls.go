package redisclient

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
)

// TLSError is an error whose cause is that the two sides disagree about TLS. Only
// a change of the configuration, here or at the server, can fix it.
type TLSError struct {
	Err error  // what is wrong
	Fix string // what to do
}

const (
	fixAuthority   = "--redis-ca must hold the authority that signed it"
	fixCertificate = "give this process one with --redis-cert and --redis-key"
)

// TLSError returns the disagreement about TLS that has caused an error of the
// transport, nil if there is none. It may ask the server, for half of
// Options.Timeout at most.
func (c *Client) TLSError(err error) *TLSError {
	if found := certificateError(err); found != nil {
		return found
	}
	if c.peer == nil {
		return nil
	}
	return c.peer.examine(err, c.timeout/2)
}

// mergeTLS adds to a caller's TLS configuration what the URL says. Only the URL
// says whether TLS is used.
func mergeTLS(ours, fromURL *tls.Config) (*tls.Config, error) {
	switch {
	case ours == nil:
		return fromURL, nil
	case fromURL == nil:
		return nil, errors.New("Options.TLS is set, but the Redis URL does not ask for TLS: write rediss://")
	}
	config := ours.Clone()
	config.ServerName = cmp.Or(config.ServerName, fromURL.ServerName)
	config.MinVersion = max(config.MinVersion, fromURL.MinVersion)
	config.InsecureSkipVerify = config.InsecureSkipVerify || fromURL.InsecureSkipVerify // skip_verify=true
	return config, nil
}

// certificateError returns why either side rejects the other's certificate, nil if
// that is not what err says.
func certificateError(err error) *TLSError {
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &authority):
		return &TLSError{fmt.Errorf("the server's certificate: %w", authority), fixAuthority}
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

// alertIn returns the TLS alert with which the server has closed a connection, nil
// if there is none. crypto/tls does not export its type.
func alertIn(err error) *net.OpError {
	if remote, ok := errors.AsType[*net.OpError](err); ok && remote.Op == "remote error" {
		return remote
	}
	return nil
}

func alertError(alert *net.OpError) *TLSError {
	fix := "see the log of Redis"
	switch text := alert.Err.Error(); {
	case strings.HasSuffix(text, "certificate required"):
		return &TLSError{fmt.Errorf("the server wants a client certificate: %w", alert), fixCertificate}
	case strings.HasSuffix(text, "handshake failure"): // in TLS 1.2 it says the same, and other things
		fix = "if it wants a client certificate, " + fixCertificate
	case strings.Contains(text, "certificate"), strings.HasSuffix(text, "error decrypting message"): // the latter if two authorities have one name
		return &TLSError{fmt.Errorf("the server refuses the client certificate: %w", alert),
			"the authority that signed the one of --redis-cert must be in tls-ca-cert-file of Redis, and the certificate must be valid"}
	}
	return &TLSError{alert, fix}
}
