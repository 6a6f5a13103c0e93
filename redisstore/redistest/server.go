// Package redistest starts real Redis servers for tests: a single server, a
// replicated one with Sentinels, a cluster. They listen on loopback, keep nothing
// on disk and end with the test; on Linux they also end when the test is killed.
// redis-server must be installed: without it tests fail, they are not skipped.
//
//	server := redistest.Start(t)
//	store, err := redisstore.Open(server.URL(), redisstore.Options{})
//
// [Launcher] does the same for programs that are not tests. [Forwarder] and
// [Proxy] stand between a client and a server, as a virtual IP address or a cloud
// provider's proxy does.
package redistest

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// startTimeout limits how long a server may take to accept connections.
const startTimeout = 15 * time.Second

// Server is a redis-server process, which may be a Sentinel. It keeps its port
// when it is restarted. Only Launcher.Prepare may change the exported fields.
type Server struct {
	Name string   // unique among the servers that were launched together
	Args []string // each "--name value"; not for Sentinels
	Env  []string // added to the environment of this process, each "NAME=value"

	// AnnouncePort is the port that other servers and the users of URL connect to
	// if it is not the server's own: that of a proxy on 127.0.0.1. AnnounceBusPort
	// is the same for the bus of a cluster node.
	AnnouncePort, AnnounceBusPort int

	dir      string
	port     atomic.Int32
	pid      atomic.Int32
	tls      bool
	sentinel string // the text of a Sentinel's configuration; "" for others

	mu      sync.Mutex
	process *os.Process   // guarded by mu: nil while not running
	ended   chan struct{} // guarded by mu: closed when the process has ended
}

// Addr is the server's own address, host:port.
func (s *Server) Addr() string { return loopback(s.Port()) }

// BusAddr is the address of a cluster node's bus.
func (s *Server) BusAddr() string { return loopback(s.Port() + busOffset) }

// Port is the port that the server listens on.
func (s *Server) Port() int { return int(s.port.Load()) }

// PID is the process id, 0 while the server is not running.
func (s *Server) PID() int { return int(s.pid.Load()) }

// Dir is the server's directory.
func (s *Server) Dir() string { return s.dir }

// IsSentinel reports whether the server is a Sentinel.
func (s *Server) IsSentinel() bool { return s.sentinel != "" }

// announcedPort is the port by which others know the server.
func (s *Server) announcedPort() int    { return cmp.Or(s.AnnouncePort, s.Port()) }
func (s *Server) announcedBusPort() int { return cmp.Or(s.AnnounceBusPort, s.Port()+busOffset) }
func (s *Server) announcedAddr() string { return loopback(s.announcedPort()) }

// URL is the announced address in the form that go-redis parses.
func (s *Server) URL() string {
	if s.tls {
		return "rediss://" + s.announcedAddr()
	}
	return "redis://" + s.announcedAddr()
}

// Options returns options for a client of the server's own address, without
// credentials. It does not verify the server's certificate.
func (s *Server) Options() *redis.Options {
	o := &redis.Options{
		Addr: s.Addr(), DialerRetries: 1, ContextTimeoutEnabled: true, DisableIdentity: true, PoolSize: 2,
	}
	if s.tls {
		o.TLSConfig = &tls.Config{InsecureSkipVerify: true} // the server is a child of this process, on loopback
	}
	return o
}

// Client returns a client with these Options. The caller closes it.
func (s *Server) Client() *redis.Client { return redis.NewClient(s.Options()) }

// Do runs one command on a connection of its own and returns the reply.
func (s *Server) Do(ctx context.Context, args ...any) (any, error) {
	client := s.Client()
	defer client.Close()
	return client.Do(ctx, args...).Result()
}

// MustDo is Do for tests. A missing value is nil.
func (s *Server) MustDo(t testing.TB, args ...any) any {
	t.Helper()
	reply, err := s.Do(context.Background(), args...)
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatalf("%v: %v", args, err)
	}
	return reply
}

