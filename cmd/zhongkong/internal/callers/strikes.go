package callers

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	freeStrikes = 5                // wrong tries that cost no wait: people mistype
	longestWait = 10 * time.Second // a wait doubles up to it
	forgetAfter = 15 * time.Minute // without a wrong try, all is forgotten

	// comeAgain is how long after its first time a try at a guarded place may
	// be looked at. Whoever makes each guess once is never looked at there.
	comeAgain = time.Second
	// gathering is how long after a wait those who come stand in the line
	// before the first is looked at: Retry-After is in whole seconds.
	gathering = 1500 * time.Millisecond

	// Comparisons with a remembered password that a guarded place has.
	compareEach  = 10 // a second, with each name
	compareBurst = 20

	maxPlaces = 4096 // addresses that are kept in mind
)

// strikes counts wrong tries. Its size is bounded: when it is full, addresses
// are forgotten, which lets somebody with thousands of addresses guess a
// little faster, and locks nobody out.
type strikes struct {
	busy atomic.Bool // places is not empty; spares callers the lock

	mu     sync.Mutex // guards what follows
	places map[netip.Addr]*struck
}

// struck is a place that wrong tries came from.
type struck struct {
	wrong int       // tries that were looked at
	last  time.Time // when the last one was
	until time.Time // nobody is looked at before

	compared map[string]*allowance // :: the name of a user that was proved here
}

// allowance is a token bucket.
type allowance struct {
	left float64
	at   time.Time
}

func newStrikes() *strikes { return &strikes{places: make(map[netip.Addr]*struck)} }

// guarded reports whether too many wrong tries came from the place.
func (s *strikes) guarded(at netip.Addr) bool {
	if !s.busy.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.guardedLocked(at, time.Now()) != nil
}

// guardedLocked returns the place if it is guarded.
func (s *strikes) guardedLocked(at netip.Addr, now time.Time) *struck {
	p := s.places[at]
	if p == nil || p.wrong <= freeStrikes || p.forgotten(now) {
		return nil
	}
	return p
}

// admit returns how long a try that was made first at the given time has to
// wait before it may stand in the line, and from when on it may be looked at.
// Tries that are not looked at make no wait longer.
func (s *strikes) admit(at netip.Addr, first time.Time) (wait time.Duration, from time.Time) {
	if !s.busy.Load() {
		return 0, time.Time{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	p := s.guardedLocked(at, now)
	if p == nil {
		return 0, time.Time{}
	}
	return max(0, p.until.Sub(now), first.Add(comeAgain).Sub(now)), p.until.Add(gathering)
}

// add counts a wrong try that was looked at.
func (s *strikes) add(at netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	p := s.placeLocked(at, now)
	if p.forgotten(now) {
		p.wrong = 0
	}
	p.wrong++
	p.last, p.until = now, now.Add(delay(p.wrong))
}

// mayCompare reports whether the place has comparisons with the name's
// password left. A right password uses none up.
func (s *strikes) mayCompare(at netip.Addr, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	p := s.guardedLocked(at, now)
	return p == nil || p.compared[name] == nil || p.compared[name].refill(now) >= 1
}

// missed uses one up.
func (s *strikes) missed(at netip.Addr, name string) {
	if !s.busy.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	p := s.guardedLocked(at, now)
	if p == nil {
		return
	}
	a := p.compared[name]
	if a == nil {
		a = &allowance{compareBurst, now}
		if p.compared == nil {
			p.compared = make(map[string]*allowance)
		}
		p.compared[name] = a
	}
	if a.refill(now) >= 1 { // else nothing was told
		a.left--
	}
}

func (a *allowance) refill(now time.Time) float64 {
	a.left = min(compareBurst, a.left+now.Sub(a.at).Seconds()*compareEach)
	a.at = now
	return a.left
}

func (s *strikes) placeLocked(at netip.Addr, now time.Time) *struck {
	if p := s.places[at]; p != nil {
		return p
	}
	if len(s.places) >= maxPlaces {
		s.makeRoomLocked(now)
	}
	p := &struck{}
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

func (p *struck) forgotten(now time.Time) bool { return now.Sub(p.last) > forgetAfter }

// delay is the wait after n wrong tries: none, then 1 s, 2 s, 4 s ...
func delay(n int) time.Duration {
	if n <= freeStrikes {
		return 0
	}
	return min(longestWait, time.Second<<min(n-freeStrikes-1, 10))
}
