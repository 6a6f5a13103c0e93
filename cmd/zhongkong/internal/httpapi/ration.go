package httpapi

import (
	"sync"
	"time"
)

// ration bounds how many lines are logged of each cause: burst at once, then
// one in every. Callers and strangers cause these lines as often as they like,
// and must not fill the log.
type ration struct {
	burst int
	every time.Duration

	mu  sync.Mutex
	all map[string]*allowance // :: cause
}

// allowance is what one cause may still log.
type allowance struct {
	left    int
	since   time.Time // left is as of then
	skipped int       // lines that were left out since the last one
}

// maxCauses bounds what is kept. Further causes share one allowance.
const maxCauses = 64

// take reports whether a line may be logged now, and how many of its cause
// were left out before it.
func (r *ration) take(cause string) (skipped int, ok bool) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.ofLocked(cause, now)
	if n := int(now.Sub(a.since) / r.every); n > 0 {
		a.left, a.since = min(r.burst, a.left+n), a.since.Add(time.Duration(n)*r.every)
	}
	if a.left == 0 {
		a.skipped++
		return 0, false
	}
	a.left--
	skipped, a.skipped = a.skipped, 0
	return skipped, true
}

func (r *ration) ofLocked(cause string, now time.Time) *allowance {
	if a := r.all[cause]; a != nil {
		return a
	}
	if len(r.all) >= maxCauses {
		for known, a := range r.all { // what has been quiet for long
			if now.Sub(a.since) > time.Duration(r.burst)*r.every+time.Minute {
				delete(r.all, known)
			}
		}
	}
	if len(r.all) >= maxCauses {
		cause = ""
		if a := r.all[cause]; a != nil {
			return a
		}
	}
	if r.all == nil {
		r.all = make(map[string]*allowance)
	}
	a := &allowance{left: r.burst, since: now}
	r.all[cause] = a
	return a
}
