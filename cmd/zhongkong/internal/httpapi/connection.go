package httpapi

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"
)

// phase is what a connection is doing. To make room, earlier ones are closed
// first.
type phase int32

const (
	idle   phase = iota // between requests
	opened              // its first request has not been read
	active              // a request is under way
)

type connection struct {
	net.Conn
	all     *connections
	handler http.Handler // nil: the API
	source  netip.Addr   // see auth.Source

	phaseValue    atomic.Int32 // phase
	since         atomic.Int64 // its beginning, as a duration since all.started
	readLimit     atomic.Int64 // the latest read deadline, likewise; 0: none
	authenticated atomic.Bool  // a caller was authenticated on it
	fast          atomic.Bool  // net/http has nothing of it and waits; see fastConn

	secure atomic.Pointer[tls.Conn]   // nil: plaintext
	config atomic.Pointer[tls.Config] // of its handshake

	requests int // guarded by all.mu: HTTP/2 requests, while it is not authenticated
}

// connectionOf returns the connection below a net.Conn of net/http, nil if there
// is none.
func connectionOf(conn net.Conn) *connection {
	if fast := fastOf(conn); fast != nil {
		return fast.connection
	}
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	c, _ := conn.(*connection)
	return c
}

func (c *connection) setPhase(p phase) {
	c.since.Store(int64(time.Since(c.all.started)))
	c.phaseValue.Store(int32(p))
}

func (c *connection) phase() (phase, time.Duration) {
	return phase(c.phaseValue.Load()), time.Duration(c.since.Load())
}

// connState is called by net/http in the goroutine that reads requests.
func (c *connection) connState(state http.ConnState) {
	switch state {
	case http.StateActive:
		c.setPhase(active)
		if c.readLimit.Swap(0) != 0 {
			_ = c.Conn.SetReadDeadline(time.Time{}) // if the connection is closed, the read says so
		}
	case http.StateIdle:
		c.setPhase(idle)
		if !c.authenticated.Load() {
			end := time.Now().Add(anonymousIdleTimeout)
			c.readLimit.Store(int64(end.Sub(c.all.started)))
			_ = c.Conn.SetReadDeadline(end) // HTTP/2 sets none
		}
	default: // a new one is opened already, and a closed one removed
	}
}

// isAuthenticated reports whether c counts as authenticated, which it does from now on if
// there is room.
func (c *connection) isAuthenticated() bool {
	c.all.setAuthenticated(c)
	return c.authenticated.Load()
}

// SetReadDeadline sets the deadline, but no later than the idle timeout of a
// connection that is not authenticated.
func (c *connection) SetReadDeadline(t time.Time) error {
	if limit := c.readLimit.Load(); limit != 0 {
		if end := c.all.started.Add(time.Duration(limit)); t.IsZero() || t.After(end) {
			t = end
		}
	}
	return c.Conn.SetReadDeadline(t)
}

// Close closes the connection and removes it from the count.
func (c *connection) Close() error {
	c.all.remove(c)
	return c.Conn.Close()
}
