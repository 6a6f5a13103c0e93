package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// env is shared by all benchmarks.
type env struct {
	quick     bool
	zhongkong string // the binary
	dir       string // temporary
	busy      int    // processes that only use CPU time while fleets start cold

	versions []version // made by compared
}

func newEnv(zhongkong string, quick bool) (*env, error) {
	dir, err := os.MkdirTemp("", "zhongkong-bench-")
	return &env{quick: quick, zhongkong: zhongkong, dir: dir}, err
}

func (e *env) close() { _ = os.RemoveAll(e.dir) }

// or returns n, or quick with --quick.
func (e *env) or(n, quick int) int {
	if e.quick {
		return quick
	}
	return n
}

// wants reports whether a contender takes part. BENCH_CONTENDERS selects some.
func (e *env) wants(contender string) bool {
	only := os.Getenv("BENCH_CONTENDERS")
	return only == "" || strings.Contains(only, contender)
}

// redis starts an empty server; the caller calls kill. Each contender gets one of its
// own, without the keys, the scripts or the fragmented memory of another.
func (e *env) redis() (s *redistest.Server, kill func(), err error) {
	dir, err := os.MkdirTemp(e.dir, "redis-")
	if err != nil {
		return nil, nil, err
	}
	if s, err = (redistest.Launcher{Dir: dir}).Single(); err != nil {
		return nil, nil, err
	}
	return s, s.Kill, nil
}

// commands returns how many commands the server has carried out since its statistics
// were reset, including those that scripts call.
func commands(ctx context.Context, client *redis.Client) (n int, err error) {
	info, err := client.Info(ctx, "commandstats").Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(info) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), ":calls=")
		if !ok || name == "cmdstat_info" || strings.HasPrefix(name, "cmdstat_config") {
			continue // sent by the benchmark
		}
		digits, _, _ := strings.Cut(rest, ",")
		calls, err := strconv.Atoi(digits)
		if err != nil {
			return 0, fmt.Errorf("commandstats: %q: %w", line, err)
		}
		n += calls
	}
	return n, nil
}

// monitor counts the commands that clients send to a server.
type monitor struct {
	conn *rawConn
	n    int
	done chan struct{}
}

func startMonitor(addr string) (*monitor, error) {
	conn, err := dialRaw(addr)
	if err != nil {
		return nil, err
	}
	if err := conn.do("MONITOR"); err != nil {
		return nil, err
	}
	m := &monitor{conn: conn, done: make(chan struct{})}
	go func() { // ended by stop
		defer close(m.done)
		for {
			line, err := conn.in.ReadString('\n')
			if err != nil {
				return
			}
			// +1700000000.000000 [0 127.0.0.1:4711] "get" "key"; a script's
			// own calls have "lua" in place of an address.
			_, rest, _ := strings.Cut(line, "[")
			from, what, _ := strings.Cut(rest, "] ")
			if strings.HasSuffix(from, " lua") || strings.HasPrefix(strings.ToLower(what), `"config"`) || strings.HasPrefix(strings.ToLower(what), `"info"`) {
				continue
			}
			m.n++
		}
	}()
	return m, nil
}

func (m *monitor) stop() int {
	_ = m.conn.Close()
	<-m.done
	return m.n
}
