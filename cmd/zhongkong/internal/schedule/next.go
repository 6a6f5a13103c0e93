// Package schedule says when the next refresh of an account comes, for all who
// show it: the command line, the status page, the metrics.
package schedule

import (
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// next is the one rule: a refresh comes when the schedule wants one or an open
// call is overdue, whichever is first, but not before a failure allows it.
func next(scheduled, overdue, allowed time.Time) time.Time {
	due := scheduled
	if !overdue.IsZero() && overdue.Before(due) {
		due = overdue
	}
	if allowed.After(due) {
		due = allowed
	}
	return due
}

// Next returns when the next refresh of an account comes, by the store's
// clock. every is the account's refresh_every.
func Next(s coordinator.State, every time.Duration) time.Time {
	scheduled := s.Now
	if r := s.Record; r.Usable() {
		scheduled = r.IssuedAt.Add(min(every, r.Lifetime()/2))
		if !r.RefreshAt.IsZero() {
			scheduled = r.RefreshAt
		}
	}
	var overdue time.Time
	if len(s.Open) > 0 {
		overdue = s.Open[0]
	}
	return next(scheduled, overdue, Allowed(s.Failure))
}

// In returns how long after now, of this machine's clock, the next refresh
// comes: negative when it is late; false when there is no record to reckon
// from.
func In(s coordinator.Status, now time.Time) (time.Duration, bool) {
	if s.NextRefresh.IsZero() {
		return 0, false
	}
	store := StoreClock(s, now)
	scheduled := store.Add(s.NextRefresh.Sub(now))
	var overdue time.Time
	if s.OpenAttempts > 0 {
		overdue = store // the deadlines are not known here; they are seconds away
	}
	return next(scheduled, overdue, Allowed(s.Failure)).Sub(store), true
}

// Allowed returns the time of the store's clock before which nobody asks again
// on schedule because of a failure; zero if none is in the way.
func Allowed(f *coordinator.Failure) time.Time {
	if f == nil || f.InARow == 0 {
		return time.Time{}
	}
	return f.RetryAt
}

// StoreClock returns the store's clock at now. It follows from the TTL that a
// record has left; without a usable one this machine's clock has to do.
func StoreClock(s coordinator.Status, now time.Time) time.Time {
	r := s.Record
	if !r.Usable() {
		return now
	}
	return r.ExpiresAt.Add(-coordinator.Margin(r.Lifetime()) - r.TTL)
}
