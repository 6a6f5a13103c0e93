package redisstore_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// halfOpen is a way to a server on which connections can go silent without an
// end, as they do when a middle box forgets them. New ones work.
type halfOpen struct {
	net.Listener
	server string

	mu     sync.Mutex
	silent []chan struct{} // guarded by mu: of each connection; closed: nothing passes any more
}

func newHalfOpen(t *testing.T, server string) *halfOpen {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &halfOpen{Listener: l, server: server}
	go h.serve() // ends with the listener
	t.Cleanup(func() { _ = l.Close() })
	return h
}

func (h *halfOpen) serve() {
	for {
		client, err := h.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", h.server)
		if err != nil {
			_ = client.Close()
			return
		}
		silent := make(chan struct{})
		h.mu.Lock()
		h.silent = append(h.silent, silent)
		h.mu.Unlock()
		go carry(server, client, silent) // both end with the client's side
		go carry(client, server, silent)
	}
}

func carry(to io.WriteCloser, from io.Reader, silent chan struct{}) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-silent:
			if err != nil {
				return // nobody is told
			}
			continue
		default:
		}
		if err != nil {
			_ = to.Close()
			return
		}
		_, _ = to.Write(buf[:n])
	}
}

// forget silences every connection there is, and returns how many.
func (h *halfOpen) forget() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.silent)
	for _, silent := range h.silent {
		close(silent)
	}
	h.silent = nil
	return n
}

func TestConnectionsThatWentSilentCostOneTimeout(t *testing.T) {
	server := redistest.Start(t)
	way := newHalfOpen(t, server.Addr())
	store := open(t, "redis://"+way.Addr().String(), redisstore.Options{Timeout: 400 * time.Millisecond})
	var all sync.WaitGroup
	for range 40 { // fills the pool
		all.Go(func() {
			for range 20 {
				if _, err := store.Load(t.Context(), "a", "b"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := way.forget(); n < 3 {
		t.Fatalf("%d connections, want some", n)
	}
	failed := 0
	for ; failed < 20; failed++ {
		if _, err := store.Load(t.Context(), "a"); err == nil {
			break
		}
	}
	if failed > 1 {
		t.Errorf("%d loads timed out in a row, want one at most", failed)
	}
}
