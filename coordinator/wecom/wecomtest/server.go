package wecomtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/internal/simulator"
)

// The corp of a Config without corps. The values of its secrets are public.
const (
	DefaultCorpID         = "ww8acdb7df5beb68fd"
	DefaultApp            = "1000002"
	DefaultSecret         = "p2Wq7vVYt0cU3lD9nK5xRb8sGf1hJ6mZeA4oTiXyCQw"
	DefaultProviderSecret = "Zt6yHn3bVc9xKq1mWs8dRf5gLp2jEu7aYo4iTzXwQvB"
)

// Config describes a new Server. The zero Config has one corp, DefaultCorpID.
type Config struct {
	Corps  []Corp
	Suites []Suite
	Knobs  *Knobs // nil: DefaultKnobs

	// Seed makes the values reproducible. Zero means a random seed.
	Seed uint64
}

// Corp is a corp of the simulated WeCom.
type Corp struct {
	CorpID         string
	ProviderSecret string // "": the corp is no service provider
	Apps           []App
}

// App is a holder of a secret of a corp.
type App struct {
	// Name names the app in this package's methods: its agentid if it has one, else
	// any word, such as "contacts".
	Name    string
	AgentID int // 0: a secret without an app; it has no agent ticket
	Secret  string

	// Trusted are the addresses from which business calls may come. Nil: all.
	Trusted []string
}

// Kind is a kind of value that the server issues.
type Kind string

// The kinds.
const (
	AccessToken   Kind = "access_token"
	ProviderToken Kind = "provider_access_token"
	CorpTicket    Kind = "jsapi_ticket"
	AgentTicket   Kind = "agent_ticket"
	SuiteToken    Kind = "suite_access_token"
	SuiteTicket   Kind = "suite_ticket" // pushed
)

// Issue is a value that the server issued.
type Issue struct {
	Kind      Kind
	CorpID    string
	App       string // "" for a corp's ticket and a provider's token; the SuiteID if it is a suite's
	Value     string
	IssuedAt  time.Time
	ExpiresAt time.Time
	DiesAt    time.Time // from when on it is not accepted; before ExpiresAt if it was ended early
}

// Call is a call that reached the server.
type Call struct {
	At     time.Time
	From   string // the source address
	Path   string
	CorpID string
	App    string // "" if the credential or the token is of none; the SuiteID if it is a suite's
	Code   int    // the errcode answered; 0: none
}

// Server is a simulated WeCom. It is safe for concurrent use.
type Server struct {
	control http.Handler // of /sandbox/

	// mu guards everything below. Each call is carried out while holding it.
	mu      sync.Mutex
	offset  time.Duration // how far Advance has moved the clock
	random  *rand.Rand
	knobs   Knobs
	corps   map[string]*corp
	suites  map[string]*suite
	byValue map[string]*Issue
	issues  []*Issue // the oldest first
	calls   []Call   // the oldest first
	quotas  map[quotaKey]*quota
	blocked map[string]time.Time // source addresses that sent wrong secrets, until when
	faults  []Fault
	pushed  []Push // the oldest first

	onCall func(path string) // nil: nothing
	woken  chan struct{}     // has room for one: Run is to look at what is to be sent
}

// corp is a Corp with its state. Guarded by Server.mu.
type corp struct {
	Corp
	apps     map[string]*app
	provider *Issue
	ticket   *Issue
}

