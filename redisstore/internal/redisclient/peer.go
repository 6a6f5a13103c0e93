package redisclient

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// peer is the server at the other end of a URL. Until it has answered once, peer
// finds out whether both ends use TLS in the same way. The error of an operation
// does not tell: a TLS server closes the connection of a plain client, a plain
// server waits for the end of what it takes for a command; and the alert that names
// what is wrong with a certificate is lost if the server closes the connection
// before the first command has been written.
type peer struct {
	errorHook
	addrs  []string
	config *tls.Config // nil: the URL asks for no TLS

	worked atomic.Bool // the server has answered once

	mu    sync.Mutex
	asked time.Time // guarded by mu
	found *TLSError // guarded by mu: by the last probe
}

// probeEvery is how often a peer is probed at most.
const probeEvery = 10 * time.Second

var (
	errSpeaksTLS   = errors.New("this port speaks TLS")
	errSpeaksPlain = errors.New("this port speaks no TLS")
)

func newPeer(addrs []string, config *tls.Config) *peer {
	p := &peer{addrs: addrs, config: config}
	p.call = func(_ context.Context, err error) { p.note(err) }
	return p
}

func (p *peer) note(err error) {
	if !p.worked.Load() && (err == nil || serverAnswer(err) != nil) {
		p.worked.Store(true)
	}
}

// examine returns the disagreement about TLS that has caused err, nil if there is
// none. It takes no longer than within.
func (p *peer) examine(err error, within time.Duration) *TLSError {
	var dial *net.OpError
	if p.worked.Load() || errors.As(err, &dial) && dial.Op == "dial" { // no server was reached
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.asked.IsZero() && time.Since(p.asked) < probeEvery {
		return p.found
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	p.found = p.probe(ctx, err)
	p.asked = time.Now()
	return p.found
}

// probe opens a connection of its own, in the way that may explain err.
func (p *peer) probe(ctx context.Context, err error) *TLSError {
	var record tls.RecordHeaderError
	var ask func(context.Context, net.Conn) *TLSError
	switch {
	case p.config == nil && isTimeout(err):
		return nil // a TLS server would have closed the connection at once
	case p.config == nil:
		ask = askTLS
	case isTimeout(err), errors.As(err, &record):
		ask = askPlain
	default:
		ask = p.askCertificate
	}
	deadline, _ := ctx.Deadline()
	for _, addr := range p.addrs {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			continue
		}
		_ = conn.SetDeadline(deadline) // never fails on a new connection
		found := ask(ctx, conn)
		_ = conn.Close()
		if found != nil {
			return found
		}
	}
	return nil
}

func askTLS(ctx context.Context, conn net.Conn) *TLSError {
	//nolint:gosec // G402: nothing is sent on this connection, so the server need not be authenticated
	err := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx)
	if err != nil && alertIn(err) == nil {
		return nil
	}
	return &TLSError{errSpeaksTLS, "write rediss:// in the Redis URL"}
}

// askPlain checks whether the server speaks the protocol of Redis without TLS.
func askPlain(_ context.Context, conn net.Conn) *TLSError {
	_, _ = io.WriteString(conn, "PING\r\n") // the answer shows whether it was sent
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "+PONG") && !strings.HasPrefix(line, "-") {
		return nil
	}
	return &TLSError{errSpeaksPlain, "write redis:// in the Redis URL, or name the TLS port"}
}

// askCertificate reads why the server rejects our certificate: in TLS 1.3 it says
// so after the handshake.
func (p *peer) askCertificate(ctx context.Context, conn net.Conn) *TLSError {
	client := tls.Client(conn, p.config)
	err := client.HandshakeContext(ctx)
	if err == nil {
		_, err = client.Read(make([]byte, 1)) // Redis sends nothing first
	}
	return certificateError(err)
}
