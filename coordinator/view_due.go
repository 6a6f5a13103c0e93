package coordinator

import (
	"context"
	"time"
)

// This file decides what an account needs and when. Nothing here changes a view.

// usable reports whether the record that is held may be served.
func (v *view) usable(e env) bool {
	return v.held != nil && e.now < v.held.until && v.held.Generation >= v.peek().fault.barred
}

// generation returns that of the record that is held, 0 if there is none.
func (v *view) generation() Fence {
	if v.held == nil {
		return 0
	}
	return v.held.Generation
}

// seen returns the generation that a refresh replaces.
func (v *view) seen() Fence { return max(v.generation(), v.peek().demand.seen, v.peek().fault.barred) }

// record returns what is held with the TTL it has now, the zero Record if that is
// nothing.
func (v *view) record(e env) Record {
	if v.held == nil {
		return Record{}
	}
	r := v.held.record()
	r.TTL = time.Duration(v.held.until - e.now)
	return r
}

// due returns why a refresh is due, "" if none is. What is due without a demand is
// not a reader's business while it has a token.
func (v *view) due(e env) Reason {
	demand := v.peek().demand
	demanded := demand.active(e)
	switch {
	case demanded && e.now >= demand.allowedAt:
		return demand.reason
	case !v.usable(e), e.refresher() && v.unrestorable():
		return ReasonMissing
	case e.refresher() && v.overdue(e):
		return ReasonOverdue
	case e.refresher() && (v.late(e) || v.outdated(e)):
		return ReasonSchedule
	case demanded: // waits for the minimum interval, as nothing else does
		return demand.reason
	}
	return ""
}

// unrestorable reports whether the store has no record as new as the one that is held, and
// would not take that back. Processes that start have no token then, or an older one.
func (v *view) unrestorable() bool {
	generation := v.peek().unrestorable
	return generation != 0 && generation == v.generation()
}

// overdue reports whether an attempt is whose end matters.
func (v *view) overdue(e env) bool { return v.minds(e) && v.attempts.overdue(e.now) }

// minds reports whether it matters what became of an attempt: a call may have killed the
// token, or a token of the grant may be presented again only while its window is open. A
// grant that can be used up is not put at risk for less.
func (v *view) minds(e env) bool {
	if e.grant.usedUp() {
		return v.replaying(e)
	}
	return e.repeat == RepeatKills
}

// nextOverdue returns when the first of them is; ok is false for none.
func (v *view) nextOverdue(e env) (at instant, ok bool) {
	if !v.minds(e) {
		return 0, false
	}
	return v.attempts.next()
}

// late reports whether the schedule wants a refresh. There must be a record.
func (v *view) late(e env) bool {
	late := e.now - v.held.refreshAt
	return e.running && late >= 0 || late >= instant(lateGrace)
}

// allowed returns when what is due for the reason may be done.
func (v *view) allowed(reason Reason, e env) instant {
	at := max(v.busyUntil, v.pauseUntil)
	if presentable, why := v.presentable(e); why != nil {
		at = max(at, presentable)
	}
	if v.grant != nil {
		at = max(at, v.grant.settledAt)
	}
	if reason.Demanded() {
		at = max(at, v.peek().demand.allowedAt)
	} else {
		at = max(at, v.peek().limitUntil)
	}
	if reason != ReasonForced {
		at = max(at, v.retryAt+v.peek().standBack)
	}
	if f := v.peek().fault; reason == ReasonMissing && f.err != nil {
		at = max(at, f.replaceAt)
	}
	return at
}

// wake returns when the schedule has to look at the account again, but for the end of what
// is served, which [Account.carryOut] sees to.
func (v *view) wake(e env) instant {
	wake := v.nextReading(e)
	switch {
	case v.readDue: // also while another process is refreshing: what that brings may not be heard of
		return max(e.now, min(v.pauseUntil, wake))
	case v.lost: // it is not read later than it would be without
		return max(e.now, min(max(v.busyUntil, v.pauseUntil), wake))
	}
	reason := v.due(e)
	if !e.refresher() && !e.needed || reason != "" && e.blocked != nil {
		return wake // the parent wakes what is blocked
	}
	if d := v.peek().demand; d.active(e) {
		wake = min(wake, max(e.now, v.allowed(d.reason, e)))
	}
	if reason != "" && !reason.Demanded() {
		return min(wake, max(e.now, v.allowed(reason, e)))
	}
	if at, ok := v.nextOverdue(e); ok {
		wake = min(wake, max(at, v.allowed(ReasonOverdue, e)))
	}
	if v.usable(e) {
		wake = min(wake, max(v.held.refreshAt, v.allowed(ReasonSchedule, e)))
	}
	return wake
}

// nextReading returns when the account is read although nothing asks for it: each
// PollEvery, but what the feed covers when something is expected to have changed. A
// process of a version that records no changes may have changed it.
func (v *view) nextReading(e env) instant {
	if !v.changesTold(e) || v.unheard || v.again {
		return v.nextRead
	}
	expected := v.held.refreshAt
	if end, ok := v.attempts.next(); ok {
		expected = min(expected, end)
	}
	return max(v.nextRead, expected+instant(lateAfter))
}

// changesTold reports whether the feed tells each change since the last reading, and the account
// needs no other.
func (v *view) changesTold(e env) bool {
	return e.fed != 0 && v.covered == e.fed && v.usable(e) && v.peek().fault.err == nil && !v.lost && !v.unrestorable()
}

