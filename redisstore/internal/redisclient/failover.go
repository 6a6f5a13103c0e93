package redisclient

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// followEvery is how often a subscription through Sentinel checks which server
// the pool's connections go to, unless it is told of a change earlier.
const followEvery = 500 * time.Millisecond

// failover records which server is the master, by the address that connections
// are made to. It is a hook of clients that use Sentinel.
type failover struct {
	noHook

	mu     sync.Mutex
	addr   string        // guarded by mu: where the last connection went
	change chan struct{} // guarded by mu: closed when addr changes
}

var _ redis.Hook = (*failover)(nil)

func newFailover() *failover { return &failover{change: make(chan struct{})} }

// DialHook implements [redis.Hook].
func (f *failover) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err == nil {
			// Not addr: go-redis passes the same text for every master.
			f.set(conn.RemoteAddr().String())
		}
		return conn, err
	}
}

func (f *failover) set(addr string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if addr != f.addr {
		f.addr = addr
		close(f.change)
		f.change = make(chan struct{})
	}
}

// master returns the master's address, and a channel that is closed when it
// changes.
func (f *failover) master() (addr string, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.addr, f.change
}

// watchFailover returns when another server has become the master. Without it a
// subscription would stay with the demoted master for some ten seconds, during
// which nothing is published there: go-redis moves its pool, not its PubSubs.
func (p *PubSub) watchFailover(ctx context.Context) error {
	for {
		now, changed := p.client.failover.master()
		if now != p.dial.addr {
			return ErrMoved
		}
		bounded, cancel := p.client.Bounded(ctx)
		_ = p.client.Reads.Ping(bounded).Err() // dials the new master, if there is one
		cancel()
		timer := time.NewTimer(followEvery)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
