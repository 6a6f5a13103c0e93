package httpapi

import "sync"

// slots are a number of places, of which each caller may take some.
type slots struct {
	all, each int // limits

	mu sync.Mutex // guards what follows
	n  int
	by map[string]int // :: caller's name, only those who have one
}

func newSlots(all, each int) slots {
	return slots{all: all, each: min(all, each), by: make(map[string]int)}
}

// take takes a place if there is one for the caller. give gives it back.
func (s *slots) take(caller string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n >= s.all || s.by[caller] >= s.each {
		return false
	}
	s.n++
	s.by[caller]++
	return true
}

func (s *slots) give(caller string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n--
	if s.by[caller]--; s.by[caller] == 0 {
		delete(s.by, caller)
	}
}

func (s *slots) taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}