// resumes reports whether, after a reconnect, the account need not be read at once unless the
// feed tells of a change. It does if a caller waits.
func (v *view) resumes(e env) bool {
	return v.changesTold(e) && v.grant == nil && !v.peek().demand.active(e)
}

// trusted reports whether what is known is as good as a reading of the store. A
// reader without a token reads: it may be that no notification of one comes.
func (v *view) trusted(e env) bool {
	return e.running && e.connected && v.reads > 0 && !v.readDue &&
		!v.overdue(e) && !v.unrestorable() && (e.refresher() || v.usable(e))
}

// worthProbing reports whether a reading would tell more than is under way already.
func (v *view) worthProbing(e env) bool { return !v.inRound && !v.readDue && v.usable(e) }

// task is what the schedule does for an account.
type task int

const (
	taskNone      task = iota // nothing before wake
	taskRead                  // the store is to be read
	taskRound                 // a refresh, or a restore, is due
	taskElsewhere             // a round under way looks after it, or it is removed
)

// task returns what the schedule has to do for the account now.
func (v *view) task(e env) task {
	switch {
	case v.removed, v.inRound:
		return taskElsewhere
	case v.readDue, e.now >= v.nextReading(e):
		return taskRead
	case e.refresher() && v.lost, (e.refresher() || e.needed) && v.dueNow(e):
		return taskRound
	}
	return taskNone
}

func (v *view) dueNow(e env) bool {
	reason := v.due(e)
	return reason != "" && e.blocked == nil && e.now >= v.allowed(reason, e)
}

// locksNow reports whether something is to be done under the lock now.
func (v *view) locksNow(e env) bool { return v.lost || v.dueNow(e) }

// restores reports whether the next round puts back what the store has lost. It makes no call
// then. A demand has it replaced instead.
func (v *view) restores(e env) bool {
	return v.lost && e.refresher() && (!v.due(e).Demanded() || !v.dueNow(e))
}

// plan is what one round has to do.
type plan struct {
	reason  Reason // "": no refresh is due
	seen    Fence
	overdue Fence // for ReasonOverdue: see BeginRequest
	askedBy string
	log     context.Context // see logContext
	source  Source
	rules
	current  Record
	restores bool // the store has lost current, which is put back
	allowed  bool // what is due may be done now
	parent   bool // there are accounts whose parent this one is

	credential string // the fingerprint of what the source is asked with
	probe      bool   // the access token ends soon, or there is none
}

// plan returns what a round has to do now.
func (v *view) plan(e env) plan {
	p := plan{
		log: context.Background(), reason: v.due(e), seen: v.seen(), source: e.source, rules: e.rules, current: v.record(e), restores: v.restores(e), parent: e.children,
	}
	p.allowed = v.dueNow(e)
	p.credential, p.probe = v.credential(e), !v.usable(e) || e.now >= v.probeAt()
	if p.reason == ReasonOverdue {
		p.overdue = v.attempts.newestOverdue(e.now)
	}
	if p.reason.Demanded() {
		d := v.peek().demand
		p.askedBy = d.askedBy
		if d.log != nil {
			p.log = d.log
		}
	}
	return p
}

// refused returns the standing refusal, or quota of more than a minute, for which
// waiting is pointless; nil if there is none.
func (v *view) refused(e env) error {
	if v.failure == nil || e.now >= v.retryAt {
		return nil
	}
	retryIn := time.Duration(v.retryAt - e.now)
	if v.failure.Kind == FailedRefused || v.failure.Kind == FailedLater && retryIn > laterRetry {
		return failureError(e.account, v.failure, retryIn)
	}
	return nil
}

// limited returns the limit that stands, for which waiting is pointless; nil if there is none.
// Of a back-off refused says whether it is.
func (v *view) limited(e env) error {
	r := v.peek()
	if e.now >= r.limitUntil || r.limit == LimitBackOff {
		return nil
	}
	return e.throttled(r.limit, r.limitEnds)
}

// rejectable returns the generation to replace when a report of this token cannot
// be judged because the stored record cannot be used, and true if the token is the
// newest that this process could.
func (v *view) rejectable(t Token) (Fence, bool) {
	barred := v.peek().fault.barred
	return barred, v.held != nil && barred > v.held.Generation && v.held.token().Equal(t)
}

// status returns what is known of the account, for people.
func (v *view) status(e env) Status {
	s := Status{
		Name: e.account, Role: Reader, Limits: e.limits, Failure: v.failure.copied(),
		CallsToday: int(v.callsToday), Conflicts: v.peek().conflicts, OpenAttempts: len(v.attempts.all()),
		Holder: v.peek().holder, LastRead: v.reads > 0, Err: v.peek().fault.err, Parent: e.parent, Blocked: e.blocked,
		Grant: v.grantStatus(e),
	}
	if e.refresher() {
		s.Role = Refresher
	}
	at := func(i instant) time.Time { return e.wall.Add(time.Duration(i - e.now)).Round(0) }
	if v.retryAt != 0 {
		s.RetryAt = at(v.retryAt)
	}
	if v.held == nil {
		return s
	}
	s.Record = v.record(e)
	s.Record.TTL = max(s.Record.TTL, 0)
	next := v.held.refreshAt
	if at, why := v.presentable(e); why != nil {
		next = max(next, at)
	}
	if overdue, ok := v.nextOverdue(e); ok {
		next = min(next, overdue)
	}
	if e.refresher() && v.unrestorable() {
		next = max(v.allowed(ReasonMissing, e), e.now)
	}
	s.NextRefresh = at(max(next, v.retryAt))
	return s
}
