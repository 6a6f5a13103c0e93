package httpapi

import (
	"fmt"
	"net"
)

// Exposure configures who can reach a Server.
type Exposure struct {
	// CertFile and KeyFile are PEM files. With them it serves HTTPS. They are read
	// again when they change.
	CertFile, KeyFile string

	// ClientCAFile is a PEM file of authorities. With it every client needs a
	// certificate that one of them signed, besides the caller's name and password.
	// Only the probes, /healthz and /readyz, are answered without one.
	ClientCAFile string

	// PlaintextOK permits HTTP beyond loopback.
	PlaintextOK bool
}

// CheckExposure refuses to serve tokens in plaintext to other machines.
func (e Exposure) CheckExposure(addr net.Addr) error {
	if e.CertFile != "" || e.PlaintextOK {
		return nil
	}
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || tcp.IP.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%s can be reached from other machines, and without TLS anyone on the network path can read tokens and passwords: "+
		"give --tls-cert and --tls-key, or listen on 127.0.0.1, or pass --plaintext-ok if something in front of it does TLS", addr)
}
