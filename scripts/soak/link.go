package main

import (
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// manner is what a link does with what is sent over it.
type manner string

// The manners. What is held arrives late, when the link is well again, also if
// the sender has given up long before: a command that nobody waits for any more
// is carried out all the same.
const (
	hold  manner = "hold"  // a black hole: nothing passes, nobody is told
	deaf  manner = "deaf"  // requests pass, answers are held
	drop  manner = "drop"  // half-open: the server's end is closed, the client's hears nothing, ever
	reset manner = "reset" // connections break, new ones are refused
	slow  manner = "slow"  // each piece takes delay longer
)

// rule has a manner for the links between two; "" is everybody.
type rule struct {
	from, to string
	manner   manner
	delay    time.Duration
}

func (r *rule) concerns(from, to string) bool {
	return (r.from == "" || r.from == from) && (r.to == "" || r.to == to)
}

// network is everything between the processes and the servers.
type network struct {
	family *family

	mu    sync.Mutex
	rules []*rule            // guarded by mu
	pipes map[*pipe]struct{} // guarded by mu
}

func newNetwork(f *family) *network {
	return &network{family: f, pipes: make(map[*pipe]struct{})}
}

// impose makes a rule hold until it is lifted.
func (n *network) impose(r rule) (lift func()) {
	n.mu.Lock()
	n.rules = append(n.rules, &r)
	for p := range n.pipes {
		if r.concerns(p.from, p.to) {
			p.suffer(r.manner)
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

// between returns the rules that hold for a link now.
func (n *network) between(from, to string) (held, deafened, refused, dropped bool, delay time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.rules {
		if !r.concerns(from, to) {
			continue
		}
		switch r.manner {
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

// front is the address by which everybody knows a server.
type front struct {
	network *network
	name    string // of the server
	port    int
	backend func() string

	mu       sync.Mutex
	listener net.Listener // guarded by mu: nil while the server is dead
}

func newFront(n *network, name string, backend func() string) (*front, error) {
	f := &front{network: n, name: name, backend: backend}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f.port = l.Addr().(*net.TCPAddr).Port
	f.listener = l
	go f.serve(l) // ends when l is closed
	return f, nil
}

func (f *front) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(f.port)) }

// open has the front accept connections again.
func (f *front) open() {
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

// shut refuses new connections, as the kernel does for a server that is dead.
func (f *front) shut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listener != nil {
		_ = f.listener.Close()
		f.listener = nil
	}
}

func (f *front) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go f.connect(conn) // ends with the connection
	}
}

func (f *front) connect(client net.Conn) {
	p := &pipe{network: f.network, from: f.network.family.owner(client), to: f.name, client: client}
	_, _, refused, dropped, _ := f.network.between(p.from, p.to)
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

// pipe is one connection through a front.
type pipe struct {
	network  *network
	from, to string
	client   net.Conn
	server   net.Conn // nil if it began dead
	dead     atomic.Bool
}

// suffer is what happens to a connection that is there when a rule is imposed.
func (p *pipe) suffer(m manner) {
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

// breakOff ends both sides with a reset.
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

// carry carries bytes one way until its source ends.
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
			return // the client is not told
		}
		if to != nil {
			_ = to.Close()
		}
		return
	}
}

// passes waits until a piece may go on; false: it never will.
func (p *pipe) passes(answer bool) bool {
	for {
		held, deafened, _, _, delay := p.network.between(p.from, p.to)
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
