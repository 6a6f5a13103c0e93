package httpapi

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
)

const (
	// mostConnections is how many a server has at most, however many files
	// the process may open.
	mostConnections = 25_000
	// mostStrangers is how many of them may be ones on which no caller was
	// proved yet: at 20 to 45 KB each they take 90 MB at most.
	mostStrangers = 2048
	// requestsEach bounds the HTTP/2 requests of strangers: as many as there
	// may be connections of theirs, times this. One carries up to 250.
	requestsEach = 4
	// strangerIdle is how long a stranger's connection may be idle.
	strangerIdle = 15 * time.Second
	// newcomerGrace is how long a new connection is let be, when there is no room
	// for another, before it has to give way. One of a crowd, that is of a
	// place that has more than a quarter of all, is let be for less.
	newcomerGrace = time.Second
	crowdGrace    = newcomerGrace / 4
	// lookForRoomEvery is how often a connection that waits for room looks.
	lookForRoomEvery = 5 * time.Millisecond
	// sayFullEvery is how often the log says that connections were closed.
	sayFullEvery = time.Minute
)

// connections bounds how many connections a server has, so that those who only
// connect take neither the memory nor the files from those who refresh tokens.
//
// A connection is a stranger's until a caller is proved on it. Strangers and
// callers have room of their own: a stranger's connection that finds none closes
// another stranger's, the longest idle one first, and a caller's the longest
// idle one of another caller. Those in use by callers are never closed.
type connections struct {
	mostStrangers, mostCallers int
	log                        *slog.Logger
	began                      time.Time

	mu        sync.Mutex // guards what follows
	strangers map[*connection]struct{}
	callers   map[*connection]struct{}
	places    map[netip.Addr]int // :: place → how many of the strangers
	requests  int                // HTTP/2 requests of strangers
	noneIdle  time.Time          // when callers were searched in vain
	closed    struct {           // to make room, since the log said so
		strangers, callers int
		saying             bool // say will be called
	}
}

func newConnections(most int, log *slog.Logger) *connections {
	strangers := max(1, min(mostStrangers, most/4))
	return &connections{
		mostStrangers: strangers,
		mostCallers:   max(1, most-strangers),
		log:           log,
		began:         time.Now(),
		strangers:     make(map[*connection]struct{}),
		callers:       make(map[*connection]struct{}),
		places:        make(map[netip.Addr]int),
	}
}

// listen returns l with its connections counted.
func (cs *connections) listen(l net.Listener) net.Listener {
	return &boundedListener{Listener: l, all: cs, done: make(chan struct{})}
}

// boundedListener accepts connections that there is room for.
type boundedListener struct {
	net.Listener
	all *connections

	once sync.Once
	done chan struct{} // closed by Close
}

func (l *boundedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: conn, all: l.all, place: auth.Source(auth.Addr(conn.RemoteAddr().String()))}
	if !l.wait(c) {
		conn.Close()
		return nil, net.ErrClosed
	}
	return c, nil
}

// wait makes room for c, or waits for it: until others are answered or have had
// their time, while the system holds those who come later. False: the listener
// was closed meanwhile.
func (l *boundedListener) wait(c *connection) bool {
	for !l.all.add(c) {
		select {
		case <-time.After(lookForRoomEvery):
		case <-l.done:
			return false
		}
	}
	return true
}

func (l *boundedListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

// add counts a new connection if there is room, or one that gives way.
func (cs *connections) add(c *connection) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if len(cs.strangers) >= cs.mostStrangers {
		victim := cs.strangerLocked()
		if victim == nil {
			return false
		}
		cs.closeLocked(victim)
	}
	c.enter(fresh)
	cs.strangers[c] = struct{}{}
	cs.places[c.place]++
	return true
}

// strangerLocked returns the stranger that gives way, nil if none has to yet:
// the longest idle one; else one of a crowd; else any other. New ones go before
// those whose request is under way.
func (cs *connections) strangerLocked() *connection {
	var crowd netip.Addr
	most := cs.mostStrangers / 4
	for place, n := range cs.places {
		if n > most {
			crowd, most = place, n
		}
	}
	now := time.Since(cs.began)
	var victim *connection
	var victimRank int
	var victimSince time.Duration
	for c := range cs.strangers {
		state, since := c.phase()
		rank, grace := int(state), newcomerGrace
		switch {
		case state == idle:
			grace = 0
		case most > cs.mostStrangers/4 && c.place == crowd:
			grace = crowdGrace
		default:
			rank += int(busy)
		}
		if now-since < grace {
			continue
		}
		if victim == nil || rank < victimRank || rank == victimRank && since < victimSince {
			victim, victimRank, victimSince = c, rank, since
		}
	}
	return victim
}