// app is an App with its state. Guarded by Server.mu.
type app struct {
	App
	corp     *corp
	disabled bool
	token    *Issue
	ticket   *Issue
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
	s := &Server{knobs: DefaultKnobs(), corps: make(map[string]*corp), suites: make(map[string]*suite), woken: make(chan struct{}, 1)}
	s.control = simulator.NewControl(s, controlRoutes())
	for c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
	s.random = rand.New(rand.NewPCG(c.Seed, c.Seed))
	if c.Knobs != nil {
		s.knobs = *c.Knobs
	}
	if err := s.knobs.validate(); err != nil {
		return nil, err
	}
	s.forget()
	if len(c.Corps) == 0 {
		c.Corps = []Corp{{DefaultCorpID, DefaultProviderSecret, []App{{Name: DefaultApp, AgentID: 1000002, Secret: DefaultSecret}}}}
	}
	for _, added := range c.Corps {
		if err := s.AddCorp(added); err != nil {
			return nil, err
		}
	}
	for _, added := range c.Suites {
		if err := s.AddSuite(added); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// AddCorp adds a corp. One of the same CorpID is replaced with its tokens, but keeps its
// suites.
func (s *Server) AddCorp(added Corp) error {
	c := &corp{Corp: added, apps: make(map[string]*app)}
	if c.CorpID == "" {
		return errors.New("wecomtest: a corp needs a CorpID")
	}
	secrets := make(map[string]bool)
	for _, a := range added.Apps {
		if a.Name == "" || a.Secret == "" || secrets[a.Secret] || c.apps[a.Name] != nil {
			return fmt.Errorf("wecomtest: corp %s: app %q needs a Name and a Secret that no other has", c.CorpID, a.Name)
		}
		secrets[a.Secret] = true
		c.apps[a.Name] = &app{App: a, corp: c}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, u := range s.suites {
		if in := u.installs[c.CorpID]; in != nil && in.app != nil {
			in.app.corp = c
			if !in.cancelled {
				c.apps[id] = in.app
			}
		}
	}
	s.corps[c.CorpID] = c
	return nil
}

// Transport returns a transport whose calls to any host go to the server, without a
// socket.
func (s *Server) Transport() http.RoundTripper { return s.TransportFrom("127.0.0.1") }

// TransportFrom is Transport with a source address.
func (s *Server) TransportFrom(address string) http.RoundTripper {
	return simulator.Transport{Handler: s, From: address}
}

// Now returns the server's time.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

// now returns a time without a monotonic reading, because times are compared across
// Advance. The caller holds mu.
func (s *Server) now() time.Time { return time.Now().Add(s.offset).Round(0) }

// Advance moves the server's clock forward, without waiting.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset += d
	s.wake()
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
	if err := k.validate(); err != nil {
		return err
	}
	s.knobs = k
	return nil
}

// Reset removes tokens, tickets, counters, blocks, faults, calls and pushes, and undoes
// Advance. Corps, their apps, suites, who has them, and the knobs stay.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	for _, c := range s.corps {
		c.provider, c.ticket = nil, nil
		for _, a := range c.apps {
			a.token, a.ticket = nil, nil
		}
	}
	for _, u := range s.suites {
		u.token, u.tickets, u.pushes, u.pushFaults, u.nextTicket = nil, nil, nil, nil, time.Time{}
	}
	s.wake()
}

func (s *Server) forget() {
	s.offset, s.issues, s.calls, s.faults, s.pushed = 0, nil, nil, nil, nil
	s.byValue = make(map[string]*Issue)
	s.quotas = make(map[quotaKey]*quota)
	s.blocked = make(map[string]time.Time)
}

// current returns *held, or a new value in its place if it has ended. The caller holds
// mu.
func (s *Server) current(held **Issue, fresh Issue, ttl time.Duration) *Issue {
	now := s.now()
	if *held != nil && now.Before((*held).ExpiresAt) && now.Before((*held).DiesAt) {
		return *held
	}
	fresh.Value, fresh.IssuedAt, fresh.ExpiresAt = s.randomValue(fresh.Kind), now, now.Add(ttl)
	fresh.DiesAt = fresh.ExpiresAt
	if fresh.Kind == CorpTicket || fresh.Kind == AgentTicket {
		fresh.DiesAt = fresh.DiesAt.Add(s.knobs.TicketOverlap)
	}
	issued := &fresh
	*held = issued
	s.issues = append(s.issues, issued)
	s.byValue[issued.Value] = issued
	return issued
}

// randomValue has the length of real ones.
func (s *Server) randomValue(k Kind) string {
	if k == CorpTicket || k == AgentTicket {
		return s.randomText(ticketLength)
	}
	return s.randomText(s.knobs.TokenLength)
}

// randomText returns so many characters. The caller holds mu.
func (s *Server) randomText(length int) string { return simulator.RandomText(s.random, length) }
