package redistest

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Forwarder is an address in front of servers, like a DNS name, a virtual IP address or
// a Kubernetes Service: a new connection goes to the server to which it points at that
// moment, and stays there.
type Forwarder struct {
	listener net.Listener

	mu     sync.Mutex
	server *Server       // guarded by mu: where new connections go
	silent chan struct{} // guarded by mu: closed to silence the connections since the last Forget
	count  int           // guarded by mu: number of these connections, including ended ones
}

// StartForwarder starts a Forwarder to a server. It ends with the test.
func StartForwarder(t testing.TB, to *Server) *Forwarder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &Forwarder{listener: l, silent: make(chan struct{})}
	f.Point(to)
	go f.serve() // ends with the listener
	t.Cleanup(func() { _ = l.Close() })
	return f
}

// Addr is host:port.
func (f *Forwarder) Addr() string { return f.listener.Addr().String() }

// URL is the address in the form that go-redis parses.
func (f *Forwarder) URL() string { return "redis://" + f.Addr() }

// Point directs new connections to another server. Existing ones stay.
func (f *Forwarder) Point(to *Server) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.server = to
}

// Forget silences all existing connections without closing them, like a NAT device that
// has lost its table, and returns how many there were.
func (f *Forwarder) Forget() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.count
	close(f.silent)
	f.silent, f.count = make(chan struct{}), 0
	return n
}

// Count returns the number of connections since the last Forget.
func (f *Forwarder) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

func (f *Forwarder) serve() {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		target, silent := f.server.Addr(), f.silent
		f.count++
		f.mu.Unlock()
		server, err := net.DialTimeout("tcp", target, time.Second)
		if err != nil {
			_ = client.Close()
			continue
		}
		go carry(server, client, silent) // both end when either side ends
		go carry(client, server, silent)
	}
}

// carry copies data in one direction until its source ends.
func carry(to io.WriteCloser, from io.Reader, silent <-chan struct{}) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-silent:
			if err != nil {
				return // the other end stays open
			}
			continue
		default:
		}
		if _, failed := to.Write(buf[:n]); err != nil || failed != nil {
			_ = to.Close()
			return
		}
	}
}
