package coordinator

import (
	"errors"
	"time"
)

// outage is one such cause.
type outage struct {
	since time.Time
	until time.Time // down: nothing is tried on schedule before it
	told  bool      // down: the log has said so
	err   error
}

// lasts reports whether an outage is more than a moment, or nothing that passes.
func (o *outage) lasts() bool {
	return o != nil && (errors.Is(o.err, ErrDenied) || time.Since(o.since) >= outageLasts)
}

// outageLasts is how long an operation may fail before it is called an outage
// though notifications flow: failovers pass.
const outageLasts = 2 * time.Second

// outagePause is how long nothing is tried on schedule after the store could
// not be asked.
const outagePause = 500 * time.Millisecond

// remindEvery is how often a outage that lasts is said again.
const remindEvery = time.Minute
