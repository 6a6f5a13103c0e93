package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// maxOverdue is how many overdue attempts are kept. One has the same effect as a
// thousand, and a source that never answers must not make the account grow.
const maxOverdue = 100

// Begin is the step of [coordinator.Store].Begin. The event is to be published
// also if there is an error. ThrottledError.Until is by s.Now: a store whose clock
// is another machine's sets it to time.Now().Add(RetryIn).
func (a *Account) Begin(s Step, b coordinator.BeginRequest) (coordinator.Attempt, *coordinator.Event, error) {
	now := a.enter(s)
	b.Seen = s.credible(b.Seen)
	current := a.current(s, now)
	if current.Generation > b.Seen || a.settled(s, now, b) {
		return coordinator.Attempt{Record: current}, nil, nil
	}
	if limit, wait := a.limit(now, b); limit != "" {
		var event *coordinator.Event
		if b.Reason.Demanded() { // the demand may be of another process, which learns of this by the event alone
			event = s.event(coordinator.EventThrottled, b.Reason, 0)
			event.Limit, event.RetryIn = limit, wait
		}
		return coordinator.Attempt{}, event, &coordinator.ThrottledError{Limit: limit, RetryIn: wait, Until: now.Add(wait)}
	}

	attempt := coordinator.Attempt{
		// The clock keeps fences rising when all data was lost.
		Fence:    max(s.credible(a.state.Fence)+1, b.Seen+1, coordinator.Fence(s.Now.UnixMicro())),
		Failures: a.state.Failure.InARow,
		// A current token that dies while no attempt is open was killed by a call
		// that was not announced here.
		Conflict: b.Repeat == coordinator.RepeatKills && b.Reason == coordinator.ReasonRejected && len(a.state.Open) == 0 &&
			current.Generation > 0 && current.Generation == b.Seen,
	}
	attempt.Overdue = a.overdue(now)
	if attempt.Conflict {
		a.state.Conflict++
	}
	if b.Reason.Demanded() {
		a.state.Demanded = now
	} else if b.Pace > 0 {
		a.state.Paced = a.paced(now, b.Pace).Add(b.Pace)
	}
	a.state.Fence = attempt.Fence
	a.open(attempt.Fence, now.Add(millis(b.TTL, 1)))
	if a.state.Window = a.windowFor(b.Limits, now); b.Limits.WeChatDays() {
		a.state.Window = window{}
	}
	a.count(now, 1)
	attempt.CallsToday = a.calls(now)
	event := s.event(coordinator.EventBegun, b.Reason, attempt.Fence)
	event.RetryIn = millis(b.TTL, 1)
	return attempt, event, nil
}

// settled reports whether what b is for is over: there is the record that is to be replaced,
// and no attempt is overdue any more. An attempt newer than every fence is one that the
// store has lost, and nobody knows how it ended.
func (a *Account) settled(s Step, now time.Time, b coordinator.BeginRequest) bool {
	if b.Reason != coordinator.ReasonOverdue || b.Overdue == 0 || s.credible(a.state.Fence) < b.Overdue {
		return false
	}
	if generation := a.current(s, now).Generation; generation == 0 || generation != b.Seen {
		return false
	}
	for _, deadline := range a.state.Open {
		if coordinator.Overdue(deadline, now) {
			return false
		}
	}
	return true
}

// overdue returns the attempts that are overdue. Of too many it keeps those with
// the earliest deadlines.
func (a *Account) overdue(now time.Time) []coordinator.Fence {
	var fences []coordinator.Fence
	for fence, deadline := range a.state.Open {
		if coordinator.Overdue(deadline, now) {
			fences = append(fences, fence)
		}
	}
	slices.SortFunc(fences, func(x, y coordinator.Fence) int {
		return cmp.Or(a.state.Open[x].Compare(a.state.Open[y]), cmp.Compare(x, y))
	})
	for ; len(fences) > maxOverdue; fences = fences[:len(fences)-1] {
		delete(a.state.Open, fences[len(fences)-1])
	}
	return fences
}

// limit returns the limit that forbids the begin for longest, and for how long; ""
// if none does. Which limit binds which reason is the table at coordinator.Store.
func (a *Account) limit(now time.Time, b coordinator.BeginRequest) (limit coordinator.Limit, wait time.Duration) {
	holds := func(name coordinator.Limit, d time.Duration) {
		if d > wait {
			limit, wait = name, d
		}
	}
	demanded, forced := b.Reason.Demanded(), b.Reason == coordinator.ReasonForced
	if budget := b.Limits.PerDay; budget > 0 {
		if demanded {
			budget -= b.Limits.Reserve
		}
		if w := a.windowFor(b.Limits, now); w.Calls >= budget {
			holds(b.Limits.Budget(), w.Ends.Sub(now))
		}
	}
	// An instant that lies ahead was noted before the clock went back.
	if demanded && !a.state.Demanded.IsZero() && !a.state.Demanded.After(now) {
		holds(coordinator.LimitInterval, a.state.Demanded.Add(b.Limits.MinInterval).Sub(now))
	}
	if !forced {
		holds(coordinator.LimitBackOff, a.state.Failure.backOff(now, b.Credential))
	}
	if !demanded && b.Pace > 0 {
		holds(coordinator.LimitLoop, a.paced(now, b.Pace).Sub(now)-(coordinator.PaceBurst-1)*b.Pace)
	}
	return limit, wait
}

// paced returns until when the pace is used up (the generic cell rate algorithm).
// What lies further ahead than a burst was noted before the clock went back.
func (a *Account) paced(now time.Time, pace time.Duration) time.Time {
	if a.state.Paced.Before(now) || a.state.Paced.After(now.Add(coordinator.PaceBurst*pace)) {
		return now
	}
	return a.state.Paced
}

// millis returns d in whole milliseconds, at least so many.
func millis(d time.Duration, least int64) time.Duration {
	return time.Duration(max(d.Milliseconds(), least)) * time.Millisecond
}
