//go:build unix

package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// manager is a service manager's socket.
type manager struct{ *net.UnixConn }

func startManager(t *testing.T) manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return manager{conn}
}

// wait returns when the process has told the state.
func (m manager) wait(t *testing.T, state string) {
	t.Helper()
	if err := m.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 512)
	for {
		n, err := m.Read(buf)
		if err != nil {
			t.Fatalf("the service manager was not told %s: %v", state, err)
		}
		if strings.Contains(string(buf[:n]), state) {
			return
		}
	}
}

func TestTheServiceManagerIsToldThatItIsReadyAliveAndStopping(t *testing.T) {
	m := startManager(t)
	t.Setenv("WATCHDOG_USEC", "200000")
	d := newBench(t).serve("--drain-delay", "100ms")
	m.wait(t, "READY=1")
	m.wait(t, "WATCHDOG=1")
	m.wait(t, "WATCHDOG=1")
	if out := d.stop(); out.code != exitDone {
		t.Errorf("serve = %d\n%s", out.code, out.stderr)
	}
	m.wait(t, "STOPPING=1")
	m.wait(t, "EXTEND_TIMEOUT_USEC=15100000") // the delay, and 15 s for what is under way
}

func TestWithoutAServiceManagerNothingIsTold(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	d := newBench(t).serve()
	d.ready()
	if out := d.stop(); strings.Contains(out.stderr, "service manager") {
		t.Errorf("serve says:\n%s", out.stderr)
	}
}
