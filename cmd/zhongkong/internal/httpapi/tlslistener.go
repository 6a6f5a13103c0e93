package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
)

// tlsListener does the TLS handshake of each connection before Accept returns it, so
// that its protocol is known there. A handshake that has failed is left to net/http,
// which is told the same error when it asks for the handshake again.
type tlsListener struct {
	net.Listener
	config   *tls.Config
	accepted chan accepted
	open     context.Context // until Close
	close    context.CancelFunc
}

type accepted struct {
	conn net.Conn
	err  error
}

func newTLSListener(l net.Listener, config *tls.Config) *tlsListener {
	t := &tlsListener{Listener: l, config: config, accepted: make(chan accepted)}
	t.open, t.close = context.WithCancel(context.Background())
	go t.run() // ends with Close
	return t
}

// run accepts connections. It goes on after an error when Accept has returned that,
// whose caller waits for a while if there are too many open files.
func (l *tlsListener) run() {
	for l.open.Err() == nil {
		conn, err := l.Listener.Accept()
		if err == nil {
			go l.handshake(conn) // ends within readHeaderTimeout, or with Close
			continue
		}
		l.hand(accepted{nil, err})
		if errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

func (l *tlsListener) handshake(conn net.Conn) {
	secure := tls.Server(conn, l.config)
	ctx, cancel := context.WithTimeout(l.open, readHeaderTimeout)
	defer cancel()
	_ = secure.HandshakeContext(ctx) // closes the connection when ctx ends
	if !l.hand(accepted{secure, nil}) {
		_ = conn.Close() // nobody has seen it
	}
}

// hand returns false if the listener has been closed.
func (l *tlsListener) hand(a accepted) bool {
	select {
	case l.accepted <- a:
		return true
	case <-l.open.Done():
		return false
	}
}

func (l *tlsListener) Accept() (net.Conn, error) {
	select {
	case a := <-l.accepted:
		return a.conn, a.err
	case <-l.open.Done():
		return nil, net.ErrClosed
	}
}

func (l *tlsListener) Close() error {
	l.close()
	return l.Listener.Close()
}
