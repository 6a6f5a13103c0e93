package wechattest

import (
	crand "crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Config is what a Server starts with. The zero Config is one account,
// DefaultAppID.
type Config struct {
	Accounts []Account
	Knobs    *Knobs // nil: DefaultKnobs

	// Now is the clock; nil: time.Now. Server.Advance moves what it says.
	Now func() time.Time

	// Seed makes everything random the same again. Zero: another each time,
	// so that a server that was started again does not issue the tokens of
	// its former life; Server.Seed tells it.
	Seed uint64

	// History is how many calls and how many tokens are kept; 0: 100,000.
	History int
}

// Server is a simulated WeChat. It is safe for concurrent use. It has no
// goroutine of its own.
type Server struct {
	clock   func() time.Time
	seed    uint64
	history int
	apis    map[string]api
	control http.Handler // of /sandbox/

	// mu guards everything below. Each call is carried out under it as a
	// whole, so tokens have one order.
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

	released chan struct{} // closed and replaced to end every wait
	closed   bool
}

// New returns a server. It panics if c makes no sense: it is test support.
func New(c Config) *Server {
	s, err := Open(c)
	if err != nil {
		panic(err)
	}
	return s
}

// Open is New for a configuration that comes from a user.
func Open(c Config) (*Server, error) {
	s := &Server{
		clock:    c.Now,
		seed:     c.Seed,
		history:  c.History,
		knobs:    DefaultKnobs(),
		accounts: make(map[string]*account),
		down:     make(map[string]bool),
		byHash:   make(map[tokenHash]*issued),
		rids:     newRIDLog(),
		released: make(chan struct{}),
	}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.history <= 0 {
		s.history = 100_000
	}
	for s.seed == 0 {
		s.seed = randomSeed()
	}
	s.random = rand.New(rand.NewPCG(s.seed, s.seed))
	s.apis = apis()
	s.control = newControl(s)
	if c.Knobs != nil {
		s.knobs = *c.Knobs
	}
	if err := s.knobs.Validate(); err != nil {
		return nil, fmt.Errorf("wechattest: %w", err)
	}
	if len(c.Accounts) == 0 {
		c.Accounts = []Account{{AppID: DefaultAppID, Secret: DefaultSecret}}
	}
	for _, a := range c.Accounts {
		if err := s.AddAccount(a); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func randomSeed() uint64 {
	var b [8]byte
	_, _ = crand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// Seed returns the seed of everything random.
func (s *Server) Seed() uint64 { return s.seed }

// Now returns the server's time.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nowLocked()
}

// nowLocked has no monotonic reading: times are compared across Advance.
func (s *Server) nowLocked() time.Time { return s.clock().Add(s.offset).Round(0) }

// Advance moves the server's clock; nothing waits for it.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset += d
}

// Knobs returns the settings.
func (s *Server) Knobs() Knobs {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.knobs
}

// Tune changes settings. change must not call the server.
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
// one) unreachable. What it shares with the other hosts stays.
func (s *Server) TakeDown(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down[host] = true
}

// BringUp takes TakeDown back.
func (s *Server) BringUp(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.down, host)
}

// Release frees every call that is hanging or slow, which is carried out, if
// it still is to be, or broken off.
func (s *Server) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.released)
	s.released = make(chan struct{})
	if s.closed {
		close(s.released)
	}
}

// Close frees every call that is hanging or slow, now and from now on.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.released)
	}
}

// Reset forgets faults, hosts taken down, tokens, counters, calls and the
// moved clock, and frees hanging calls. Accounts, their settings, and knobs
// stay.
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
		a.tickets = make(map[string]*ticket)
		a.usage = usage{}
	}
}

// mintLocked issues a token.
func (s *Server) mintLocked(a *account, c Chain, call *Call, now time.Time) *issued {
	s.lastSeq++
	i := &issued{
		Issue: Issue{
			Seq:       s.lastSeq,
			AppID:     a.AppID,
			Chain:     c,
			Token:     s.randomToken(),
			Call:      call.ID,
			From:      call.From,
			IssuedAt:  now,
			ExpiresAt: now.Add(s.knobs.TokenTTL),
			DiesAt:    now.Add(s.knobs.TokenTTL),
			Cause:     CauseExpired,
		},
		call:       call,
		usableFrom: now.Add(s.knobs.PropagationDelay),
	}
	call.Seq, call.Minted = i.Seq, true
	a.chain(c).add(i, s.knobs)
	s.issues = append(s.issues, i)
	s.byHash[hashOf(i.Token)] = i
	s.trimLocked()
	return i
}

// trimLocked forgets the oldest half when there is more than should be kept.
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
	n := max(s.knobs.TokenLength-len(prefix), 16)
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(s.random.Uint32())
	}
	return prefix + base64.RawURLEncoding.EncodeToString(b)[:n]
}

func (s *Server) randomHex(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(s.random.Uint32())
	}
	return hex.EncodeToString(b)
}
