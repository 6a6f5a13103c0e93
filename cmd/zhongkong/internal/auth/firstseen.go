package auth

import (
	"sync"
	"time"
)

const (
	maxSeen  = 32 << 10 // attempts in each half: 3 MB for both
	halfLife = 15 * time.Minute
)

// firstSeen remembers when each attempt that had to wait was first made, so that
// a caller who retries is verified before an attacker whose guess is new each
// time. It has two halves: when the newer one is full or old, the older one is
// dropped.
type firstSeen struct {
	mu           sync.Mutex // guards what follows
	newer, older map[uint64]time.Time
	began        time.Time // the newer half
}

// at returns when the attempt with this key was first made, which is now if it
// is not remembered, and remembers it.
func (s *firstSeen) at(key uint64, now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.newer[key]; ok {
		return t
	}
	if s.newer == nil || len(s.newer) >= maxSeen || now.Sub(s.began) > halfLife {
		s.older, s.newer, s.began = s.newer, make(map[uint64]time.Time), now
	}
	t, ok := s.older[key]
	if !ok {
		t = now
	}
	s.newer[key] = t
	return t
}
