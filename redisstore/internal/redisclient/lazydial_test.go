package redisclient

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// When an operation gives up before its dial fails, the pool keeps the connection that
// stands for the failure. It says nothing about the server at the time of the next use.
func TestADialThatFailsAfterItsOperationGaveUpFailsNoOther(t *testing.T) {
	server := miniredis.RunT(t)
	var dials atomic.Int32
	dialing, fail := make(chan struct{}), make(chan struct{})
	client := redis.NewClient(&redis.Options{
		MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, DisableIdentity: true,
		Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
			if dials.Add(1) > 1 {
				return new(net.Dialer).DialContext(ctx, network, server.Addr())
			}
			close(dialing)
			<-fail
			return nil, errors.New("refused")
		},
	})
	defer client.Close()
	client.AddHook(lazyDial{})

	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-dialing; cancel() }() // ends with the first dial
	if err := client.Ping(ctx).Err(); !errors.Is(err, context.Canceled) {
		t.Fatalf("Ping() = %v, want %v", err, context.Canceled)
	}
	close(fail)
	for end := time.Now().Add(20 * time.Second); client.PoolStats().IdleConns == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the pool does not keep the connection: lazyDial need not care about this any more")
		}
	}
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("Ping() = %v when the server can be reached", err)
	}
}
