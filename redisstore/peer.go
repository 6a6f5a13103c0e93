package redisstore

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

	"github.com/redis/go-redis/v9"
)

// peer is what is at the other end of a URL. As long as nothing has ever been
// answered there, it finds out whether both ends mean the same by it. An error
// does not tell: a server of TLS closes the connection when it is spoken to
// without, a plain one waits for the end of what it takes for a command; and the
// alert that names what is wrong with a certificate is lost if the server closes
// the connection before the first command has been written.
type peer struct {
	addrs  []string
	config *tls.Config // nil: the URL asks for no TLS

	worked atomic.Bool // something has been answered

	mu    sync.Mutex
	asked time.Time // guarded by mu
	found *TLSError // guarded by mu: by the last probe
}

var _ redis.Hook = (*peer)(nil)

// probeEvery is how often a peer is probed at most.
const probeEvery = 10 * time.Second

var (
	errSpeaksTLS   = errors.New("this port speaks TLS")
	errSpeaksPlain = errors.New("this port speaks no TLS")
)

// DialHook is redis.Hook's.
func (p *peer) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook is redis.Hook's.
func (p *peer) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		p.note(err)
		return err
	}
}

// ProcessPipelineHook is redis.Hook's.
func (p *peer) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		p.note(err)
		return err
	}
}

func (p *peer) note(err error) {
	var answer redis.Error
	if !p.worked.Load() && (err == nil || errors.As(err, &answer)) {
		p.worked.Store(true)
	}
}

// examine returns the disagreement about TLS that has led to err, nil if none is
// known. It may take as long as within.
func (p *peer) examine(err error, within time.Duration) *TLSError {
	var dial *net.OpError
	if p.worked.Load() || errors.As(err, &dial) && dial.Op == "dial" { // there was nobody
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

// probe speaks to the peer in the way that may explain err.
func (p *peer) probe(ctx context.Context, err error) *TLSError {
	var record tls.RecordHeaderError
	var ask func(context.Context, net.Conn) *TLSError
	switch {
	case p.config == nil && isTimeout(err):
		return nil // a server of TLS closes the connection at once
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
		_ = conn.SetDeadline(deadline) // never fails on one just made
		found := ask(ctx, conn)
		_ = conn.Close()
		if found != nil {
			return found
		}
	}
	return nil
}

// askTLS looks whether the server speaks TLS.
func askTLS(ctx context.Context, conn net.Conn) *TLSError {
	//nolint:gosec // G402: nothing is said on this connection, so nobody need be trusted
	err := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx)
	if err != nil && alertIn(err) == nil {
		return nil
	}
	return &TLSError{errSpeaksTLS, "write rediss:// in the Redis URL"}
}

// askPlain looks whether the server speaks the protocol of Redis without TLS.
func askPlain(_ context.Context, conn net.Conn) *TLSError {
	_, _ = io.WriteString(conn, "PING\r\n") // what cannot be written is not answered
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "+PONG") && !strings.HasPrefix(line, "-") {
		return nil
	}
	return &TLSError{errSpeaksPlain, "write redis:// in the Redis URL, or name the TLS port"}
}

// askCertificate reads what the server has against our certificate: in TLS 1.3 it
// says so after the handshake.
func (p *peer) askCertificate(ctx context.Context, conn net.Conn) *TLSError {
	client := tls.Client(conn, p.config)
	err := client.HandshakeContext(ctx)
	if err == nil {
		_, err = client.Read(make([]byte, 1)) // Redis does not speak first
	}
	return certificateError(err)
}
