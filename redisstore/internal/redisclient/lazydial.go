package redisclient

import (
	"context"
	"net"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// lazyDial is a hook that makes no dial ever fail. A pool of go-redis stops
// dialing after as many failures as it has room for connections, and probes once
// a second from then on: a server that has come back would be reported as
// unreachable for up to a second more. So a failed dial returns a connection
// whose first use, which follows at once, returns the error. If the operation has given
// up in the meantime, the pool keeps the connection, and discards it when it checks it
// before the next use.
type lazyDial struct{ noHook }

var _ redis.Hook = lazyDial{}

// DialHook implements [redis.Hook]. As the outermost hook it also records where
// a PubSub is connected to.
func (lazyDial) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil {
			return failedConn{err}, nil
		}
		if d := pubsubDialIn(ctx); d != nil {
			d.addr = conn.RemoteAddr().String()
		}
		return conn, nil
	}
}

type failedConn struct{ err error }

var (
	_ net.Conn     = failedConn{}
	_ syscall.Conn = failedConn{} // go-redis checks an idle connection by this
)

// SyscallConn implements [syscall.Conn].
func (c failedConn) SyscallConn() (syscall.RawConn, error) { return nil, c.err }

func (c failedConn) Read([]byte) (int, error)       { return 0, c.err }
func (c failedConn) Write([]byte) (int, error)      { return 0, c.err }
func (failedConn) Close() error                     { return nil }
func (failedConn) LocalAddr() net.Addr              { return noAddr{} }
func (failedConn) RemoteAddr() net.Addr             { return noAddr{} }
func (failedConn) SetDeadline(time.Time) error      { return nil }
func (failedConn) SetReadDeadline(time.Time) error  { return nil }
func (failedConn) SetWriteDeadline(time.Time) error { return nil }

// noAddr is the address of both ends of a failedConn.
type noAddr struct{}

func (noAddr) Network() string { return "none" }
func (noAddr) String() string  { return "none" }
