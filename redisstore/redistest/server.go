// Package redistest starts real Redis servers for tests: a single one, a
// replicated one watched by Sentinels, a cluster. They listen on loopback, keep
// nothing on disk, and end with the test (on Linux also when the test is
// killed). The binary redis-server must be installed: without it tests fail,
// they are not skipped.
//
//	server := redistest.Start(t)
//	store, err := redisstore.Open(server.URL(), redisstore.Options{})
package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// startWithin is how long a server may take to answer after its start.
const startWithin = 15 * time.Second

// Server is a redis-server process. It keeps its port when it is restarted.
type Server struct {
	port   int
	tls    bool
	dir    string
	args   []string
	config string // a sentinel's own file; "" for others

	mu      sync.Mutex
	process *exec.Cmd     // guarded by mu: nil when not running
	ended   chan struct{} // guarded by mu: closed when process was waited for
	output  *bytes.Buffer // guarded by mu while no process runs
}

// Start starts a server with more arguments, each of the form "--name value",
// and stops it when the test ends.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s, err := Launch(t.TempDir(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// Launch is Start for programs that are no tests. The caller Kills the server
// and removes dir.
func Launch(dir string, args ...string) (*Server, error) {
	s := &Server{dir: dir, args: args}
	for _, arg := range args {
		s.tls = s.tls || strings.HasPrefix(arg, "--tls-port")
	}
	if err := s.launch(); err != nil {
		return nil, err
	}
	return s, nil
}

// launch looks for a port; another process may be quicker to take it.
func (s *Server) launch() (err error) {
	for range 5 {
		if s.port, err = freePort(); err != nil {
			return err
		}
		if err = s.start(); err == nil || errors.Is(err, exec.ErrNotFound) {
			return err
		}
	}
	return err
}

// freePort returns a port that is free, as is the one a cluster node uses
// besides. Ports of the kernel's own range would be taken by connections.
func freePort() (int, error) {
	for range 100 {
		port := 10000 + rand.IntN(20000)
		if free(port) && free(port+10000) {
			return port, nil
		}
	}
	return 0, errors.New("redistest: no free port")
}

func free(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// Addr is host:port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Port is the port it listens on.
func (s *Server) Port() int { return s.port }

// Dir is the server's directory.
func (s *Server) Dir() string { return s.dir }

// URL is the address as go-redis takes it.
func (s *Server) URL() string {
	if s.tls {
		return "rediss://" + s.Addr()
	}
	return "redis://" + s.Addr()
}

// Client returns a client of the server without any credentials. The caller
// closes it.
func (s *Server) Client() *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: s.Addr(), DialerRetries: 1, ContextTimeoutEnabled: true, DisableIdentity: true, PoolSize: 2,
	})
}

// Do runs one command and returns its answer.
func (s *Server) Do(ctx context.Context, args ...any) (any, error) {
	client := s.Client()
	defer client.Close()
	return client.Do(ctx, args...).Result()
}

// MustDo is Do for tests.
func (s *Server) MustDo(t testing.TB, args ...any) any {
	t.Helper()
	answer, err := s.Do(context.Background(), args...)
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatalf("%v: %v", args, err)
	}
	return answer
}

// FlushAll empties the server.
func (s *Server) FlushAll(t testing.TB) {
	t.Helper()
	s.MustDo(t, "flushall")
}

// Kill ends the process at once, as kill -9 does, and waits for its end. It
// does nothing when it does not run.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill() // also one that is paused
	<-s.ended
	s.process = nil
}

// Restart starts the server again, empty, on the port it had. One that runs is
// killed first.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
}

// Pause stops the process, as SIGSTOP does: connections stay, and nothing is
// answered.
func (s *Server) Pause() { s.signal(stop) }

// Resume lets a paused process go on.
func (s *Server) Resume() { s.signal(resume) }

func (s *Server) signal(sig os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		_ = s.process.Process.Signal(sig)
	}
}

// start starts the process and waits until it answers.
func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return fmt.Errorf("redistest: these tests need redis-server, version 7 or newer (Debian: apt-get install redis-server): %w", err)
	}
	if s.process != nil {
		return errors.New("redistest: the server runs already")
	}
	s.output = new(bytes.Buffer)
	s.process = exec.Command(binary, s.commandLine()...)
	s.process.Dir, s.process.Stdout, s.process.Stderr = s.dir, s.output, s.output
	s.process.SysProcAttr = dieWithParent()
	if err := s.process.Start(); err != nil {
		s.process = nil
		return fmt.Errorf("redistest: %w", err)
	}
	process, ended := s.process, make(chan struct{})
	s.ended = ended
	go func() { // ends with the process; Kill waits for it
		_ = process.Wait()
		close(ended)
	}()
	if err := s.answers(); err != nil {
		_ = process.Process.Kill()
		<-ended
		s.process = nil
		return fmt.Errorf("%w; it said:\n%s", err, s.output)
	}
	return nil
}

func (s *Server) commandLine() []string {
	if s.config != "" {
		return []string{s.config, "--sentinel"}
	}
	line := []string{
		"--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no",
		"--loglevel", "warning", "--dir", s.dir,
	}
	if !s.tls {
		line = append(line, "--port", strconv.Itoa(s.port))
	}
	for _, arg := range s.args {
		name, value, _ := strings.Cut(arg, " ")
		if name == "--tls-port" {
			line = append(line, "--port", "0")
			value = strconv.Itoa(s.port)
		}
		line = append(line, name)
		line = append(line, strings.Fields(value)...)
	}
	return line
}

// answers waits until the server accepts connections, or has ended.
func (s *Server) answers() error {
	for end := time.Now().Add(startWithin); time.Now().Before(end); {
		conn, err := net.DialTimeout("tcp", s.Addr(), time.Second)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-s.ended:
			return fmt.Errorf("redistest: redis-server on port %d ended at once", s.port)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return fmt.Errorf("redistest: redis-server on port %d does not answer", s.port)
}

// writeConfig writes a configuration file into the server's directory.
func (s *Server) writeConfig(name, text string) error {
	s.config = filepath.Join(s.dir, name)
	return os.WriteFile(s.config, []byte(text), 0o600)
}
