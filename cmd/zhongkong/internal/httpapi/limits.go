package httpapi

import (
	"cmp"
	"sync"
	"time"
)

// Limits bound what callers can make this process keep.
type Limits struct {
	// Holding is how many requests may wait at a time, of all callers.
	Holding int

	// HoldingEach is how many of them may be one caller's.
	HoldingEach int

	// Streams is how many event streams may be open, of all callers.
	Streams int

	// StreamsEach is how many of them may be one caller's.
	StreamsEach int

	// Body is the size limit of a request's body, in bytes.
	Body int64

	// Slow is how long a client may take to send a body, or to accept one write
	// to a stream.
	Slow time.Duration
}

// DefaultLimits leave room for 20,000 waiting requests, of which one caller
// may have three quarters.
func DefaultLimits() Limits {
	return Limits{Holding: 20_000, HoldingEach: 15_000, Streams: 1000, StreamsEach: 200, Body: 16 << 10, Slow: 10 * time.Second}
}

// or returns l with zero fields taken from d.
func (l Limits) or(d Limits) Limits {
	return Limits{
		Holding: cmp.Or(l.Holding, d.Holding), HoldingEach: cmp.Or(l.HoldingEach, d.HoldingEach),
		Streams: cmp.Or(l.Streams, d.Streams), StreamsEach: cmp.Or(l.StreamsEach, d.StreamsEach),
		Body: cmp.Or(l.Body, d.Body), Slow: cmp.Or(l.Slow, d.Slow),
	}
}

// limiter bounds how many requests are under way, of all callers and of each.
type limiter struct {
	total, perCaller int // limits

	mu       sync.Mutex // guards what follows
	n        int
	byCaller map[string]int // :: name → number, never 0
}

func newLimiter(total, perCaller int) limiter {
	return limiter{total: total, perCaller: min(total, perCaller), byCaller: make(map[string]int)}
}

// acquire counts a request of the caller if the limits allow it. Each successful
// acquire is followed by a release.
func (l *limiter) acquire(caller string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n >= l.total || l.byCaller[caller] >= l.perCaller {
		return false
	}
	l.n++
	l.byCaller[caller]++
	return true
}

func (l *limiter) release(caller string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n--
	if l.byCaller[caller]--; l.byCaller[caller] == 0 {
		delete(l.byCaller, caller)
	}
}

func (l *limiter) inUse() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}
