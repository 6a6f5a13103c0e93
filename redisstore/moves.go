package redisstore

import (
	"context"
	"net"
	"sync"

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

// addrKey is the key of a *string in the context of a dial, which is told
// where the connection went.
type addrKey struct{}

func noteAddr(ctx context.Context, addr *string) context.Context {
	return context.WithValue(ctx, addrKey{}, addr)
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
		if told, ok := ctx.Value(addrKey{}).(*string); ok {
			*told = remote
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
