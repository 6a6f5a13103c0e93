package coordinator

import (
	"errors"
	"time"
)

// outage is why the store cannot be used, and since when.
type outage struct {
	since time.Time
	until time.Time     // down: nothing is tried on schedule before it
	width time.Duration // down: until was drawn from so much
	told  bool          // down: the log has said so
	err   error
}

// lasts reports whether an outage is more than a moment, or nothing that passes.
func (o *outage) lasts() bool {
	return o != nil && (errors.Is(o.err, ErrDenied) || time.Since(o.since) >= outageLasts)
}

// outageLasts is how long an operation may fail before it is called an outage
// though notifications flow: failovers pass.
const outageLasts = 2 * time.Second

// outagePause is how long nothing is tried on schedule at most after the store could
// not be asked, and outageMost after it could not many times. A notification that
// flows again ends the pause.
const (
	outagePause = 500 * time.Millisecond
	outageMost  = 4 * time.Second
)

// again returns the outage after one more operation has failed. The pauses widen, and
// each is drawn anew (full jitter): processes that an overload has made fail together do
// not come back together. Operations that were under way together widen it once.
func (o *outage) again(now time.Time, err error) *outage {
	next := &outage{since: now, width: outagePause, err: err}
	if o != nil {
		next.since, next.told = o.since, o.told
		if o.pauses(now) {
			next.until, next.width = o.until, o.width
			return next
		}
		next.width = min(2*o.width, outageMost)
	}
	next.until = now.Add(next.width/8 + randUpTo(next.width-next.width/8))
	return next
}

// pauses reports whether nothing is tried on schedule at this time.
func (o *outage) pauses(now time.Time) bool { return o != nil && now.Before(o.until) }

// over returns when something may be tried again that a failure has put off.
func (o *outage) over(e env) instant {
	if o == nil {
		return e.now + e.upTo(outagePause)
	}
	return e.now + instant(max(o.until.Sub(e.wall), 0)) + e.upTo(o.width/4)
}

// remindEvery is how often an outage that lasts is said again.
const remindEvery = time.Minute
