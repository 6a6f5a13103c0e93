package callers

import (
	"sync"
	"time"
)

const (
	maxSeen  = 32 << 10 // tries in each half: 3 MB for both
	seenHalf = 15 * time.Minute
)

// seen remembers when each try that had to wait was made first, so that whoever
// comes again goes before those who come with another guess each time. It has
// two halves: when the newer one is full, or old, the older one is forgotten.
type seen struct {
	mu           sync.Mutex // guards what follows
	newer, older map[uint64]time.Time
	began        time.Time // the newer half
}

// first returns when the try with this key was made first: now, if it is not
// remembered. It is remembered from now on.
func (s *seen) first(key uint64, now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.newer[key]; ok {
		return t
	}
	if s.newer == nil || len(s.newer) >= maxSeen || now.Sub(s.began) > seenHalf {
		s.older, s.newer, s.began = s.newer, make(map[uint64]time.Time), now
	}
	t, ok := s.older[key]
	if !ok {
		t = now
	}
	s.newer[key] = t
	return t
}
