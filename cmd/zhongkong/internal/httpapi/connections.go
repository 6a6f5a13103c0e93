package httpapi

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
)

const (
	// maxConnections is how many connections a server has at most, however many
	// files the process may open.
	maxConnections = 25_000
	// maxAnonymousConnections is how many of them may be anonymous: at 20 to 45 KB
	// each they take 90 MB at most.
	maxAnonymousConnections = 2048
	// requestsPerAnonymous bounds the HTTP/2 requests on anonymous connections
	// together: the limit of those connections times this. One connection carries
	// up to 250.
	requestsPerAnonymous = 4
	// anonymousIdleTimeout is how long an anonymous connection may be idle.
	anonymousIdleTimeout = 15 * time.Second
	// openGrace is how long a new connection is protected from being closed to
	// make room. One of a busy source, which has more than a quarter of all
	// anonymous connections, is protected for busySourceGrace.
	openGrace       = time.Second
	busySourceGrace = openGrace / 4
	// roomPollInterval is the interval in which a connection that waits for room
	// tries again.
	roomPollInterval = 5 * time.Millisecond
	// closedLogInterval is the least time between two log lines about closed
	// connections.
	closedLogInterval = time.Minute
)

// connections bounds how many connections a server has, so that clients that only
// connect do not take the memory and the files that refreshes need.
//
// A connection is anonymous until a caller is authenticated on it. Each of the two
// kinds has a limit of its own. At the limit, a new anonymous connection closes
// another one, the longest idle first; a connection that becomes authenticated
// closes the longest idle authenticated one. An authenticated connection with a
// request is never closed.
type connections struct {
	maxAnonymous, maxAuthenticated int
	log                            *slog.Logger
	started                        time.Time

	mu            sync.Mutex // guards what follows
	anonymous     map[*connection]struct{}
	authenticated map[*connection]struct{}
	bySource      map[netip.Addr]int // :: source → number of anonymous ones
	requests      int                // HTTP/2 requests on anonymous ones
	noIdleAt      time.Time          // when no authenticated one was idle
	closed        struct {           // to make room, since the last log line
		anonymous, authenticated int
		scheduled                bool // logClosedLocked will be called
	}
	closedTotal closedCounts
}

func newConnections(most int, log *slog.Logger) *connections {
	anonymous := max(1, min(maxAnonymousConnections, most/4))
	return &connections{
		maxAnonymous:     anonymous,
		maxAuthenticated: max(1, most-anonymous),
		log:              log,
		started:          time.Now(),
		anonymous:        make(map[*connection]struct{}),
		authenticated:    make(map[*connection]struct{}),
		bySource:         make(map[netip.Addr]int),
	}
}

// listener returns l with its connections counted. h answers their requests; nil:
// the API.
func (cs *connections) listener(l net.Listener, h http.Handler) net.Listener {
	return &boundedListener{Listener: l, all: cs, handler: h, done: make(chan struct{})}
}

// boundedListener accepts connections while there is room.
type boundedListener struct {
	net.Listener
	all     *connections
	handler http.Handler

	once sync.Once
	done chan struct{} // closed by Close
}

func (l *boundedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: conn, all: l.all, handler: l.handler, source: auth.Source(auth.Addr(conn.RemoteAddr().String()))}
	if !l.wait(c) {
		conn.Close()
		return nil, net.ErrClosed
	}
	return c, nil
}

