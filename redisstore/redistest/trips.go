package redistest

import (
	"bufio"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// Trips is an address in front of a server that counts round trips as a client has to
// wait for them: a dial is one, and so is a write whose answers come together. A command
// is in trip n if what was sent before it could be known after n-1 trips. What is sent
// side by side is in the same trip.
//
// Answers are held back for a moment, so that what does not wait for an answer is sent
// before it. A client that was kept from running for so long may appear to make more
// trips, but never fewer.
type Trips struct {
	addr string

	mu   sync.Mutex
	done int       // guarded by mu: trips whose answers the client may have
	sent []Request // guarded by mu
}

// Request is a command that a client has sent.
type Request struct {
	Trip    int // 1 is the first dial
	Command []string
}

// heldBack is how long each trip takes.
const heldBack = 40 * time.Millisecond

// StartTrips starts an address that counts. It ends with the test.
func StartTrips(t testing.TB, to *Server) *Trips {
	t.Helper()
	p := new(Trips)
	p.addr = relay(t, func() (string, func(server, client net.Conn)) {
		p.mu.Lock()
		dialed := p.done + 1
		p.mu.Unlock()
		return to.Addr(), func(server, client net.Conn) {
			c := &tripsConn{trips: p, server: server, client: client, last: dialed}
			go c.carryCommands() // both end when either side ends
			go c.carryAnswers()
		}
	})
	return p
}

// URL is the address in the form that go-redis parses.
func (p *Trips) URL() string { return "redis://" + p.addr }

// Sent returns the commands so far, in the order in which they came.
func (p *Trips) Sent() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.sent)
}

// Last returns the trip of the last of the commands for which match is true. Zero: there
// is none.
func (p *Trips) Last(match func(command []string) bool) (trip int) {
	for _, r := range p.Sent() {
		if match(r.Command) {
			trip = r.Trip
		}
	}
	return trip
}

type tripsConn struct {
	trips          *Trips
	server, client net.Conn
	last           int // guarded by trips.mu: the trip of the last command, at first that of the dial
	commands       int // guarded by trips.mu
}

func (c *tripsConn) carryCommands() {
	defer c.server.Close()
	in := bufio.NewReaderSize(c.client, 1<<20)
	for {
		command, raw, err := readCommand(in)
		if err != nil {
			return
		}
		c.trips.mu.Lock()
		if c.commands == 0 {
			c.last++
		}
		c.commands++
		c.last = max(c.last, c.trips.done+1)
		c.trips.sent = append(c.trips.sent, Request{c.last, command})
		c.trips.mu.Unlock()
		if _, err := io.WriteString(c.server, raw); err != nil {
			return
		}
	}
}

func (c *tripsConn) carryAnswers() {
	defer c.client.Close()
	buf := make([]byte, 1<<20)
	for held := 2 * heldBack; ; held = heldBack { // the first answer ends two trips
		n, err := c.server.Read(buf)
		if err != nil {
			return
		}
		time.Sleep(held)
		c.trips.mu.Lock()
		c.trips.done = max(c.trips.done, c.last)
		c.trips.mu.Unlock()
		if _, err := c.client.Write(buf[:n]); err != nil {
			return
		}
	}
}
