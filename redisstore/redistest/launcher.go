package redistest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Launcher starts servers for a program that is not a test, or for a test that
// puts something between the servers. Its methods block until the servers work
// together. The caller kills what they return and removes Dir; after an error
// nothing is left running.
type Launcher struct {
	Dir  string   // an existing directory; each server gets a subdirectory
	Args []string // arguments of each redis-server except Sentinels, each "--name value"

	// Prepare, unless nil, is called with each server, Sentinels included, before
	// its process is started for the first time, and may set the server's exported
	// fields. The server has no port yet.
	Prepare func(*Server) error
}

// Start starts a server and stops it when the test ends. Each argument has the
// form "--name value".
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, args, Launcher.Single)
}

// start launches servers for a test and kills them at its end.
func start[S interface{ Kill() }](t testing.TB, args []string, launch func(Launcher) (S, error)) S {
	t.Helper()
	servers, err := launch(Launcher{Dir: memoryDir(t), Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(servers.Kill)
	return servers
}

// memoryDir returns a directory that ends with the test. It is in memory where the system has a
// file system there: a server that syncs each write to a disk answers nobody for as long
// as the disk is busy with something else, and tests would fail by that.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "redistest-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("redistest: %v", err)
		}
	})
	return dir
}

// Single starts one server.
func (l Launcher) Single() (*Server, error) {
	return l.launch(&Server{Name: "redis0", Args: l.Args})
}

// launch starts a server in a directory of its own, on a free port. Another
// process can take the port first, so it tries several.
func (l Launcher) launch(s *Server) (*Server, error) {
	s.dir, s.Args = filepath.Join(l.Dir, s.Name), slices.Clone(s.Args)
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return nil, err
	}
	if l.Prepare != nil {
		if err := l.Prepare(s); err != nil {
			return nil, err
		}
	}
	s.tls = slices.ContainsFunc(s.Args, func(arg string) bool { return strings.HasPrefix(arg, "--tls-port") })
	if s.sentinel != "" {
		if s.AnnouncePort != 0 {
			s.sentinel += fmt.Sprintf("sentinel announce-ip 127.0.0.1\nsentinel announce-port %d\n", s.AnnouncePort)
		}
		if err := os.WriteFile(filepath.Join(s.dir, sentinelConfig), []byte(s.sentinel), 0o600); err != nil {
			return nil, err
		}
	}
	var err error
	for range 5 {
		var port int
		if port, err = freePort(); err != nil {
			return nil, err
		}
		s.port.Store(int32(port))
		if err = s.Start(); err == nil {
			return s, nil
		}
		if errors.Is(err, exec.ErrNotFound) {
			break
		}
	}
	return nil, err
}

// busOffset is what a cluster node adds to its port to get that of its bus.
const busOffset = 10000

// freePort returns a port that is free, and whose bus port is. Both are below
// the range from which the kernel takes the ports of outgoing connections.
func freePort() (int, error) {
	for range 100 {
		port := 10000 + rand.IntN(12000)
		if free(port) && free(port+busOffset) {
			return port, nil
		}
	}
	return 0, errors.New("redistest: no free port found between 10000 and 22000")
}

func free(port int) bool {
	l, err := net.Listen("tcp", loopback(port))
	return err == nil && l.Close() == nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
