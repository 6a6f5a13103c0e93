package httpapi

import (
	"cmp"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/inflight"
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
	*inflight.Limiter[string] // by caller
	perCaller                 int
}

func newLimiter(total, perCaller int) limiter { return limiter{inflight.New[string](total), perCaller} }

// acquire counts a request of the caller if the limits allow it. Each successful
// acquire is followed by a Release.
func (l *limiter) acquire(caller string) bool { return l.Acquire(caller, l.perCaller) }
