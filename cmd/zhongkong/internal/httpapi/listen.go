package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Exposure says how a Server may be reached.
type Exposure struct {
	// CertFile and KeyFile make it HTTPS. They are read again when they
	// change.
	CertFile, KeyFile string

	// ClientCAFile makes it ask every client for a certificate that one of
	// these authorities signed, besides the caller's name and password. Only
	// the probes, /healthz and /readyz, are answered without one.
	ClientCAFile string

	// PlaintextOK allows HTTP beyond loopback.
	PlaintextOK bool
}

// Server serves an API over TCP.
type Server struct {
	http        *http.Server
	keys        *keyPair // nil: plaintext
	api         *API
	connections *connections
}

// NewServer returns a server for an API. It reads the certificate, so that
// what is wrong with it is said before anything is served.
func NewServer(api *API, e Exposure, log *slog.Logger) (*Server, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{api: api, connections: newConnections(connectionLimit(), log)}
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.handle),
		ReadHeaderTimeout: 5 * time.Second,
		// No ReadTimeout: it would end the requests that wait. Bodies have
		// their own deadline, and so have streams for each write.
		WriteTimeout:   maxWait + 15*time.Second,
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 16 << 10,
		// What a client of HTTP/2 can make a connection keep.
		HTTP2: &http.HTTP2Config{
			MaxReadFrameSize: 16 << 10, MaxReceiveBufferPerConnection: 64 << 10, MaxReceiveBufferPerStream: 32 << 10,
		},
		ConnContext: s.connections.context,
		ConnState:   s.follow,
		// Broken handshakes and the like: anybody can cause them.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.http.RegisterOnShutdown(api.Stop)
	switch {
	case e.CertFile == "" && e.KeyFile == "" && e.ClientCAFile == "":
		return s, nil
	case e.CertFile == "" || e.KeyFile == "":
		return nil, errors.New("TLS needs both --tls-cert and --tls-key")
	}
	keys, err := newKeyPair(e, log)
	if err != nil {
		return nil, err
	}
	keys.distrust = s.closeUntrusted
	s.keys = keys
	s.http.TLSConfig = &tls.Config{GetConfigForClient: keys.config, MinVersion: tls.VersionTLS12}
	return s, nil
}

// Check reads the files as NewServer does, and says what is wrong with them.
func (e Exposure) Check() error {
	switch {
	case e.CertFile == "" && e.KeyFile == "" && e.ClientCAFile == "":
		return nil
	case e.CertFile == "" || e.KeyFile == "":
		return errors.New("TLS needs both --tls-cert and --tls-key")
	}
	_, err := newKeyPair(e, slog.New(slog.DiscardHandler))
	return err
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
	return fmt.Errorf("%s can be reached from other machines, and without TLS anybody on the way reads tokens and passwords: "+
		"give --tls-cert and --tls-key, or listen on 127.0.0.1, or pass --plaintext-ok if something in front of it does TLS", addr)
}

// Serve answers until Shutdown, on a listener that CheckExposure has seen.
func (s *Server) Serve(l net.Listener) error {
	l = s.connections.listen(l)
	var err error
	if s.keys != nil {
		err = s.http.ServeTLS(l, "", "")
	} else {
		err = s.http.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve HTTP: %w", err)
}

// handle answers a request.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor > 1 {
		if c, ok := r.Context().Value(connectionKey{}).(*connection); ok && !c.caller.Load() {
			s.connections.begin(c)
			defer s.connections.end(c)
		}
	}
	if !s.admits(r) {
		refuseUncertified(w)
		return
	}
	s.api.ServeHTTP(w, r)
}

// follow is http.Server.ConnState.
func (s *Server) follow(conn net.Conn, state http.ConnState) {
	c := connectionOf(conn)
	if c == nil {
		return
	}
	if secure, ok := conn.(*tls.Conn); ok && state == http.StateNew {
		c.secure.Store(secure)
	}
	c.follow(state)
	if state == http.StateActive && s.keys != nil {
		s.recheck(c)
	}
}

// Scheme is "https" or "http".
func (s *Server) Scheme() string {
	if s.keys != nil {
		return "https"
	}
	return "http"
}

// Reload reads the certificate again, whether it has changed or not. After an
// error the old one stays.
func (s *Server) Reload() error {
	if s.keys == nil {
		return nil
	}
	return s.keys.read()
}

// Shutdown takes no new connections, answers those who wait, and returns when
// every answer is written or ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.api.Stop() // before the server looks for idle connections
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}
