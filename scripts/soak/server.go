package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// server is a redis-server, or a sentinel. Everybody but this program reaches
// it by its front only, other servers included.
type server struct {
	name  string
	port  int
	dir   string
	front *front
	bus   *front // of a cluster's node
	args  []string
	env   []string

	mu     sync.Mutex
	cmd    *exec.Cmd     // guarded by mu: nil when dead
	ended  chan struct{} // guarded by mu
	direct *redis.Client
	family *family
}

// newServer makes a server with its front, and does not start it. Ports of the
// kernel's own range would be taken by connections.
func newServer(n *network, dir, name string) (*server, error) {
	s := &server{name: name, dir: filepath.Join(dir, name), family: n.family}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	if s.front, err = newFront(n, name); err != nil {
		return nil, err
	}
	s.front.backend = s.addr()
	s.connect(nil)
	return s, nil
}

// connect makes the client that this program itself uses.
func (s *server) connect(config *tls.Config) {
	s.direct = redis.NewClient(&redis.Options{
		Addr: s.addr(), DialerRetries: 1, MaxRetries: -1, ContextTimeoutEnabled: true, DisableIdentity: true, PoolSize: 8,
		DialTimeout: 300 * time.Millisecond, ReadTimeout: time.Second, WriteTimeout: time.Second, TLSConfig: config,
	})
}

func (s *server) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

var portMu sync.Mutex
var nextPort = 11000 + os.Getpid()%500*20

func freePort() (int, error) {
	portMu.Lock()
	defer portMu.Unlock()
	for range 500 {
		nextPort++
		if nextPort > 21900 {
			nextPort = 11000
		}
		if isFree(nextPort) && isFree(nextPort+10000) {
			return nextPort, nil
		}
	}
	return 0, errors.New("no free port")
}

func isFree(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	return err == nil && l.Close() == nil
}

// start starts the process and waits until it answers.
func (s *server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		return nil
	}
	out, err := os.OpenFile(filepath.Join(s.dir, "output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command("redis-server", s.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, out, out
	cmd.Env = append(os.Environ(), s.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.family.join(cmd.Process.Pid, s.name)
	s.cmd, s.ended = cmd, make(chan struct{})
	ended := s.ended
	go func() { // ends with the process; kill waits for it
		_ = cmd.Wait()
		close(ended)
	}()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); {
		if conn, err := net.DialTimeout("tcp", s.addr(), time.Second); err == nil {
			_ = conn.Close()
			s.front.open()
			if s.bus != nil {
				s.bus.open()
			}
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	said, _ := os.ReadFile(filepath.Join(s.dir, "output"))
	return fmt.Errorf("redis-server %s does not answer; it said:\n%s", s.name, said)
}

// kill ends the process as kill -9 does. Its addresses refuse from then on.
func (s *server) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	s.front.shut()
	if s.bus != nil {
		s.bus.shut()
	}
	<-s.ended
	s.family.leave(s.cmd.Process.Pid)
	s.cmd = nil
}

func (s *server) alive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd != nil
}

func (s *server) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(sig)
	}
}

func (s *server) pause()  { s.signal(syscall.SIGSTOP) }
func (s *server) resume() { s.signal(syscall.SIGCONT) }

// do runs one command past the front.
func (s *server) do(args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	answer, err := s.direct.Do(ctx, args...).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return answer, err
}

// as runs one command past the front as a user with a password.
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

// info returns one field of INFO.
func (s *server) info(section, field string) string {
	answer, err := s.do("info", section)
	text, _ := answer.(string)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), field+":"); ok {
			return value
		}
	}
	return ""
}
