package auth

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	freeFailures = 5                // failures without a delay: people mistype
	maxDelay     = 10 * time.Second // the delay doubles up to it
	forgetAfter  = 15 * time.Minute // a source without a failure for so long is forgotten

	// minAttemptAge is how long after it was first made an attempt at a
	// throttled source may be verified. Guesses that are each made once are
	// never verified there.
	minAttemptAge = time.Second
	// gatherFor is how long attempts are gathered in the queue after a delay
	// before the first of them is verified: Retry-After has whole seconds, so
	// callers that were told the same delay arrive within that time.
	gatherFor = 1500 * time.Millisecond

	// The token bucket of comparisons with a remembered password that each name
	// has at a throttled source.
	compareRate  = 10 // a second
	compareBurst = 20

	maxSources = 4096 // bounds the memory
)

// throttle counts the failed attempts of each source. Its size is bounded: when
// it is full, sources are forgotten. That lets an attacker with thousands of
// addresses guess a little faster, and locks no caller out.
type throttle struct {
	active atomic.Bool // sources is not empty; saves callers the lock

	mu      sync.Mutex // guards what follows
	sources map[netip.Addr]*source
}

// source is where failed attempts came from.
type source struct {
	failures     int
	lastFailure  time.Time
	blockedUntil time.Time // no attempt is verified before

	comparisons map[string]*bucket // :: name of a user who was verified from here
}

type bucket struct {
	tokens   float64
	filledAt time.Time
}

func newThrottle() *throttle { return &throttle{sources: make(map[netip.Addr]*source)} }

func (t *throttle) throttled(at netip.Addr) bool {
	if !t.active.Load() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.throttledLocked(at, time.Now()) != nil
}

// throttledLocked returns the source if it is throttled, otherwise nil.
func (t *throttle) throttledLocked(at netip.Addr, now time.Time) *source {
	s := t.sources[at]
	if s == nil || s.failures <= freeFailures || s.expired(now) {
		return nil
	}
	return s
}

// admit returns how long an attempt that was first made at the given time has to
// wait before it may be queued (0: not at all), and when it may be verified
// then. An attempt that is not verified does not make the delay longer.
func (t *throttle) admit(at netip.Addr, first time.Time) (wait time.Duration, notBefore time.Time) {
	if !t.active.Load() {
		return 0, time.Time{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	s := t.throttledLocked(at, now)
	if s == nil {
		return 0, time.Time{}
	}
	return max(0, s.blockedUntil.Sub(now), first.Add(minAttemptAge).Sub(now)), s.blockedUntil.Add(gatherFor)
}

func (t *throttle) fail(at netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	s := t.sourceLocked(at, now)
	if s.expired(now) {
		s.failures = 0
	}
	s.failures++
	s.lastFailure, s.blockedUntil = now, now.Add(delay(s.failures))
}

// takeBack undoes failures that were none: what failed was another reading of credentials that
// are right.
func (t *throttle) takeBack(at netip.Addr, failures int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.sources[at]; s != nil {
		s.failures = max(0, s.failures-failures)
		s.blockedUntil = s.lastFailure.Add(delay(s.failures))
	}
}

// mayCompare reports whether the name's password may be compared with what comes
// from the source. A correct password costs no token of the bucket.
func (t *throttle) mayCompare(at netip.Addr, name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	s := t.throttledLocked(at, now)
	return s == nil || s.comparisons[name] == nil || s.comparisons[name].refill(now) >= 1
}

// spendComparison takes a token for a comparison with a wrong password.
func (t *throttle) spendComparison(at netip.Addr, name string) {
	if !t.active.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	s := t.throttledLocked(at, now)
	if s == nil {
		return
	}
	b := s.comparisons[name]
	if b == nil {
		b = &bucket{compareBurst, now}
		if s.comparisons == nil {
			s.comparisons = make(map[string]*bucket)
		}
		s.comparisons[name] = b
	}
	if b.refill(now) >= 1 { // otherwise the comparison revealed nothing
		b.tokens--
	}
}

func (b *bucket) refill(now time.Time) float64 {
	b.tokens = min(compareBurst, b.tokens+now.Sub(b.filledAt).Seconds()*compareRate)
	b.filledAt = now
	return b.tokens
}

func (t *throttle) sourceLocked(at netip.Addr, now time.Time) *source {
	if s := t.sources[at]; s != nil {
		return s
	}
	if len(t.sources) >= maxSources {
		t.evictLocked(now)
	}
	s := &source{}
	t.sources[at] = s
	t.active.Store(true)
	return s
}

// evictLocked drops the sources that have expired, and if those are too few any
// others: an eighth at once, so that it runs rarely.
func (t *throttle) evictLocked(now time.Time) {
	for at, s := range t.sources {
		if s.expired(now) {
			delete(t.sources, at)
		}
	}
	for at := range t.sources {
		if len(t.sources) <= maxSources*7/8 {
			return
		}
		delete(t.sources, at)
	}
}

func (s *source) expired(now time.Time) bool { return now.Sub(s.lastFailure) > forgetAfter }

// delay is the delay after n failures: none, then 1 s, 2 s, 4 s ...
func delay(n int) time.Duration {
	if n <= freeFailures {
		return 0
	}
	return min(maxDelay, time.Second<<min(n-freeFailures-1, 10))
}
