package auth

import (
	"net/netip"
	"sync"
	"time"
)

const (
	maxSeen  = 32 << 10 // attempts in each half: 8 MB for both
	halfLife = 15 * time.Minute
)

// firstSeen remembers when each attempt that had to wait was first made, so that
// a caller who retries is verified before an attacker whose guess is new each
// time, and how many a source has made. It has two halves: when the newer one is full
// or old, the older one is dropped.
type firstSeen struct {
	mu           sync.Mutex // guards what follows
	newer, older seenHalf
	began        time.Time // the newer half
}

type seenHalf struct {
	attempts map[uint64]sighting
	unproved map[netip.Addr]int // :: how many of the source's attempts have not proved right
}

// sighting is what is known of an attempt.
type sighting struct {
	first  time.Time // when it was first made
	clean  bool      // its source had made no other then, except for such as proved right
	proved bool      // it was right
}

// at returns when the attempt with this key was first made, which is now if it
// is not remembered, and remembers it.
func (s *firstSeen) at(key uint64, source netip.Addr, now time.Time) sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seen, ok := s.newer.attempts[key]; ok {
		return seen
	}
	if s.newer.attempts == nil || len(s.newer.attempts) >= maxSeen || now.Sub(s.began) > halfLife {
		s.older, s.newer, s.began = s.newer, seenHalf{make(map[uint64]sighting), make(map[netip.Addr]int)}, now
	}
	seen, ok := s.older.attempts[key]
	if !ok {
		seen = sighting{first: now, clean: s.newer.unproved[source]+s.older.unproved[source] == 0}
		s.newer.unproved[source]++
	}
	s.newer.attempts[key] = seen
	return seen
}

// proved takes note that the attempt was right.
func (s *firstSeen) proved(key uint64, source netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, ok := s.newer.attempts[key]
	if !ok || seen.proved {
		return
	}
	seen.proved = true
	s.newer.attempts[key] = seen
	half := s.newer
	if half.unproved[source] == 0 {
		half = s.older
	}
	switch n := half.unproved[source]; n {
	case 0:
	case 1:
		delete(half.unproved, source)
	default:
		half.unproved[source] = n - 1
	}
}