// proved makes c a caller's, unless all of those are in use.
func (cs *connections) proved(c *connection) {
	if c.caller.Load() {
		return
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if _, ok := cs.strangers[c]; !ok { // closed meanwhile
		return
	}
	if len(cs.callers) >= cs.mostCallers && !cs.closeCallerLocked() {
		return
	}
	cs.dropLocked(c)
	cs.callers[c] = struct{}{}
	c.caller.Store(true)
}

// closeCallerLocked closes the caller's connection that has been idle for
// longest, if there is one.
func (cs *connections) closeCallerLocked() bool {
	if time.Since(cs.noneIdle) < lookForRoomEvery*10 {
		return false
	}
	var victim *connection
	var victimSince time.Duration
	for c := range cs.callers {
		if state, since := c.phase(); state == idle && (victim == nil || since < victimSince) {
			victim, victimSince = c, since
		}
	}
	if victim == nil {
		cs.noneIdle = time.Now()
		return false
	}
	cs.closeLocked(victim)
	return true
}

// closeLocked closes a connection to make room for another.
func (cs *connections) closeLocked(c *connection) {
	if c.caller.Load() {
		cs.closed.callers++
	} else {
		cs.closed.strangers++
	}
	cs.dropLocked(c)
	_ = c.Conn.Close() // it is given up anyway
	if !cs.closed.saying {
		cs.sayLocked()
	}
}

// sayLocked logs what was closed to make room, and again after a while, until
// nothing was.
func (cs *connections) sayLocked() {
	cs.log.Warn("too many connections: some were closed to make room",
		"without_caller", cs.closed.strangers, "idle_of_callers", cs.closed.callers,
		"open_without_caller", len(cs.strangers), "open_of_callers", len(cs.callers))
	cs.closed.strangers, cs.closed.callers, cs.closed.saying = 0, 0, true
	time.AfterFunc(sayFullEvery, func() {
		cs.mu.Lock()
		defer cs.mu.Unlock()
		cs.closed.saying = false
		if cs.closed.strangers+cs.closed.callers > 0 {
			cs.sayLocked()
		}
	})
}

// dropLocked counts c no more.
func (cs *connections) dropLocked(c *connection) {
	delete(cs.callers, c)
	if _, ok := cs.strangers[c]; !ok {
		return
	}
	delete(cs.strangers, c)
	cs.requests -= c.requests
	c.requests = 0
	if cs.places[c.place]--; cs.places[c.place] == 0 {
		delete(cs.places, c.place)
	}
}

func (cs *connections) drop(c *connection) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.dropLocked(c)
}

// begin counts an HTTP/2 request of a stranger. When there are too many, the
// connection that carries the most gives way. end counts it no more.
func (cs *connections) begin(c *connection) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if _, ok := cs.strangers[c]; !ok {
		return
	}
	c.requests++
	cs.requests++
	if cs.requests <= requestsEach*cs.mostStrangers {
		return
	}
	victim := c
	for other := range cs.strangers {
		if other.requests > victim.requests {
			victim = other
		}
	}
	cs.closeLocked(victim)
}

func (cs *connections) end(c *connection) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.requests > 0 { // else it is a caller's by now, or closed
		c.requests--
		cs.requests--
	}
}

// list returns the connections there are.
func (cs *connections) list() []*connection {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	list := make([]*connection, 0, len(cs.strangers)+len(cs.callers))
	for c := range cs.strangers {
		list = append(list, c)
	}
	for c := range cs.callers {
		list = append(list, c)
	}
	return list
}

type connectionKey struct{}

// context is http.Server.ConnContext.
func (cs *connections) context(ctx context.Context, conn net.Conn) context.Context {
	c := connectionOf(conn)
	if c == nil {
		return ctx
	}
	ctx = context.WithValue(ctx, connectionKey{}, c)
	return auth.NotifyAuthenticated(ctx, func() { cs.proved(c) })
}
