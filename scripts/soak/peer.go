package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// family knows the processes of a run by their process ids, so that a
// connection can be told by who made it. That is what lets one listener treat
// each process in its own way, redis-servers among them.
type family struct {
	mu    sync.Mutex
	names map[int]string // guarded by mu
}

func newFamily() *family { return &family{names: make(map[int]string)} }

func (f *family) join(pid int, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names[pid] = name
}

func (f *family) leave(pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.names, pid)
}

// owner returns the name of the process on the other side of a connection,
// "" for a stranger. It may be a stranger because the process has closed its
// end already.
func (f *family) owner(conn net.Conn) string {
	inode := inodeOf(conn.RemoteAddr().(*net.TCPAddr).Port, conn.LocalAddr().(*net.TCPAddr).Port)
	if inode == "" {
		return ""
	}
	f.mu.Lock()
	pids := make(map[int]string, len(f.names))
	for pid, name := range f.names {
		pids[pid] = name
	}
	f.mu.Unlock()
	want := "socket:[" + inode + "]"
	for pid, name := range pids {
		fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if target, err := os.Readlink(fd); err == nil && target == want {
				return name
			}
		}
	}
	return ""
}

// inodeOf finds the socket on loopback that goes from one port to another.
func inodeOf(from, to int) string {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return ""
	}
	local, remote := fmt.Sprintf("0100007F:%04X", from), fmt.Sprintf("0100007F:%04X", to)
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) > 9 && fields[1] == local && fields[2] == remote {
			if n, err := strconv.Atoi(fields[9]); err == nil && n > 0 {
				return fields[9]
			}
		}
	}
	return ""
}
