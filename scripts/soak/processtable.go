package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// processTable knows the process ids of a run, so that it can tell which process made a
// connection. A proxy can then treat each process, redis-servers included, in its own
// way.
type processTable struct {
	mu   sync.Mutex
	pids map[string]func() int // guarded by mu: by name; 0 while a process is not running
}

func newProcessTable() *processTable { return &processTable{pids: make(map[string]func() int)} }

// add adds a process for the rest of the run.
func (f *processTable) add(name string, pid func() int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pids[name] = pid
}

// owner returns the name of the process that made a connection, "" if it is not
// known, as when the process has closed its end already.
func (f *processTable) owner(conn net.Conn) string {
	inode := inodeOf(conn.RemoteAddr().(*net.TCPAddr).Port, conn.LocalAddr().(*net.TCPAddr).Port)
	if inode == 0 {
		return ""
	}
	want := fmt.Sprintf("socket:[%d]", inode)
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, pid := range f.pids {
		dir := fmt.Sprintf("/proc/%d/fd", pid())
		fds, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if target, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil && target == want {
				return name
			}
		}
	}
	return ""
}

// inodeOf returns the inode of the loopback socket that is connected from one port to
// another, 0 if there is none. It asks the kernel for this socket only, because a
// machine may have ten thousand others.
func inodeOf(from, to int) uint32 {
	const (
		netlinkSockDiag  = 4
		sockDiagByFamily = 20
		requestSize      = syscall.SizeofNlMsghdr + 56
		inodeAt          = syscall.SizeofNlMsghdr + 68
	)
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, netlinkSockDiag)
	if err != nil {
		return 0
	}
	defer func() { _ = syscall.Close(fd) }()
	request := make([]byte, requestSize)
	binary.NativeEndian.PutUint32(request, requestSize)
	binary.NativeEndian.PutUint16(request[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(request[6:], syscall.NLM_F_REQUEST)
	body := request[syscall.SizeofNlMsghdr:]
	body[0], body[1] = syscall.AF_INET, syscall.IPPROTO_TCP
	binary.NativeEndian.PutUint32(body[4:], 0xffffffff) // in any state
	binary.BigEndian.PutUint16(body[8:], uint16(from))
	binary.BigEndian.PutUint16(body[10:], uint16(to))
	copy(body[12:], []byte{127, 0, 0, 1})
	copy(body[28:], []byte{127, 0, 0, 1})
	binary.NativeEndian.PutUint64(body[48:], 0xffffffffffffffff) // no cookie
	if err := syscall.Sendto(fd, request, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return 0
	}
	answer := make([]byte, 4096)
	n, _, err := syscall.Recvfrom(fd, answer, 0)
	if err != nil || n < inodeAt+4 || binary.NativeEndian.Uint16(answer[4:]) != sockDiagByFamily {
		return 0
	}
	return binary.NativeEndian.Uint32(answer[inodeAt:])
}
