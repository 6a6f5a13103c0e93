package httpapi

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/accesslog"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/requestid"
)

const (
	readHeaderTimeout = 5 * time.Second // also for the TLS handshake
	writeTimeout      = maxWait + 15*time.Second
	idleTimeout       = 2 * time.Minute
)

// Server serves an API over TCP.
type Server struct {
	http        *http.Server
	certificate *certificate // nil: plaintext
	api         *API
	connections *connections
	accessLog   *slog.Logger // nil: none
}

// LogRequests has a line written for each request that Serve and ServeHandler answer.
// It is called before them.
func (s *Server) LogRequests(log *slog.Logger) { s.accessLog = log }

// NewServer returns a server for an API. It reads the certificate, and returns an
// error if it cannot be used.
func NewServer(api *API, e Exposure, log *slog.Logger) (*Server, error) {
	log = cmp.Or(log, slog.New(slog.DiscardHandler))
	s := &Server{api: api, connections: newConnections(connectionLimit(), log)}
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP),
		ReadHeaderTimeout: readHeaderTimeout,
		// No ReadTimeout, which would end waiting requests. Bodies have a deadline
		// of their own, and streams one for each write.
		WriteTimeout:   writeTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: 16 << 10,
		// These bound the memory that a client of HTTP/2 can make a connection use.
		HTTP2: &http.HTTP2Config{
			MaxReadFrameSize: 16 << 10, MaxReceiveBufferPerConnection: 64 << 10, MaxReceiveBufferPerStream: 32 << 10,
		},
		ConnContext: s.connections.connContext,
		ConnState:   s.connState,
		// Debug, because any client can cause these lines, such as failed handshakes.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.http.RegisterOnShutdown(api.Stop)
	cert, err := newCertificate(e, log)
	if err != nil {
		return nil, err
	}
	if cert == nil {
		return s, nil
	}
	cert.authoritiesChanged = s.closeUnverified
	s.certificate = cert
	s.http.TLSConfig = cert.serverConfig() // net/http serves HTTP/2 if it is offered there
	return s, nil
}

// Serve answers on l until Shutdown. The caller has checked the address with
// CheckExposure.
func (s *Server) Serve(l net.Listener) error { return s.ServeHandler(l, nil) }

// ServeHandler is Serve for an address at which h answers in place of the API, under
// the same rules for connections and certificates. Clients without a certificate
// where one is needed get nothing there.
func (s *Server) ServeHandler(l net.Listener, h http.Handler) error {
	l = s.connections.listener(l, h)
	if s.certificate != nil {
		l = newTLSListener(l, s.certificate.serverConfig())
	}
	if h == nil && s.accessLog == nil && !s.needsClientCert() {
		l = fastListener{l, s.api}
	}
	err := s.http.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve HTTP: %w", err)
}

// serveHTTP answers every request, of every listener.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if s.accessLog == nil {
		s.serve(w, r)
		return
	}
	accesslog.Serve(s.accessLog, http.HandlerFunc(s.serve), w, r)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	c, ok := r.Context().Value(connectionKey{}).(*connection)
	if r.ProtoMajor > 1 && ok && !c.authenticated.Load() {
		s.connections.beginRequest(c)
		defer s.connections.endRequest(c)
	}
	if ok && c.handler != nil {
		if s.needsClientCert() && (r.TLS == nil || len(r.TLS.PeerCertificates) == 0) {
			refuseWithoutCert(w, r)
			return
		}
		requestid.Assign(w, r)
		c.handler.ServeHTTP(w, r)
		return
	}
	if !s.admits(r) {
		refuseWithoutCert(w, r)
		return
	}
	s.api.ServeHTTP(w, r)
}

// connState is http.Server.ConnState.
func (s *Server) connState(conn net.Conn, state http.ConnState) {
	c := connectionOf(conn)
	if c == nil {
		return
	}
	if secure, ok := conn.(*tls.Conn); ok && state == http.StateNew {
		c.secure.Store(secure)
	}
	c.connState(state)
	if fast := fastOf(conn); fast != nil && state == http.StateIdle {
		fast.becameIdle()
	}
	if state == http.StateActive && s.certificate != nil {
		s.reverify(c)
	}
}

// Scheme is "https" or "http".
func (s *Server) Scheme() string {
	if s.certificate != nil {
		return "https"
	}
	return "http"
}

// Reload reads the certificate again, whether it has changed or not. If it returns
// an error, the old one stays in use.
func (s *Server) Reload() error {
	if s.certificate == nil {
		return nil
	}
	return s.certificate.reload()
}

// Shutdown closes the listener, answers all waiting requests, and returns when all
// responses are written. When ctx ends first, it closes the connections and
// returns an error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.api.Stop() // before the server closes idle connections
	s.connections.closeFast()
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}
