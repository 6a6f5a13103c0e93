package coordinator

import "time"

// env is what a view needs of its surroundings, at one moment.
type env struct {
	cfg     *Config // with defaults
	account string
	host    string // marks what is refused to this host alone
	rules          // the account's
	source  Source // nil: this process is a reader

	wall  time.Time
	now   instant
	slept int64   // the clock's count of sleep
	roll  float64 // random, in [0, 1)

	storeNow   time.Time // the store's clock
	storeKnown bool      // it has been read

	parent   string       // whose token the source needs; "": none
	blocked  *ParentError // the parent has no token; nil: it has one, or none is needed
	hopeless bool         // waiting for the parent's token is pointless
	children bool         // there are any
	needed   bool         // children wait for a token of this account

	running   bool    // Run keeps the account right: memory may be trusted
	connected bool    // notifications flow
	stopping  bool    // Run is ending
	down      *outage // the store could not be asked last time
	fed       uint32  // what view.covered is of accounts whose changes the feed tells; 0: it tells none
}

func (e env) refresher() bool { return e.source != nil }

// throttled returns the error of a limit that holds until then.
func (e env) throttled(limit Limit, until instant) *ThrottledError {
	left := time.Duration(until - e.now)
	return &ThrottledError{Limit: limit, RetryIn: left, Until: e.wall.Add(left)}
}

// upTo returns a random duration in [0, d).
func (e env) upTo(d time.Duration) instant { return instant(e.roll * float64(max(d, 0))) }

// jitter returns d with up to a tenth more or less.
func (e env) jitter(d time.Duration) instant { return instant(d-d/10) + e.upTo(d/5) }
