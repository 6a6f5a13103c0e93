package main

import (
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// mode is the way in which a link fails.
type mode string

// The modes. Held data arrives when the link works again, even if the sender has given
// up: then a command is carried out although no process waits for its reply.
const (
	hold  mode = "hold"  // a black hole: no data passes, connections stay open
	deaf  mode = "deaf"  // requests pass, replies are held
	drop  mode = "drop"  // half-open: the server's end is closed, the client's stays silent for good
	reset mode = "reset" // connections break, new ones are refused
	slow  mode = "slow"  // each piece of data is delayed by delay
)

// rule applies a mode to the links from one process to one server; "" means all.
type rule struct {
	from, to string
	mode     mode
	delay    time.Duration
}

func (r *rule) matches(from, to string) bool {
	return (r.from == "" || r.from == from) && (r.to == "" || r.to == to)
}

// network is all links between the processes and the servers.
type network struct {
	processes *processTable

	mu    sync.Mutex
	rules []*rule            // guarded by mu
	pipes map[*pipe]struct{} // guarded by mu
}

func newNetwork(f *processTable) *network {
	return &network{processes: f, pipes: make(map[*pipe]struct{})}
}

// add applies a rule until lift is called.
func (n *network) add(r rule) (lift func()) {
	n.mu.Lock()
	n.rules = append(n.rules, &r)
	for p := range n.pipes {
		if r.matches(p.from, p.to) {
			p.apply(r.mode)
		}
	}
	n.mu.Unlock()
	return sync.OnceFunc(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		for i, other := range n.rules {
			if other == &r {
				n.rules = append(n.rules[:i:i], n.rules[i+1:]...)
				return
			}
		}
	})
}

// effects returns how the present rules affect a link.
func (n *network) effects(from, to string) (held, deafened, refused, dropped bool, delay time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.rules {
		if !r.matches(from, to) {
			continue
		}
		switch r.mode {
		case hold:
			held = true
		case deaf:
			deafened = true
		case drop:
			dropped = true
		case reset:
			refused = true
		case slow:
			delay += r.delay
		}
	}
	return held, deafened, refused, dropped, delay
}

// proxy is the address by which all processes but this one know a server.
type proxy struct {
	network *network
	name    string // of the server
	port    int
	backend func() string

	mu       sync.Mutex
	listener net.Listener // guarded by mu: nil while the server is down
}

func newProxy(n *network, name string, backend func() string) (*proxy, error) {
	f := &proxy{network: n, name: name, backend: backend}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f.port = l.Addr().(*net.TCPAddr).Port
	f.listener = l
	go f.serve(l) // ends when l is closed
	return f, nil
}

func (f *proxy) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(f.port)) }

// open makes the proxy accept connections again.
func (f *proxy) open() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listener != nil {
		return
	}
	for range 100 {
		l, err := net.Listen("tcp", f.addr())
		if err == nil {
			f.listener = l
			go f.serve(l) // ends when l is closed
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// close refuses new connections, as the kernel does for a server that is down.
func (f *proxy) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listener != nil {
		_ = f.listener.Close()
		f.listener = nil
	}
}

func (f *proxy) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go f.connect(conn) // ends with the connection
	}
}

func (f *proxy) connect(client net.Conn) {
	p := &pipe{network: f.network, from: f.network.processes.owner(client), to: f.name, client: client}
	_, _, refused, dropped, _ := f.network.effects(p.from, p.to)
	switch {
	case refused:
		p.breakOff()
		return
	case dropped:
		p.dead.Store(true)
	default:
		server, err := net.DialTimeout("tcp", f.backend(), 2*time.Second)
		if err != nil {
			p.breakOff()
			return
		}
		p.server = server
	}
	f.network.mu.Lock()
	f.network.pipes[p] = struct{}{}
	f.network.mu.Unlock()
	p.run()
	f.network.mu.Lock()
	delete(f.network.pipes, p)
	f.network.mu.Unlock()
}

// pipe is one connection through a proxy.
type pipe struct {
	network  *network
	from, to string
	client   net.Conn
	server   net.Conn // nil if the link was half-open from the start
	dead     atomic.Bool
}

// apply applies a new rule to an existing connection.
func (p *pipe) apply(m mode) {
	switch m {
	case drop:
		p.dead.Store(true)
		if p.server != nil {
			_ = p.server.Close()
		}
	case reset:
		p.breakOff()
	}
}

// breakOff resets both sides.
func (p *pipe) breakOff() {
	for _, conn := range []net.Conn{p.client, p.server} {
		if conn, ok := conn.(*net.TCPConn); ok && conn != nil {
			_ = conn.SetLinger(0)
			_ = conn.Close()
		}
	}
}

func (p *pipe) run() {
	var both sync.WaitGroup
	both.Go(func() { p.carry(p.server, p.client, false) })
	if p.server != nil {
		both.Go(func() { p.carry(p.client, p.server, true) })
	}
	both.Wait()
	_ = p.client.Close()
	if p.server != nil {
		_ = p.server.Close()
	}
}

// carry copies data in one direction until its source ends.
func (p *pipe) carry(to, from net.Conn, answers bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && p.passes(answers) {
			if _, err := to.Write(buf[:n]); err != nil && !p.dead.Load() {
				_ = from.Close()
				return
			}
		}
		if err == nil {
			continue
		}
		if answers && p.dead.Load() {
			return // the client's end stays open
		}
		if to != nil {
			_ = to.Close()
		}
		return
	}
}

// passes blocks until a piece of data may pass; false means that it never may.
func (p *pipe) passes(answer bool) bool {
	for {
		held, deafened, _, _, delay := p.network.effects(p.from, p.to)
		switch {
		case p.dead.Load():
			return false
		case held, deafened && answer:
			time.Sleep(5 * time.Millisecond)
		default:
			time.Sleep(delay)
			return !p.dead.Load()
		}
	}
}
