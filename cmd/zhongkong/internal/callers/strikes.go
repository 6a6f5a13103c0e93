package callers

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	freeStrikes = 5                // wrong tries that cost no wait: people mistype
	longestWait = time.Minute      // a wait doubles up to it
	forgetAfter = 15 * time.Minute // without a wrong try, all is forgotten

	maxPlaces = 4096 // addresses that are kept in mind
	maxNames  = 32   // names at each; further ones share one count
)

// strikes counts wrong tries. Its size is bounded: when it is full, addresses
// are forgotten, which lets somebody with thousands of addresses guess a
// little faster, and locks nobody out.
type strikes struct {
	seed maphash.Seed
	busy atomic.Bool // places is not empty; spares callers the lock

	mu     sync.Mutex
	places map[netip.Addr]*struck
}

// struck is a place that wrong tries came from.
type struck struct {
	whole count
	names map[uint64]*count // :: hash of the name; a stranger chose the names
	rest  count             // of names that found no room
}

// count is a number of wrong tries and what follows from it.
type count struct {
	n     int
	last  time.Time
	until time.Time
}

func newStrikes() *strikes {
	return &strikes{seed: maphash.MakeSeed(), places: make(map[netip.Addr]*struck)}
}

// wait returns how long the name has to wait at the place, and how long all
// names have that were not proved before.
func (s *strikes) wait(at netip.Addr, name string) (own, whole time.Duration) {
	if !s.busy.Load() {
		return 0, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.places[at]
	if p == nil {
		return 0, 0
	}
	now := time.Now()
	if c := p.find(maphash.String(s.seed, name)); c != nil {
		own = c.wait(now)
	}
	return own, p.whole.wait(now)
}

// add counts a wrong try that was looked at.
func (s *strikes) add(at netip.Addr, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	p := s.placeLocked(at, now)
	p.whole.strike(now)
	p.make(maphash.String(s.seed, name)).strike(now)
}

// addName counts a try that was not looked at because the place has to wait.
// The place's own wait is not made longer, or it would never end.
func (s *strikes) addName(at netip.Addr, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.placeLocked(at, now).make(maphash.String(s.seed, name)).strike(now)
}

func (s *strikes) placeLocked(at netip.Addr, now time.Time) *struck {
	if p := s.places[at]; p != nil {
		return p
	}
	if len(s.places) >= maxPlaces {
		s.makeRoomLocked(now)
	}
	p := &struck{names: make(map[uint64]*count, 1)}
	s.places[at] = p
	s.busy.Store(true)
	return p
}

// makeRoomLocked drops the places that are due to be forgotten, and if that is
// not enough any others: an eighth at once, so that it is seldom called.
func (s *strikes) makeRoomLocked(now time.Time) {
	for at, p := range s.places {
		if p.forgotten(now) {
			delete(s.places, at)
		}
	}
	for at := range s.places {
		if len(s.places) <= maxPlaces*7/8 {
			return
		}
		delete(s.places, at)
	}
}

func (p *struck) forgotten(now time.Time) bool {
	if !p.whole.forgotten(now) || !p.rest.forgotten(now) {
		return false
	}
	for _, c := range p.names {
		if !c.forgotten(now) {
			return false
		}
	}
	return true
}

// find returns the count that holds for a name, nil if there is none.
func (p *struck) find(name uint64) *count {
	c := p.names[name]
	if c == nil && len(p.names) >= maxNames {
		return &p.rest
	}
	return c
}

func (p *struck) make(name uint64) *count {
	c := p.find(name)
	if c == nil {
		c = &count{}
		p.names[name] = c
	}
	return c
}

func (c *count) wait(now time.Time) time.Duration {
	return max(0, c.until.Sub(now))
}

func (c *count) strike(now time.Time) {
	if c.forgotten(now) {
		c.n = 0
	}
	c.n++
	c.last = now
	c.until = now.Add(delay(c.n))
}

func (c *count) forgotten(now time.Time) bool { return now.Sub(c.last) > forgetAfter }

// delay is the wait after n wrong tries: none, then 1 s, 2 s, 4 s ...
func delay(n int) time.Duration {
	if n <= freeStrikes {
		return 0
	}
	return min(longestWait, time.Second<<min(n-freeStrikes-1, 10))
}
