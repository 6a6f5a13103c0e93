package redistest

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Forwarder is an address in front of servers, as a DNS name, a virtual IP or a
// Kubernetes Service is: a new connection goes to the server at which it points
// at that moment, and stays there.
type Forwarder struct {
	listener net.Listener

	mu     sync.Mutex
	server *Server       // guarded by mu: where new connections go
	silent chan struct{} // guarded by mu: of the connections since the last Forget; closed: nothing passes any more
	count  int           // guarded by mu: of those connections, also ended ones
}

// StartForwarder starts one that points at the server. It ends with the test.
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

// URL is the address as go-redis takes it.
func (f *Forwarder) URL() string { return "redis://" + f.Addr() }

// Point has new connections go to another server. Those that are there stay.
func (f *Forwarder) Point(to *Server) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.server = to
}

// Forget silences every connection there is without an end of it, as a middle
// box does that has forgotten them, and returns how many there were.
func (f *Forwarder) Forget() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.count
	close(f.silent)
	f.silent, f.count = make(chan struct{}), 0
	return n
}

// Count returns how many connections there were since the last Forget.
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
		go carry(server, client, silent) // both end when either side does
		go carry(client, server, silent)
	}
}

// carry carries bytes one way until their source ends.
func carry(to io.WriteCloser, from io.Reader, silent <-chan struct{}) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-silent:
			if err != nil {
				return // nobody is told
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
