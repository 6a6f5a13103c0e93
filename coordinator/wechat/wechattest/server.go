package wechattest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/internal/simulator"
)

// Config describes a new Server. The zero Config has one account, DefaultAppID.
type Config struct {
	Accounts []Account
	Knobs    *Knobs // nil: DefaultKnobs

	Components []Component // third-party platforms

	// Seed makes everything random reproducible. Zero means a random seed, so that
	// a restarted server does not issue the same tokens again; /sandbox/state shows
	// it.
	Seed uint64

	// History is how many calls, tokens and pushes are kept, each; 0 means 100,000.
	History int
}

// Server is a simulated WeChat. It is safe for concurrent use. It has no
// goroutine of its own; RunPushes is one for the caller to start.
type Server struct {
	seed    uint64
	history int
	apis    map[string]api
	control http.Handler // of /sandbox/

	pushWake chan struct{} // has room for one: RunPushes shall look what is due

	// mu guards everything below. Each call is carried out while holding it, so
	// tokens have one order.
	mu       sync.Mutex
	offset   time.Duration // how far Advance has moved the clock
	random   *rand.Rand
	knobs    Knobs
	accounts map[string]*account
	faults   []*fault
	down     map[string]bool // hosts that were taken down

	lastFault, lastCall, lastSeq int

	calls  []*Call   // the oldest first
	issues []*issued // the oldest first
	byHash map[tokenHash]*issued
	rids   *ridLog

	components map[string]*component
	pushed     []*push // the oldest first
	queue      []*push // to be pushed
	pushFaults []*pushFault
	lastPush   int
	daily      map[dailyCalls]int

	released chan struct{} // closed and replaced to end all waits
	closed   bool
}

// New returns a server. It panics if c is invalid.
func New(c Config) *Server {
	s, err := Open(c)
	if err != nil {
		panic(err)
	}
	return s
}

// Open is New with an error instead of a panic.
func Open(c Config) (*Server, error) {
	s := &Server{
		seed:     c.Seed,
		history:  cmp.Or(max(c.History, 0), 100_000),
		knobs:    DefaultKnobs(),
		accounts: make(map[string]*account),
		down:     make(map[string]bool),
		byHash:   make(map[tokenHash]*issued),
		rids:     newRIDLog(),
		released: make(chan struct{}),

		components: make(map[string]*component),
		daily:      make(map[dailyCalls]int),
		pushWake:   make(chan struct{}, 1),
	}
	for s.seed == 0 {
		s.seed = rand.Uint64()
	}
	s.random = rand.New(rand.NewPCG(s.seed, s.seed))
	s.apis = apis()
	s.control = simulator.NewControl(s, controlRoutes())
	if c.Knobs != nil {
		s.knobs = *c.Knobs
	}
	if err := s.knobs.Validate(); err != nil {
		return nil, fmt.Errorf("wechattest: %w", err)
	}
	if len(c.Accounts) == 0 && len(c.Components) == 0 {
		c.Accounts = []Account{{AppID: DefaultAppID, Secret: DefaultSecret}}
	}
	for _, a := range c.Accounts {
		if err := s.AddAccount(a); err != nil {
			return nil, err
		}
	}
	for _, component := range c.Components {
		if err := s.AddComponent(component); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Now returns the server's time.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nowLocked()
}

// nowLocked returns a time without a monotonic reading, because times are compared
// across Advance.
func (s *Server) nowLocked() time.Time { return time.Now().Add(s.offset).Round(0) }

// Advance moves the server's clock forward, without waiting.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset += d
	s.wakePushes()
}

// Knobs returns the knobs.
func (s *Server) Knobs() Knobs {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.knobs
}

// Tune changes the knobs. change must not call methods of the server.
func (s *Server) Tune(change func(*Knobs)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.knobs
	change(&k)
	if err := k.Validate(); err != nil {
		return fmt.Errorf("wechattest: %w", err)
	}
	s.knobs = k
	return nil
}

// TakeDown makes a host ("api.weixin.qq.com", with the port if the URL has
// one) unreachable. The accounts and tokens are shared by all hosts and remain.
func (s *Server) TakeDown(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down[host] = true
}

// BringUp undoes TakeDown.
func (s *Server) BringUp(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.down, host)
}

// Release ends the waits of all hanging and slow calls. A slow call is then carried
// out, a hanging one ends without an answer.
func (s *Server) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.released)
	s.released = make(chan struct{})
	if s.closed {
		close(s.released)
	}
}

// Close is Release for the present and all future calls.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.released)
	}
}

// Reset removes faults, tokens, counters and calls, brings hosts up, undoes
// Advance and releases hanging calls. Accounts, their settings and the knobs stay.
func (s *Server) Reset() {
	s.Clear()
	s.Release()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset = 0
	s.down = make(map[string]bool)
	s.calls, s.issues = nil, nil
	s.byHash = make(map[tokenHash]*issued)
	s.rids = newRIDLog()
	for _, a := range s.accounts {
		a.classic, a.stable = chain{}, chain{}
		a.tickets = make(map[Chain]*chain)
		a.usage = usage{}
	}
	s.resetComponents()
}

// mintLocked issues a token or a ticket of an account.
func (s *Server) mintLocked(a *account, c Chain, call *Call, now time.Time) *issued {
	i := s.mintOn(s.chainOf(a, c), a.AppID, c, call, now)
	if c.isToken() && s.knobs.TicketFollowsToken {
		for _, tickets := range a.tickets {
			tickets.retire(now, s.knobs.TicketOverlap, CauseSuperseded)
		}
	}
	return i
}

// mintOn issues a token or a ticket on a chain, whose name is c.
func (s *Server) mintOn(on *chain, appID string, c Chain, call *Call, now time.Time) *issued {
	s.lastSeq++
	k := s.knobs
	value, life, overlap, delay := s.randomToken(), k.TokenTTL, time.Duration(0), k.PropagationDelay
	if c.isTicket() {
		value, life, overlap, delay = s.randomText(ticketLength), k.TicketTTL, k.TicketOverlap, 0
	}
	i := &issued{
		Issue: Issue{
			Seq:       s.lastSeq,
			AppID:     appID,
			Chain:     c,
			Token:     value,
			Call:      call.ID,
			From:      call.From,
			IssuedAt:  now,
			ExpiresAt: now.Add(life),
			DiesAt:    now.Add(life + overlap),
			Cause:     CauseExpired,
		},
		call:       call,
		usableFrom: now.Add(delay),
	}
	call.Seq, call.Minted = i.Seq, true
	on.add(i, k.grace(c), k.generations(c))
	s.issues = append(s.issues, i)
	s.byHash[hashOf(i.Token)] = i
	s.trimLocked()
	return i
}

// trimLocked drops the oldest half of a history that is longer than the limit.
func (s *Server) trimLocked() {
	if len(s.issues) > s.history {
		n := len(s.issues) / 2
		for _, old := range s.issues[:n] {
			delete(s.byHash, hashOf(old.Token))
		}
		s.issues = append([]*issued(nil), s.issues[n:]...)
	}
	if len(s.calls) > s.history {
		s.calls = append([]*Call(nil), s.calls[len(s.calls)/2:]...)
	}
}

func (s *Server) randomToken() string {
	prefix := s.knobs.TokenPrefix
	return prefix + s.randomText(max(s.knobs.TokenLength-len(prefix), 16))
}

func (s *Server) randomText(n int) string { return simulator.RandomText(s.random, n) }
func (s *Server) randomHex(n int) string  { return simulator.RandomHex(s.random, n) }
