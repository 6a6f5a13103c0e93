// Package inflight bounds how many calls are under way.
package inflight

import "sync"

// Limiter bounds how many calls are under way, of all keys together and of each. It is
// safe for concurrent use.
type Limiter[K comparable] struct {
	total int

	mu sync.Mutex // guards what follows
	n  int
	by map[K]int // never 0
}

// New returns a Limiter of so many calls of all keys.
func New[K comparable](total int) *Limiter[K] {
	return &Limiter[K]{total: total, by: make(map[K]int)}
}

// Acquire counts a call of the key if the limits allow it: most is that of the key.
// Each successful Acquire is followed by a Release.
func (l *Limiter[K]) Acquire(key K, most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n >= l.total || l.by[key] >= most {
		return false
	}
	l.n++
	l.by[key]++
	return true
}

// Release ends a call of the key.
func (l *Limiter[K]) Release(key K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n--
	if l.by[key]--; l.by[key] == 0 {
		delete(l.by, key)
	}
}

// InUse returns how many calls are under way.
func (l *Limiter[K]) InUse() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}
