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
	addr string

	mu     sync.Mutex
	server *Server       // guarded by mu: where new connections go
	silent chan struct{} // guarded by mu: closed to silence the connections since the last Forget
	count  int           // guarded by mu: number of these connections, including ended ones
}

// StartForwarder starts a Forwarder to a server. It ends with the test.
func StartForwarder(t testing.TB, to *Server) *Forwarder {
	t.Helper()
	f := &Forwarder{silent: make(chan struct{})}
	f.Point(to)
	f.addr = relay(t, f.next)
	return f
}

// Addr is host:port.
func (f *Forwarder) Addr() string { return f.addr }

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

// next returns where the next connection goes, and what carries it.
func (f *Forwarder) next() (addr string, connect func(server, client net.Conn)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	silent := f.silent
	return f.server.Addr(), func(server, client net.Conn) {
		go carry(server, client, silent) // both end when either side ends
		go carry(client, server, silent)
	}
}

// relay listens on loopback until the test ends. It dials the address that next
// returns for each connection, and hands both ends to connect.
func relay(t testing.TB, next func() (addr string, connect func(server, client net.Conn))) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			addr, connect := next()
			server, err := net.DialTimeout("tcp", addr, time.Second)
			if err != nil {
				_ = client.Close()
				continue
			}
			connect(server, client)
		}
	}()
	return l.Addr().String()
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
