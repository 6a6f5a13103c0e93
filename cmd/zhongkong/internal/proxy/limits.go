package proxy

import "sync"

// Limits bound how many calls may be under way.
type Limits struct {
	All  int // of all callers; zero: 4096
	Each int // of one caller for one account; zero: 512
}

// maxUnproved is how many calls without a caller may be under way for an account:
// those whose user's token proves itself to WeChat (see isUsers).
const maxUnproved = 32

// slots are the calls that are under way.
type slots struct {
	limits Limits

	mu sync.Mutex // guards what follows
	n  int
	by map[slot]*int // as many as are configured
}

// slot is who calls for which account. Who holds a real token has no name.
type slot struct {
	account, caller string
	unproved        bool
}

func newSlots(l Limits) *slots {
	const all, each = 4096, 512
	if l.All <= 0 {
		l.All = all
	}
	if l.Each <= 0 {
		l.Each = each
	}
	return &slots{limits: l, by: make(map[slot]*int)}
}

// take takes a place if there is one, and returns what to give back.
func (s *slots) take(at slot, most int) (*int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.by[at]
	if own == nil {
		own = new(int)
		s.by[at] = own
	}
	if s.n >= s.limits.All || *own >= most {
		return nil, false
	}
	s.n++
	*own++
	return own, true
}

func (s *slots) give(own *int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n--
	*own--
}
