package redisstore

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// doubt is a hook of the clients that Open makes. A connection can go silent
// without an end (a middle box has forgotten it, a host has gone), and then most
// likely all in the pool have: each of them would cost the operation that comes
// by it a timeout, one after the other. So the first operation that gets no
// answer in time has all those closed that idle. A closed one is noticed before
// it is used; one that waits for an answer is left alone, because what it
// carries may have been done.
type doubt struct {
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
		c := &doubted{Conn: conn, all: d}
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
		err := next(ctx, cmd)
		d.look(err)
		return err
	}
}

// ProcessPipelineHook is redis.Hook's.
func (d *doubt) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		d.look(err)
		return err
	}
}

// look closes what idles if an operation got no answer in time.
func (d *doubt) look(err error) {
	if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		if !c.waiting.Load() {
			delete(d.conns, c)
			_ = c.Conn.Close()
		}
	}
}

// doubted is a connection of a pool.
type doubted struct {
	net.Conn
	all     *doubt
	waiting atomic.Bool // something was written that has no answer yet
}

func (c *doubted) Write(b []byte) (int, error) {
	c.waiting.Store(true)
	return c.Conn.Write(b)
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
