package httpapi

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"
)

// phase is what a connection is doing. The later ones are closed later.
type phase int32

const (
	idle  phase = iota // between requests
	fresh              // its first request has not been read
	busy               // a request is under way
)

// connection is one that was accepted.
type connection struct {
	net.Conn
	all   *connections
	place netip.Addr

	current atomic.Int32 // phase
	since   atomic.Int64 // when it began, since all.began
	until   atomic.Int64 // no read waits for longer, since all.began; 0: there is no such bound
	caller  atomic.Bool  // a caller was proved on it

	secure atomic.Pointer[tls.Conn]   // nil: plaintext
	config atomic.Pointer[tls.Config] // of its handshake

	requests int // guarded by all.mu: those of HTTP/2, while it is a stranger's
}

// connectionOf returns the connection below what net/http hands out.
func connectionOf(conn net.Conn) *connection {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	c, _ := conn.(*connection)
	return c
}

func (c *connection) enter(p phase) {
	c.since.Store(int64(time.Since(c.all.began)))
	c.current.Store(int32(p))
}

func (c *connection) phase() (phase, time.Duration) {
	return phase(c.current.Load()), time.Duration(c.since.Load())
}

// follow is called by net/http in the goroutine that reads requests.
func (c *connection) follow(state http.ConnState) {
	switch state {
	case http.StateActive:
		c.enter(busy)
		if c.until.Swap(0) != 0 {
			_ = c.Conn.SetReadDeadline(time.Time{}) // a connection that is closed says so when it is read
		}
	case http.StateIdle:
		c.enter(idle)
		if !c.caller.Load() {
			end := time.Now().Add(strangerIdle)
			c.until.Store(int64(end.Sub(c.all.began)))
			_ = c.Conn.SetReadDeadline(end) // HTTP/2 sets none
		}
	default: // new ones are fresh already, and closed ones gone
	}
}

// SetReadDeadline sets it no later than a stranger's idle connection may have.
func (c *connection) SetReadDeadline(t time.Time) error {
	if until := c.until.Load(); until != 0 {
		if end := c.all.began.Add(time.Duration(until)); t.IsZero() || t.After(end) {
			t = end
		}
	}
	return c.Conn.SetReadDeadline(t)
}

// Close closes it and counts it no more.
func (c *connection) Close() error {
	c.all.drop(c)
	return c.Conn.Close()
}