// wait blocks until there is room for c: until other connections end or lose their
// grace. Meanwhile the system queues new ones. It returns false if the listener is
// closed.
func (l *boundedListener) wait(c *connection) bool {
	for !l.all.add(c) {
		select {
		case <-time.After(roomPollInterval):
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

// add counts a new connection. It returns false if there is no room, and no
// connection that can be closed.
func (cs *connections) add(c *connection) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if len(cs.anonymous) >= cs.maxAnonymous {
		victim := cs.anonymousVictimLocked()
		if victim == nil {
			return false
		}
		cs.closeLocked(victim)
	}
	c.setPhase(opened)
	cs.anonymous[c] = struct{}{}
	cs.bySource[c.source]++
	return true
}

// anonymousVictimLocked returns the anonymous connection to close, nil if all are
// protected: the longest idle one; else one of the busiest source; else any other.
// Newly opened ones go before those with a request.
func (cs *connections) anonymousVictimLocked() *connection {
	var busiest netip.Addr
	most := cs.maxAnonymous / 4
	for source, n := range cs.bySource {
		if n > most {
			busiest, most = source, n
		}
	}
	now := time.Since(cs.started)
	var victim *connection
	var victimRank int
	var victimSince time.Duration
	for c := range cs.anonymous {
		state, since := c.phase()
		rank, grace := int(state), openGrace
		switch {
		case state == idle:
			grace = 0
		case most > cs.maxAnonymous/4 && c.source == busiest:
			grace = busySourceGrace
		default:
			rank += int(active)
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

// setAuthenticated moves c to the authenticated connections, unless their limit is
// reached and none of them is idle.
func (cs *connections) setAuthenticated(c *connection) {
	if c.authenticated.Load() {
		return
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if _, ok := cs.anonymous[c]; !ok { // closed meanwhile
		return
	}
	if len(cs.authenticated) >= cs.maxAuthenticated && !cs.closeAuthenticatedLocked() {
		return
	}
	cs.removeLocked(c)
	cs.authenticated[c] = struct{}{}
	c.authenticated.Store(true)
}

// closeAuthenticatedLocked closes the authenticated connection that has been idle
// for longest, if there is one.
func (cs *connections) closeAuthenticatedLocked() bool {
	if time.Since(cs.noIdleAt) < roomPollInterval*10 {
		return false
	}
	var victim *connection
	var victimSince time.Duration
	for c := range cs.authenticated {
		if state, since := c.phase(); state == idle && (victim == nil || since < victimSince) {
			victim, victimSince = c, since
		}
	}
	if victim == nil {
		cs.noIdleAt = time.Now()
		return false
	}
	cs.closeLocked(victim)
	return true
}

// closeLocked closes a connection to make room for another.
func (cs *connections) closeLocked(c *connection) {
	if c.authenticated.Load() {
		cs.closed.authenticated++
		cs.closedTotal.authenticated.Add(1)
	} else {
		cs.closed.anonymous++
		cs.closedTotal.anonymous.Add(1)
	}
	cs.removeLocked(c)
	_ = c.Conn.Close() // an error would change nothing
	if !cs.closed.scheduled {
		cs.logClosedLocked()
	}
}

// logClosedLocked logs how many connections were closed to make room, and again
// after each interval in which some were.
func (cs *connections) logClosedLocked() {
	cs.log.Warn("too many connections: some were closed to make room",
		"without_caller", cs.closed.anonymous, "idle_of_callers", cs.closed.authenticated,
		"open_without_caller", len(cs.anonymous), "open_of_callers", len(cs.authenticated))
	cs.closed.anonymous, cs.closed.authenticated, cs.closed.scheduled = 0, 0, true
	time.AfterFunc(closedLogInterval, func() {
		cs.mu.Lock()
		defer cs.mu.Unlock()
		cs.closed.scheduled = false
		if cs.closed.anonymous+cs.closed.authenticated > 0 {
			cs.logClosedLocked()
		}
	})
}

func (cs *connections) removeLocked(c *connection) {
	delete(cs.authenticated, c)
	if _, ok := cs.anonymous[c]; !ok {
		return
	}
	delete(cs.anonymous, c)
	cs.requests -= c.requests
	c.requests = 0
	if cs.bySource[c.source]--; cs.bySource[c.source] == 0 {
		delete(cs.bySource, c.source)
	}
}

func (cs *connections) remove(c *connection) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.removeLocked(c)
}

// beginRequest counts an HTTP/2 request on an anonymous connection, until
// endRequest. At the limit it closes the connection that carries the most.
func (cs *connections) beginRequest(c *connection) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if _, ok := cs.anonymous[c]; !ok {
		return
	}
	c.requests++
	cs.requests++
	if cs.requests <= requestsPerAnonymous*cs.maxAnonymous {
		return
	}
	victim := c
	for other := range cs.anonymous {
		if other.requests > victim.requests {
			victim = other
		}
	}
	cs.closeLocked(victim)
}

func (cs *connections) endRequest(c *connection) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.requests > 0 { // otherwise c is authenticated by now, or closed
		c.requests--
		cs.requests--
	}
}

func (cs *connections) list() []*connection {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	list := make([]*connection, 0, len(cs.anonymous)+len(cs.authenticated))
	for c := range cs.anonymous {
		list = append(list, c)
	}
	for c := range cs.authenticated {
		list = append(list, c)
	}
	return list
}

// closeFast closes the idle connections that http.Server.Shutdown takes for new ones,
// which it gives some seconds. After the API has stopped, a fastConn that is not idle
// ends by itself.
func (cs *connections) closeFast() {
	for _, c := range cs.list() {
		if state, _ := c.phase(); c.fast.Load() && state == idle {
			_ = c.Conn.Close() // net/http, which reads from it, does the rest
		}
	}
}

type connectionKey struct{}

// connContext is http.Server.ConnContext.
func (cs *connections) connContext(ctx context.Context, conn net.Conn) context.Context {
	c := connectionOf(conn)
	if c == nil {
		return ctx
	}
	ctx = context.WithValue(ctx, connectionKey{}, c)
	return auth.NotifyAuthenticated(ctx, func() { cs.setAuthenticated(c) })
}
