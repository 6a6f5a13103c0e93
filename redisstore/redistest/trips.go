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
	held time.Duration // how long a trip takes

	mu   sync.Mutex
	done int       // guarded by mu: trips whose answers the client may have
	sent []request // guarded by mu
}

// request is a command that a client has sent.
type request struct {
	trip    int // 1 is the first dial
	command []string
}

// CountTrips calls count with a new address that counts, until it returns want or that
// seems not to be due to the machine. Answers are held back longer each time. It fails
// the test unless count has returned want, and ends what it has started with the test.
func CountTrips(t testing.TB, to *Server, want int, count func(p *Trips) int) {
	t.Helper()
	var got []int
	for held := 20 * time.Millisecond; held < 500*time.Millisecond; held *= 2 {
		n := count(startTrips(t, to, held))
		if n == want {
			return
		}
		got = append(got, n)
	}
	t.Errorf("%d round trips at least, of %d; want %d", slices.Min(got), got, want)
}

func startTrips(t testing.TB, to *Server, held time.Duration) *Trips {
	t.Helper()
	p := &Trips{held: held}
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

// Last returns the trip of the last command, or of the last one for which match is true.
// Zero: there is none.
func (p *Trips) Last(match func(command []string) bool) (trip int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.sent {
		if match == nil || match(r.command) {
			trip = r.trip
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
		c.trips.sent = append(c.trips.sent, request{c.last, command})
		c.trips.mu.Unlock()
		if _, err := io.WriteString(c.server, raw); err != nil {
			return
		}
	}
}

func (c *tripsConn) carryAnswers() {
	defer c.client.Close()
	buf := make([]byte, 1<<20)
	for held := 2 * c.trips.held; ; held = c.trips.held { // the first answer ends two trips
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
