package redisclient

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// askEvery is how often a connection of a pool asks for its server's role, if
	// it is used.
	askEvery = 2 * time.Second

	// askAgainIn is how long a connection does not ask a server again that did not
	// report its role.
	askAgainIn = time.Minute

	// stayFor is how long a connection stays with a server that was a replica from
	// the beginning, before the address is dialed again.
	stayFor = 5 * time.Second

	// lastLook is how long a connection is read once more whose time is over.
	lastLook = 5 * time.Millisecond

	// silentFor is how long a server at least has not answered that is called silent:
	// an operation may have used up its time before it sent anything.
	silentFor = 100 * time.Millisecond
)

// errUnsent is the error of an operation of which nothing was sent, because its
// connection was discarded by a purge or leads to a demoted master.
var errUnsent = errors.New("redisclient: the connection was discarded before it was used")

// idlePurge is a hook that keeps track of the connections of the pool of one server. A
// connection can go silent without being closed (a middlebox has dropped its
// state, a host is gone), and then most likely all of the pool have: each would
// cost the operation that uses it a timeout, one after the other. So after the first
// answer that does not come in time no operation is begun any more on the connections that
// there are. None is closed: an operation under way may have got a part of its answers,
// and what it has not got may have been carried out. One that has got nothing yet tells by
// its answer that its connection is not silent. An operation that was not sent in time tells
// nothing of the connections. A connection can also lead to a server that is no longer the
// master; see role.go.
//
// An operation whose connection is discarded, or leads to a demoted master, is
// repeated on another one.
type idlePurge struct {
	ask, stay time.Duration // see askEvery and stayFor; ask 0: servers are not asked for their role
	conns     *trackedConns
}

var _ redis.Hook = (*idlePurge)(nil)

// trackedConns are the connections of the pools of one Client.
type trackedConns struct {
	mu   sync.Mutex
	open map[*trackedConn]struct{} // guarded by mu
}

func newTrackedConns() *trackedConns { return &trackedConns{open: make(map[*trackedConn]struct{})} }

func (s *trackedConns) add(c *trackedConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[c] = struct{}{}
}

func (s *trackedConns) remove(c *trackedConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// discard discards the connections of one pool, or of all if it is nil, except those that
// wait for the beginning of an answer. These ask for their server's role before they are
// used again.
func (s *trackedConns) discard(of *idlePurge) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		if of != nil && c.purge != of {
			continue
		}
		c.due.Store(true)
		if !c.waiting.Load() {
			c.discarded.Store(true)
		}
	}
}

// DialHook implements [redis.Hook]. Connections of a PubSub are not tracked: they
// are watched by pings.
func (p *idlePurge) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil || pubsubDialIn(ctx) != nil {
			return conn, err
		}
		now := time.Now()
		c := &trackedConn{Conn: conn, purge: p, dialed: now, asked: now, ask: p.ask}
		c.waiting.Store(true) // the dialing operation is about to use it
		p.conns.add(c)
		if socket, ok := conn.(syscall.Conn); ok {
			return trackedSocket{c, socket}, nil
		}
		return c, nil
	}
}

// ProcessHook implements [redis.Hook].
func (p *idlePurge) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return p.do(ctx, func() error { return next(ctx, cmd) })
	}
}

// ProcessPipelineHook implements [redis.Hook].
func (p *idlePurge) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return p.do(ctx, func() error {
			// go-redis returns the first error that any command has, and does not
			// clear that of an earlier attempt from MULTI and EXEC.
			for _, cmd := range cmds {
				cmd.SetErr(nil)
			}
			return next(ctx, cmds)
		})
	}
}

// do runs an operation; if nothing of it was sent, it runs it again on another
// connection. A pool closes a connection that failed, so this ends with a new one.
func (p *idlePurge) do(ctx context.Context, operation func() error) error {
	err := operation()
	for errors.Is(err, errUnsent) && ctx.Err() == nil {
		err = operation()
	}
	return err
}

// discard discards the connections of the pool.
func (p *idlePurge) discard() { p.conns.discard(p) }

type trackedConn struct {
	net.Conn
	purge     *idlePurge
	dialed    time.Time
	waiting   atomic.Bool // for the beginning of an answer
	discarded atomic.Bool // no operation is to be begun
	due       atomic.Bool // the server is to be asked for its role before the next use

	// Owned by the operation that uses the connection.
	asked    time.Time     // when the server was asked for its role
	ask      time.Duration // how long that holds
	deadline time.Time     // of writing
	checking time.Duration // how long check has waited for the server; it does not count
	sent     time.Time     // when the command was sent that it waits for
}

// SetReadDeadline implements [net.Conn]. The deadline of an operation was set before the
// server was asked for its role.
func (c *trackedConn) SetReadDeadline(t time.Time) error {
	if !t.IsZero() {
		t = t.Add(c.checking)
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline implements [net.Conn]. It holds for what Write asks the server before it
// writes, and then anew.
func (c *trackedConn) SetWriteDeadline(t time.Time) error {
	c.deadline = t
	return c.Conn.SetWriteDeadline(t)
}

func (c *trackedConn) Write(b []byte) (int, error) {
	if c.waiting.Swap(true) {
		return c.Conn.Write(b)
	}
	if c.discarded.Load() {
		return 0, errUnsent
	}
	if err := c.check(); err != nil {
		return 0, err
	}
	c.sent = time.Now()
	if c.checking > 0 && !c.deadline.IsZero() {
		if err := c.Conn.SetWriteDeadline(c.deadline.Add(c.checking)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(b)
}

// check returns errUnsent if the connection leads to a demoted master.
func (c *trackedConn) check() error {
	now := time.Now()
	c.checking = 0
	if c.purge.ask == 0 || !c.due.Load() && now.Sub(c.asked) < c.ask {
		return nil
	}
	due := c.due.Swap(false)
	role, err := roleOf(c.Conn, c.deadline)
	c.asked, c.ask, c.checking = now, c.purge.ask, time.Since(now)
	var answer replyError
	switch {
	case isTimeout(err):
		if c.deadline.After(now) { // else nothing was sent
			c.purge.discard()
		}
		return err
	case errors.As(err, &answer) && redis.IsAuthError(answer):
		return nil // go-redis is about to authenticate
	case errors.As(err, &answer), err == nil && role == UnknownRole:
		c.ask = askAgainIn
		return nil
	case err != nil, role == Replica && (due || now.Sub(c.dialed) >= c.purge.stay): // err: the server has closed it
		c.purge.discard() // most likely the others are as useless; to ask on each takes time
		return errUnsent
	case role == Replica:
		c.ask = c.purge.stay - now.Sub(c.dialed)
	}
	return nil
}

func (c *trackedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n == 0 && isTimeout(err) && c.waiting.Load() {
		// The answer may have come in time, and this process be too busy to have
		// read it.
		if err := c.Conn.SetReadDeadline(time.Now().Add(lastLook)); err != nil {
			return 0, err
		}
		if n, err = c.Conn.Read(b); isTimeout(err) && time.Since(c.sent) >= silentFor {
			c.purge.discard()
		}
	}
	if n > 0 {
		c.waiting.Store(false)
	}
	return n, err
}

func (c *trackedConn) Close() error {
	c.purge.conns.remove(c)
	return c.Conn.Close()
}

// trackedSocket is a trackedConn of which go-redis can check that the server has
// not closed it.
type trackedSocket struct {
	*trackedConn
	syscall.Conn
}