// AddUser makes a user with these rules, or gives it these and no others if there is one,
// and returns the URL to connect as it.
func (s *Server) AddUser(t testing.TB, name string, rules ...string) string {
	t.Helper()
	command := []any{"ACL", "SETUSER", name, "reset", "on", ">" + userPassword}
	for _, rule := range rules {
		command = append(command, rule)
	}
	s.MustDo(t, command...)
	return AsUser(t, s.URL(), name)
}

// userPassword is the password of all users that AddUser makes.
const userPassword = "secret"

// AsUser returns the URL to connect as a user that AddUser has made on all servers of the
// given URL.
func AsUser(t testing.TB, rawURL, name string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(name, userPassword)
	return u.String()
}

// FlushAll deletes all keys.
func (s *Server) FlushAll(t testing.TB) {
	t.Helper()
	s.MustDo(t, "flushall")
}

// Kill ends the process as kill -9 does, and waits until it has ended. It does
// nothing if the server is not running.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.killLocked()
}

func (s *Server) killLocked() {
	if s.process == nil {
		return
	}
	_ = s.process.Kill() // a paused process as well
	<-s.ended
	s.process = nil
	s.pid.Store(0)
}

// Restart starts the server again, empty, on the same port. A running server is
// killed first.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Kill()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
}

// Pause sends SIGSTOP: connections stay open, commands are not answered.
func (s *Server) Pause() { s.signal(stop) }

// Resume sends SIGCONT, which ends a Pause.
func (s *Server) Resume() { s.signal(resume) }

func (s *Server) signal(sig os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		_ = s.process.Signal(sig)
	}
}

// Start starts a server that was killed, empty, and waits until it accepts
// connections.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		return fmt.Errorf("redistest: %s is running already", s.Name)
	}
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return fmt.Errorf("redistest: redis-server 7 or newer is not installed (Debian: apt-get install redis-server): %w", err)
	}
	output, err := os.OpenFile(s.outputFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer output.Close()
	cmd := exec.Command(binary, s.commandLine()...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, output, output
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	ended := make(chan struct{})
	go func() { // ends with the process; Kill waits for it
		_ = cmd.Wait()
		close(ended)
	}()
	s.process, s.ended = cmd.Process, ended
	s.pid.Store(int32(cmd.Process.Pid))
	if err := s.awaitListening(ended); err != nil {
		s.killLocked()
		return fmt.Errorf("%w; its output:\n%s", err, s.Output())
	}
	return nil
}

func (s *Server) commandLine() []string {
	if s.sentinel != "" {
		return []string{sentinelConfig, "--sentinel", "--port", strconv.Itoa(s.Port())}
	}
	line := []string{
		"--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no",
		"--loglevel", "warning", "--dir", s.dir,
	}
	if !s.tls {
		line = append(line, "--port", strconv.Itoa(s.Port()))
	}
	switch port := strconv.Itoa(s.announcedPort()); {
	case s.AnnounceBusPort != 0:
		line = append(line, "--cluster-announce-ip", "127.0.0.1", "--cluster-announce-port", port,
			"--cluster-announce-bus-port", strconv.Itoa(s.AnnounceBusPort))
	case s.AnnouncePort != 0:
		line = append(line, "--replica-announce-ip", "127.0.0.1", "--replica-announce-port", port)
	}
	for _, arg := range s.Args {
		name, value, _ := strings.Cut(arg, " ")
		if name == "--tls-port" {
			line = append(line, "--port", "0")
			value = strconv.Itoa(s.Port())
		}
		line = append(line, name)
		line = append(line, strings.Fields(value)...)
	}
	return line
}

// awaitListening waits until the server accepts connections. A process that ends
// before is an error.
func (s *Server) awaitListening(ended <-chan struct{}) error {
	for end := time.Now().Add(startTimeout); time.Now().Before(end); {
		conn, err := net.DialTimeout("tcp", s.Addr(), time.Second)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ended:
			return fmt.Errorf("redistest: redis-server on port %d ended at once", s.Port())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return fmt.Errorf("redistest: redis-server on port %d does not accept connections", s.Port())
}

func (s *Server) outputFile() string { return filepath.Join(s.dir, "output") }

// Output returns what the server has printed since the first start.
func (s *Server) Output() []byte {
	text, _ := os.ReadFile(s.outputFile())
	return text
}
