package httpapi

import (
	"crypto/tls"
	"io"
	"net"
	"time"
)

// deadlineStep is by how much the deadlines of a fastConn may be late. Moving them for
// every request would cost some percent of it.
const deadlineStep = 15 * time.Second

// fastConn answers the plainest requests for a token without net/http, which costs more
// than all the rest of such a request.
//
// net/http reads from it. While net/http waits for a request, of which it has no byte,
// Read answers each one that is a plain GET /v1/tokens/{name} (see parseTokenRequest) of
// a caller that is proved already, for a token in memory. A plain request that cannot be
// answered at once, because the caller is not proved yet or there is no token, goes to
// net/http, and the next one can be fast again. With the first bytes that are anything
// else, net/http gets the connection for good. So there is no state of a connection that
// the two could understand differently.
type fastConn struct {
	net.Conn   // connection, or a *tls.Conn above it
	connection *connection
	api        *API
	moved      time.Duration // when the deadlines were last set, since connection.all.started; 0: not since net/http set its own
	plain      bool          // all that net/http has got since it was idle is one plain request
}

// fastTLSConn has what net/http looks for in a connection that is encrypted.
type fastTLSConn struct{ *fastConn }

func (c fastTLSConn) ConnectionState() tls.ConnectionState { return c.secure().ConnectionState() }
func (c fastTLSConn) CloseWrite() error                    { return c.secure().CloseWrite() }
func (c fastTLSConn) secure() *tls.Conn                    { return c.Conn.(*tls.Conn) }

// fastOf returns the fastConn that a net.Conn of net/http is, nil if it is none.
func fastOf(conn net.Conn) *fastConn {
	switch c := conn.(type) {
	case *fastConn:
		return c
	case fastTLSConn:
		return c.fastConn
	}
	return nil
}

// fastListener makes the connections of HTTP/1 fast.
type fastListener struct {
	net.Listener
	api *API
}

func (l fastListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	fast := &fastConn{Conn: conn, connection: connectionOf(conn), api: l.api}
	secure, ok := conn.(*tls.Conn)
	if !ok {
		fast.connection.fast.Store(true)
		return fast, nil
	}
	if state := secure.ConnectionState(); !state.HandshakeComplete || state.NegotiatedProtocol == "h2" {
		return conn, nil
	}
	fast.connection.fast.Store(true)
	return fastTLSConn{fast}, nil
}

// Read is called by one goroutine at a time.
func (c *fastConn) Read(p []byte) (int, error) {
	for c.connection.fast.Load() {
		n, err := c.Conn.Read(p)
		if err != nil {
			return n, err
		}
		r, plain := parseTokenRequest(p[:n])
		var a plainAnswer
		answered := false
		if plain {
			a, answered = c.api.plainAnswer(c.connection.source, r)
		}
		if !answered || !c.connection.isAuthenticated() {
			return n, c.leave(plain)
		}
		c.api.told(a)
		if !c.write(p[:0:len(p)], a) {
			return 0, io.EOF
		}
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.plain = false
	}
	return n, err
}

// leave leaves the connection to net/http, or only this request if that is plain.
func (c *fastConn) leave(plain bool) error {
	c.connection.fast.Store(false)
	c.plain = plain
	if c.moved == 0 {
		return nil
	}
	return c.Conn.SetReadDeadline(time.Now().Add(readHeaderTimeout)) // net/http does so only after its first request
}

// becameIdle is called when net/http has answered a request. Its background read has
// ended, so a request that came meanwhile has been noticed.
func (c *fastConn) becameIdle() {
	if c.plain {
		c.plain, c.moved = false, 0
		c.connection.fast.Store(true)
	}
}

// write writes an answer, for which it uses space. It returns false if the connection
// is to end.
func (c *fastConn) write(space []byte, a plainAnswer) bool {
	now := time.Now()
	since := now.Sub(c.connection.all.started)
	c.connection.phaseValue.Store(int32(active))
	if c.moved == 0 || since-c.moved > deadlineStep {
		c.moved = since
		c.connection.readLimit.Store(0)                                 // of an anonymous connection
		_ = c.Conn.SetReadDeadline(now.Add(idleTimeout + deadlineStep)) // fails if the connection is closed, as Write does
		_ = c.Conn.SetWriteDeadline(now.Add(writeTimeout + deadlineStep))
	}
	_, err := c.Conn.Write(a.appendTo(space, now))
	c.connection.since.Store(int64(since))
	c.connection.phaseValue.Store(int32(idle))
	return err == nil && c.api.stopping.Err() == nil // after the phase is idle; see closeFast
}
