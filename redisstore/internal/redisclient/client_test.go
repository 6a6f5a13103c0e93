package redisclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestHooksAreInTheOrderThatTheyNeed(t *testing.T) {
	for name, test := range map[string]struct {
		dialer dialer
		want   []string
	}{
		"a single server or a node": {dialer{}, []string{"lazyDial", "greetingSpared", "*idlePurge", "*peer", "greetingSent", "*autopipeline"}},
		"Sentinel":                  {dialer{failover: newFailover()}, []string{"lazyDial", "greetingSpared", "*idlePurge", "*peer", "*failover", "greetingSent", "*autopipeline"}},
	} {
		var got []string
		for _, hook := range test.dialer.hooks(redis.NewClient(&redis.Options{})) {
			got = append(got, typeName(hook))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: hooks() = %v, want %v", name, got, test.want)
		}
	}
}

func typeName(v any) string {
	var name, star string
	for _, r := range fmt.Sprintf("%T", v) {
		switch r {
		case '*':
			star = "*"
		case '.':
			name = ""
		default:
			name += string(r)
		}
	}
	return star + name
}

// What the order is for: a dial that failed is an error to all hooks but the
// outermost, and the address of a failover is that of the connection itself.
func TestDialsPassTheHooks(t *testing.T) {
	server, client := net.Pipe()
	defer server.Close()
	refused := errors.New("refused")
	f := newFailover()
	hooks := dialer{failover: f, idle: &idlePurge{conns: newTrackedConns()}, peer: &peer{}, timeout: time.Second, greeted: new(atomic.Bool)}.hooks(redis.NewClient(&redis.Options{}))
	dial := func(conn net.Conn, err error) (net.Conn, error) {
		next := func(context.Context, string, string) (net.Conn, error) { return conn, err }
		for _, hook := range slices.Backward(hooks) {
			next = hook.DialHook(next)
		}
		return next(t.Context(), "tcp", "the same for every master")
	}
	conn, err := dial(nil, refused)
	if err != nil {
		t.Fatalf("a dial has failed: %v", err)
	}
	if _, err := conn.Write([]byte("x")); !errors.Is(err, refused) {
		t.Errorf("Write() = %v, want %v", err, refused)
	}
	if addr, _ := f.master(); addr != "" {
		t.Errorf("the master is %q after a dial that failed", addr)
	}
	conn, err = dial(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, ok := conn.(*trackedConn); !ok {
		t.Errorf("the pool's connection is a %T, want a *trackedConn", conn)
	}
	if addr, _ := f.master(); addr != client.RemoteAddr().String() {
		t.Errorf("the master is %q, want %q", addr, client.RemoteAddr())
	}
}

func TestAFailedDialIsReportedByTheFirstUse(t *testing.T) {
	client, err := Open(Options{URL: "redis://127.0.0.1:1", Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	for range 100 { // more often than the pool has room for connections
		if err := client.Reads.Ping(t.Context()).Err(); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("Ping() = %v, want the error of the dial", err)
		}
	}
}
