package coordinator

import (
	"math/rand/v2"
	"time"
)

// This file is arithmetic only: no clock, no state.

const (
	backoffFirst = time.Second
	leastRetry   = time.Second / 2
	backoffFloor = 2 * time.Minute  // what the back-off may always grow to
	backoffCeil  = 30 * time.Minute // however long the current token still lives
	refusedRetry = 5 * time.Minute
	laterRetry   = time.Minute
	maxRefused   = int(MaxRetry / refusedRetry)
	maxSpread    = 2 * time.Second
)

// refreshIn is replacedIn for a token that is replaced at the age every or half its life,
// whichever is less.
func (r Record) refreshIn(every time.Duration) time.Duration {
	return r.replacedIn(min(every, r.Lifetime()/2))
}

// replacedIn returns how long after r's TTL was measured the schedule wants a new token:
// when the source asked for it, otherwise at the given age. Negative: it is late. 0 if
// the age of r is unknown.
func (r Record) replacedIn(at time.Duration) time.Duration {
	if r.rewound() {
		return 0
	}
	if asked := r.RefreshAt.Sub(r.IssuedAt); !r.RefreshAt.IsZero() && asked <= r.Lifetime() {
		at = asked // one beyond the token's end is no plan
	}
	return at - r.Age()
}

// NextRefresh returns when the next refresh comes that no caller demands, as an
// instant of the store's clock: when the schedule wants one or an
// attempt is overdue, whichever is first, but not before the back-off after a
// failure ends. every is the account's RefreshEvery. Without a usable record a
// refresh is due at once. An instant before Now: it is late.
func (s *State) NextRefresh(every time.Duration) time.Time {
	next := s.Now
	if s.Record.Usable() {
		next = s.Now.Add(s.Record.refreshIn(every))
		switch {
		case s.Overdue() > 0:
			next = earlier(next, s.Now)
		case len(s.Open) > 0:
			next = earlier(next, s.Open[0])
		}
	}
	if f := s.Failure; f.standing(s.Now) {
		next = later(next, f.RetryAt)
	}
	return next
}

// standing reports whether f sets a back-off by a store's clock that shows now. A
// failure later than now, or a back-off longer than MaxRetry, was written before
// the clock went back, or by no process of ours: it sets none.
func (f *Failure) standing(now time.Time) bool {
	return f != nil && f.InARow > 0 && !f.RetryAt.IsZero() &&
		!f.At.After(now.Add(time.Second)) && f.RetryAt.Sub(now) <= MaxRetry
}

// shownBy reports whether a reading that shows the failure s shows f as well: s is f, or its
// end, or later.
func (f *Failure) shownBy(s *Failure) bool {
	if f == nil || s == nil {
		return f == nil
	}
	return s.At.After(f.At) || s.At.Equal(f.At) && (s.InARow == f.InARow || s.InARow == 0)
}

func earlier(t, u time.Time) time.Time {
	if u.Before(t) {
		return u
	}
	return t
}

func later(t, u time.Time) time.Time {
	if u.After(t) {
		return u
	}
	return t
}

// spread returns the longest delay that keeps the refreshers of a fleet from
// coming for the lock in the same instant. The delay is drawn anew for each round.
func spread(every time.Duration) time.Duration { return max(min(every/20, maxSpread), 0) }

// backoff returns how long no process calls the source on schedule after a failure:
// the issuer's word if there is one, else by kind. failures counts this one;
// left is how long the current token may still be served (0: there is none):
// the longer, the less the hurry.
func backoff(kind FailureKind, failures int, issuers, left time.Duration) time.Duration {
	if issuers > 0 {
		return min(issuers, MaxRetry)
	}
	switch kind {
	case FailedRefused:
		return jitter(refusedRetry)
	case FailedLater:
		return jitter(laterRetry)
	}
	ceil := min(max(left/4, backoffFloor), backoffCeil)
	wait := ceil
	if doublings := max(failures, 1) - 1; doublings < 16 {
		wait = min(backoffFirst<<doublings, ceil)
	}
	return wait/2 + randUpTo(wait/2)
}

// amongRefused returns how much longer a process waits whose address is refused, if there
// were so many failures since its last one, this one included. A fleet whose addresses are all
// refused calls as often as one process would, at any moments.
func amongRefused(failures int) time.Duration {
	return randUpTo(2 * refusedRetry * time.Duration(min(failures, maxRefused)-1))
}

// pace returns how often a refresh may be made without a demand, beyond a burst: so
// often that the calls of a window last the window, but at least twice as often as the
// schedule makes them.
func pace(l Limits, every time.Duration) time.Duration {
	return min(l.window()/time.Duration(l.PerDay), every/2)
}

// jitter returns d with up to a tenth more or less.
func jitter(d time.Duration) time.Duration { return d - d/10 + randUpTo(d/5) }

// randUpTo returns a random duration in [0, d].
func randUpTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d + 1)
}
