package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// server is a redis-server or a Sentinel. Only this program connects to it
// directly: the fleet and the other servers go through its proxy.
type server struct {
	*redistest.Server
	proxy  *proxy
	bus    *proxy        // of a cluster node, nil for others
	direct *redis.Client // not through the proxy; set when all servers have started
}

// connect makes the client that this program uses.
func (s *server) connect() {
	o := s.Options()
	o.MaxRetries, o.PoolSize = -1, 8
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = 300*time.Millisecond, time.Second, time.Second
	s.direct = redis.NewClient(o)
}

// proxies returns the server's proxy and that of its bus.
func (s *server) proxies() []*proxy {
	if s.bus == nil {
		return []*proxy{s.proxy}
	}
	return []*proxy{s.proxy, s.bus}
}

// start starts the process, unless it is running, and waits until it answers.
func (s *server) start() error {
	if s.alive() {
		return nil
	}
	if err := s.Start(); err != nil {
		return err
	}
	for _, f := range s.proxies() {
		f.open()
	}
	return nil
}

// kill ends the process as kill -9 does. Its addresses refuse connections from
// then on.
func (s *server) kill() {
	for _, f := range s.proxies() {
		f.close()
	}
	s.Kill()
}

func (s *server) alive() bool { return s.PID() != 0 }

// do runs one command without going through the proxy.
func (s *server) do(args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	answer, err := s.direct.Do(ctx, args...).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return answer, err
}

// as is do with a user's name and password.
func (s *server) as(user string, args ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	o := *s.direct.Options()
	o.Username, o.Password, o.PoolSize = user, userPassword, 1
	client := redis.NewClient(&o)
	defer client.Close()
	return client.Do(ctx, args...).Err()
}

// now is the time by the server's clock.
func (s *server) now() (time.Time, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return s.direct.Time(ctx).Result()
}

// info returns a field of INFO, "" if the server does not answer.
func (s *server) info(section, name string) string { return s.field(name, "info", section) }

// clusterInfo returns a field of CLUSTER INFO, "" if the server does not answer.
func (s *server) clusterInfo(name string) string { return s.field(name, "cluster", "info") }

// field returns a field of the text with which the server answers a command.
func (s *server) field(name string, command ...any) string {
	answer, _ := s.do(command...)
	text, _ := answer.(string)
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return value
		}
	}
	return ""
}
