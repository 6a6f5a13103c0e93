package redisstore

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// moves keeps track of which server is the master, by looking at where
// connections are made to. It is a hook of the clients of a Sentinel set-up.
type moves struct {
	mu     sync.Mutex
	addr   string        // guarded by mu: where the last connection went
	change chan struct{} // guarded by mu: closed when addr becomes another one
}

var _ redis.Hook = (*moves)(nil)

func newMoves() *moves { return &moves{change: make(chan struct{})} }

func (m *moves) master() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.addr
}

// changed returns a channel that is closed at the next change.
func (m *moves) changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.change
}

func (m *moves) note(addr string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if addr != m.addr {
		m.addr = addr
		close(m.change)
		m.change = make(chan struct{})
	}
}

// followMaster returns when another server has become the master. The
// subscription would stay with the demoted one for some ten seconds, during
// which nothing is published there: go-redis moves its pool, not its PubSubs.
func (c *connection) followMaster(ctx context.Context) error {
	s := c.sub.store
	for {
		changed := s.moves.changed()
		if now := s.moves.master(); c.dialed.addr != "" && now != c.dialed.addr {
			return errMoved
		}
		bounded, cancel := s.bounded(ctx)
		_ = s.reads.Ping(bounded) // dials the new master, if there is one
		cancel()
		timer := time.NewTimer(2 * s.beat)
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

// dialKey is the key of a *dialed in the context of a subscription's dial.
type dialKey struct{}

// dialed is what the hooks tell of the connection that a dial has made.
type dialed struct {
	conn net.Conn // nil: the client has no hooks of ours
	addr string   // of the server; "" when nobody keeps track of masters
}

func (d *dialed) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, dialKey{}, d)
}

// dialedIn returns what is to be told, nil if the dial is not a subscription's.
func dialedIn(ctx context.Context) *dialed {
	d, _ := ctx.Value(dialKey{}).(*dialed)
	return d
}

// DialHook is redis.Hook's.
func (m *moves) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		// Not the address that was asked for: that is the same for every
		// master.
		remote := conn.RemoteAddr().String()
		if d := dialedIn(ctx); d != nil {
			d.addr = remote
		}
		m.note(remote)
		return conn, nil
	}
}

// ProcessHook is redis.Hook's.
func (m *moves) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook is redis.Hook's.
func (m *moves) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
