package redisstore

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

// errUnsent says that a connection of a pool was found to be of no use, or was
// closed because of a doubt, before anything of the operation was sent on it.
var errUnsent = errors.New("redisstore: the connection was given up before it was used")

// doubt is a hook of the clients that Open makes; it knows the connections of
// their pools. A connection can go silent without an end (a middle box has
// forgotten it, a host has gone), and then most likely all in the pool have: each
// of them would cost the operation that comes by it a timeout, one after the
// other. So the first operation that gets no answer in time has all those closed
// that idle; one that waits for an answer is left alone, because what it carries
// may have been done. And a connection can lead to a server that is no master
// any more; see askRole.
//
// An operation that comes by a connection that is closed, or led to a demoted
// master, uses another one.
type doubt struct {
	every time.Duration // see askEvery; 0: servers are not asked for their role
	stay  time.Duration // see stayFor

	mu    sync.Mutex
	conns map[*doubted]struct{} // guarded by mu: those that are open
}

var _ redis.Hook = (*doubt)(nil)

func newDoubt() *doubt { return &doubt{conns: make(map[*doubted]struct{})} }

// DialHook is redis.Hook's. Subscriptions watch over their own connections.
func (d *doubt) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil || dialedIn(ctx) != nil {
			return conn, err
		}
		now := time.Now()
		c := &doubted{Conn: conn, all: d, dialed: now, asked: now, every: d.every}
		c.waiting.Store(true) // somebody waits for the connection
		d.mu.Lock()
		d.conns[c] = struct{}{}
		d.mu.Unlock()
		if socket, ok := conn.(syscall.Conn); ok {
			return doubtedSocket{c, socket}, nil
		}
		return c, nil
	}
}

// ProcessHook is redis.Hook's.
func (d *doubt) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return d.try(ctx, func() error { return next(ctx, cmd) })
	}
}

// ProcessPipelineHook is redis.Hook's.
func (d *doubt) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return d.try(ctx, func() error {
			// go-redis tells the first error that any command has, and leaves
			// that of an earlier try to MULTI and EXEC.
			for _, cmd := range cmds {
				cmd.SetErr(nil)
			}
			return next(ctx, cmds)
		})
	}
}

// try does an operation; if nothing of it was sent, on another connection. A
// pool does not keep the one that failed, so the last one is new.
func (d *doubt) try(ctx context.Context, do func() error) error {
	err := do()
	for errors.Is(err, errUnsent) && ctx.Err() == nil {
		d.all() // most likely the others are of no use either; to find out of each takes time
		err = do()
	}
	if isTimeout(err) {
		d.all()
	}
	return err
}

// all puts all connections in doubt: those that idle are closed, the others are
// asked for their server's role before they are used again.
func (d *doubt) all() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		c.due.Store(true)
		if !c.waiting.Load() {
			c.closed.Store(true)
			delete(d.conns, c)
			_ = c.Conn.Close()
		}
	}
}

// doubted is a connection of a pool.
type doubted struct {
	net.Conn
	all     *doubt
	dialed  time.Time
	waiting atomic.Bool // for an answer
	closed  atomic.Bool // because of a doubt
	due     atomic.Bool // the server is to be asked before the next use

	// Owned by whoever uses the connection: when the server was asked, how
	// long that holds, until when writing may take.
	asked    time.Time
	every    time.Duration
	deadline time.Time
}

// SetWriteDeadline is net.Conn's; what is asked before a write shares its time.
func (c *doubted) SetWriteDeadline(t time.Time) error {
	c.deadline = t
	err := c.Conn.SetWriteDeadline(t)
	if err != nil && c.closed.Load() && !c.waiting.Load() {
		err = errUnsent
	}
	return err
}

func (c *doubted) Write(b []byte) (int, error) {
	if c.waiting.Swap(true) {
		return c.Conn.Write(b)
	}
	if err := c.check(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	if n == 0 && err != nil && c.closed.Load() {
		err = errUnsent
	}
	return n, err
}

// check reports why an operation must not be sent.
func (c *doubted) check() error {
	now := time.Now()
	if c.all.every == 0 || !c.due.Load() && now.Sub(c.asked) < c.every {
		return nil
	}
	doubted := c.due.Swap(false)
	is, err := roleOf(c.Conn, c.deadline)
	c.asked, c.every = now, c.all.every
	var no refusal
	switch {
	case isTimeout(err):
		return err
	case errors.As(err, &no) && redis.IsAuthError(no):
		return nil // the connection is about to log in
	case errors.As(err, &no), err == nil && is == unknownRole:
		c.every = muteFor
		return nil
	case err != nil: // the other side has closed it
		return errUnsent
	case is == replicaRole && (doubted || now.Sub(c.dialed) >= c.all.stay):
		return errUnsent
	case is == replicaRole:
		c.every = c.all.stay - now.Sub(c.dialed)
	}
	return nil
}

func (c *doubted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.waiting.Store(false)
	}
	return n, err
}

func (c *doubted) Close() error {
	c.all.mu.Lock()
	delete(c.all.conns, c)
	c.all.mu.Unlock()
	return c.Conn.Close()
}

// doubtedSocket is one that the pool can look at before it uses it.
type doubtedSocket struct {
	*doubted
	syscall.Conn
}
