package redisstore

import (
	"context"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// redial is a hook of the clients that Open makes. A pool of go-redis gives up
// dialing after as many failures as it has room for connections, and probes
// once a second from then on: a server that is back would be reported as
// unreachable for up to a second more. So no dial ever fails: the connection of
// one that did says so when it is used, which is at once. As the outermost hook it
// also hands a subscription its connection.
type redial struct{}

var _ redis.Hook = redial{}

// DialHook is redis.Hook's.
func (redial) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil {
			return failedConn{err}, nil
		}
		if d := dialedIn(ctx); d != nil {
			d.conn = conn
		}
		return conn, nil
	}
}

// ProcessHook is redis.Hook's.
func (redial) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook is redis.Hook's.
func (redial) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// failedConn is a connection that could not be made.
type failedConn struct{ err error }

var _ net.Conn = failedConn{}

func (c failedConn) Read([]byte) (int, error)       { return 0, c.err }
func (c failedConn) Write([]byte) (int, error)      { return 0, c.err }
func (failedConn) Close() error                     { return nil }
func (failedConn) LocalAddr() net.Addr              { return nowhere{} }
func (failedConn) RemoteAddr() net.Addr             { return nowhere{} }
func (failedConn) SetDeadline(time.Time) error      { return nil }
func (failedConn) SetReadDeadline(time.Time) error  { return nil }
func (failedConn) SetWriteDeadline(time.Time) error { return nil }

// nowhere is the address of both ends of a failedConn.
type nowhere struct{}

func (nowhere) Network() string { return "none" }
func (nowhere) String() string  { return "nowhere" }
