package coordinatortest

import (
	"errors"
	"slices"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// issuerDay is the time zone in which the issuer's day begins.
var issuerDay = time.FixedZone("UTC+8", 8*60*60)

// logCap is how many entries of the log are kept.
const logCap = 1000

// overdueCap is how many overdue attempts are kept, so that a source that never
// answers does not make the store grow.
const overdueCap = 100

// account is the store's data of one account. Its methods are the atomic steps
// of the protocol; they need the store's mu.
type account struct {
	record   coordinator.Record // TTL is not kept
	end      time.Time          // when record is withdrawn
	lock     lock
	attempts map[coordinator.Fence]time.Time // open ones and their deadlines
	fence    coordinator.Fence               // the newest handed out

	failure   *coordinator.Failure // the last; RetryAt and InARow are not kept in it
	failed    coordinator.Fence    // whose it was
	failures  int                  // in a row
	retryAt   time.Time
	demanded  time.Time
	paced     time.Time // up to when BeginRequest.Pace is used up
	conflicts int
	calls     map[string]int // by the issuer's day
	log       []LogEntry
}

// LogEntry is a line of an account's log. It never holds a token.
type LogEntry struct {
	Event   string // refreshed, failed, superseded, restored, reported, conflict
	At      time.Time
	By      string
	Reason  coordinator.Reason
	AskedBy string // see coordinator.WithCaller
	Fence   coordinator.Fence
	Took    time.Duration
	Kind    coordinator.FailureKind // failed
	Code    int                     // failed
	Message string                  // failed
}

// teller is what a step needs to know and to tell.
type teller struct {
	by      string
	now     time.Time
	publish func(coordinator.Event)
}

func newAccount() *account {
	return &account{
		attempts: make(map[coordinator.Fence]time.Time),
		calls:    make(map[string]int),
	}
}

// errAhead is what is wrong with a record of before the clock went back by more
// than a day.
var errAhead = errors.New("the record's generation lies more than a day ahead of the store's clock; the next refresh replaces it")

// stored is the record at this moment, the zero Record when there is none that
// can be used.
func (a *account) stored(now time.Time) coordinator.Record {
	if a.record.Generation == 0 || !now.Before(a.end) || !a.record.Generation.Credible(now) {
		return coordinator.Record{}
	}
	r := a.record
	r.TTL = a.end.Sub(now)
	return r
}

// credible returns f, or 0 if it orders nothing.
func credible(f coordinator.Fence, now time.Time) coordinator.Fence {
	if !f.Credible(now) {
		return 0
	}
	return f
}

func (a *account) state(name string, now time.Time) coordinator.State {
	s := coordinator.State{
		Account:    name,
		Now:        now,
		Record:     a.stored(now),
		Fence:      credible(a.fence, now),
		CallsToday: a.calls[day(now)],
		Conflicts:  a.conflicts,
	}
	if now.Before(a.end) && !a.record.Generation.Credible(now) {
		s.Err = errAhead
	}
	for _, deadline := range a.attempts {
		s.Open = append(s.Open, deadline)
	}
	slices.SortFunc(s.Open, time.Time.Compare)
	if a.failure != nil {
		failure := *a.failure
		failure.InARow, failure.RetryAt = a.failures, a.retryAt
		s.Failure = &failure
	}
	if a.lock.held(now) {
		s.Holder, s.HolderTTL = a.lock.holder, a.lock.end.Sub(now)
	}
	return s
}

func (a *account) begin(t teller, b coordinator.BeginRequest) (coordinator.Attempt, error) {
	b.Seen = credible(b.Seen, t.now)
	if r := a.stored(t.now); r.Generation > b.Seen {
		return coordinator.Attempt{Record: r}, nil
	}
	if limit, wait := a.throttle(t.now, b); limit != "" {
		if b.Reason.Demanded() {
			t.publish(coordinator.Event{
				Kind: coordinator.EventThrottled, Reason: b.Reason, Limit: limit, RetryIn: wait,
			})
		}
		return coordinator.Attempt{}, &coordinator.ThrottledError{
			Limit: limit, RetryIn: wait, Until: time.Now().Add(wait),
		}
	}

	attempt := coordinator.Attempt{
		// The clock keeps fences rising when all data was lost.
		Fence:    max(credible(a.fence, t.now)+1, b.Seen+1, coordinator.Fence(t.now.UnixMicro())),
		Failures: a.failures,
	}
	for fence, deadline := range a.attempts {
		if overdue(deadline, t.now) {
			attempt.Overdue = append(attempt.Overdue, fence)
		}
	}
	slices.Sort(attempt.Overdue)
	// One overdue attempt has the effect of a thousand.
	for ; len(attempt.Overdue) > overdueCap; attempt.Overdue = attempt.Overdue[1:] {
		delete(a.attempts, attempt.Overdue[0])
	}
	if b.Reason == coordinator.ReasonRejected {
		a.append(t, LogEntry{Event: "reported", Reason: b.Reason, AskedBy: b.AskedBy, Fence: attempt.Fence})
		// A current token that dies while no attempt is open was killed by
		// somebody who does not announce attempts here.
		generation := a.stored(t.now).Generation
		attempt.Conflict = generation > 0 && generation == b.Seen && len(a.attempts) == 0
		if attempt.Conflict {
			a.conflicts++
			a.append(t, LogEntry{Event: "conflict", Reason: b.Reason, AskedBy: b.AskedBy, Fence: attempt.Fence})
		}
	}
	if b.Reason.Demanded() {
		a.demanded = t.now
	} else if b.Pace > 0 {
		a.paced = a.pacedAt(t.now, b.Pace).Add(b.Pace)
	}
	a.fence = attempt.Fence
	a.attempts[attempt.Fence] = t.now.Add(b.TTL)
	a.count(t.now, 1)
	attempt.CallsToday = a.calls[day(t.now)]
	t.publish(coordinator.Event{
		Kind: coordinator.EventBegun, Reason: b.Reason, Fence: attempt.Fence, RetryIn: b.TTL,
	})
	return attempt, nil
}

// overdue reports whether an attempt with this deadline is. One that lies further
// ahead than it can was written before the clock went back.
func overdue(deadline, now time.Time) bool {
	return !deadline.After(now) || deadline.Sub(now) > coordinator.MaxAhead
}

// pacedAt returns up to when the brake on refreshes that nobody demands is used up
// (the generic cell rate algorithm). What lies further ahead than a burst was
// noted before the clock went back.
func (a *account) pacedAt(now time.Time, pace time.Duration) time.Time {
	if a.paced.Before(now) || a.paced.After(now.Add(coordinator.PaceBurst*pace)) {
		return now
	}
	return a.paced
}

// throttle returns the limit that forbids the begin longest and for how long,
// "" if none does.
func (a *account) throttle(now time.Time, b coordinator.BeginRequest) (limit coordinator.Limit, wait time.Duration) {
	holds := func(name coordinator.Limit, d time.Duration) {
		if d > wait {
			limit, wait = name, d
		}
	}
	if budget := b.Limits.PerDay; budget > 0 {
		if b.Reason.Demanded() {
			budget -= b.Limits.Reserve
		}
		if a.calls[day(now)] >= budget {
			holds(coordinator.LimitBudget, untilTomorrow(now))
		}
	}
	// What comes from the future was noted before the clock went back.
	if b.Reason.Demanded() && !a.demanded.IsZero() && !a.demanded.After(now) {
		holds(coordinator.LimitInterval, a.demanded.Add(b.Limits.MinInterval).Sub(now))
	}
	if b.Reason != coordinator.ReasonForced && a.failure != nil && a.failures > 0 &&
		!a.failure.At.After(now.Add(time.Second)) && a.binds(b.Credential) {
		if wait := a.retryAt.Sub(now); wait <= coordinator.MaxRetry {
			holds(coordinator.LimitBackOff, wait)
		}
	}
	if b.Pace > 0 && !b.Reason.Demanded() {
		holds(coordinator.LimitLoop, a.pacedAt(now, b.Pace).Sub(now)-(coordinator.PaceBurst-1)*b.Pace)
	}
	return limit, wait
}

// binds reports whether the last failure concerns those who ask with this
// credential.
func (a *account) binds(credential string) bool {
	return a.failure.Kind != coordinator.FailedRefused || a.failure.Credential == credential
}

func (a *account) commit(t teller, c coordinator.CommitRequest) (coordinator.Record, error) {
	fence := c.Attempt.Fence
	r := a.stored(t.now)
	if r.Generation == fence {
		return r, nil // carried out before
	}
	if c.Calls > 1 {
		a.count(t.now, c.Calls-1)
	}
	if credible(a.fence, t.now) > fence || r.Generation > fence || !fence.Credible(t.now) {
		a.attempts[fence] = t.now
		a.append(t, LogEntry{Event: "superseded", Reason: c.Reason, AskedBy: c.AskedBy, Fence: fence, Took: c.Took})
		return coordinator.Record{}, coordinator.ErrSuperseded
	}

	issued := t.now.Add(-c.Age).Truncate(time.Millisecond)
	a.record = coordinator.Record{
		Token:      c.Token,
		Generation: fence,
		IssuedAt:   issued,
		ExpiresAt:  issued.Add(c.Lifetime).Truncate(time.Millisecond),
		IssuedBy:   t.by,
	}
	if c.RefreshIn > 0 {
		a.record.RefreshAt = issued.Add(c.RefreshIn).Truncate(time.Millisecond)
	}
	a.end = t.now.Add(max(c.Lifetime-c.Age-coordinator.Margin(c.Lifetime), time.Millisecond))
	a.fence = fence
	delete(a.attempts, fence)
	for _, overdue := range c.Attempt.Overdue {
		delete(a.attempts, overdue)
	}
	a.failures, a.retryAt = 0, time.Time{}
	a.append(t, LogEntry{Event: "refreshed", Reason: c.Reason, AskedBy: c.AskedBy, Fence: fence, Took: c.Took})
	r = a.stored(t.now)
	t.publish(coordinator.Event{
		Kind: coordinator.EventRefreshed, Reason: c.Reason, Fence: fence, Record: r,
	})
	return r, nil
}

func (a *account) fail(t teller, f coordinator.FailRequest) {
	fence, generation := f.Attempt.Fence, a.stored(t.now).Generation
	if a.failed == fence || generation == fence {
		return // recorded before, or it has its token
	}
	if f.Failure.Kind == coordinator.FailedUnknown {
		a.attempts[fence] = t.now
	} else {
		delete(a.attempts, fence)
	}
	a.count(t.now, f.Calls-1)
	// What failed before the stored token was issued is told, but binds
	// nobody: the source has answered since.
	retryIn := time.Duration(0)
	if generation < fence {
		retryIn = f.RetryIn
		a.failures++
		a.retryAt = t.now.Add(retryIn).Truncate(time.Millisecond)
	}
	failure := f.Failure
	failure.At = t.now.Truncate(time.Millisecond)
	a.failure, a.failed = &failure, fence
	a.append(t, LogEntry{
		Event: "failed", Reason: f.Reason, AskedBy: f.AskedBy, Fence: fence, Took: f.Took,
		Kind: failure.Kind, Code: failure.Code, Message: failure.Message,
	})
	told := failure
	told.InARow, told.RetryAt = a.failures, t.now.Add(retryIn).Truncate(time.Millisecond)
	t.publish(coordinator.Event{
		Kind: coordinator.EventFailed, Reason: f.Reason, Fence: fence, Failure: &told, RetryIn: retryIn,
	})
}

func (a *account) restore(t teller, r coordinator.Record) coordinator.Record {
	if stored := a.stored(t.now); stored.Generation >= r.Generation {
		return stored
	}
	if credible(a.fence, t.now) > r.Generation || !r.Generation.Credible(t.now) || !r.Usable() || r.TTL > coordinator.MaxLifetime {
		return coordinator.Record{}
	}
	a.record, a.end = rebased(r, t.now), t.now.Add(r.TTL)
	a.fence = r.Generation
	a.append(t, LogEntry{Event: "restored", Fence: r.Generation})
	stored := a.stored(t.now)
	t.publish(coordinator.Event{Kind: coordinator.EventRestored, Fence: r.Generation, Record: stored})
	return stored
}

// rebased is a record whose instants fit the clock of the store it is put back
// into. They are of the clock of the store that lost it; where that differs by
// minutes, the life that is left is what counts.
func rebased(r coordinator.Record, now time.Time) coordinator.Record {
	margin := coordinator.Margin(r.Lifetime())
	gap := r.ExpiresAt.Sub(now) - r.TTL
	if gap.Abs() <= margin+5*time.Minute {
		return r
	}
	drift := margin - gap
	r.IssuedAt, r.ExpiresAt = r.IssuedAt.Add(drift), r.ExpiresAt.Add(drift)
	if !r.RefreshAt.IsZero() {
		r.RefreshAt = r.RefreshAt.Add(drift)
	}
	return r
}

// count corrects the calls of the day, never below none.
func (a *account) count(now time.Time, calls int) {
	today := day(now)
	a.calls[today] = max(0, a.calls[today]+calls)
}

func (a *account) append(t teller, e LogEntry) {
	e.At, e.By = t.now, t.by
	if len(a.log) >= logCap {
		a.log = slices.Delete(a.log, 0, len(a.log)-logCap+1)
	}
	a.log = append(a.log, e)
}

func day(now time.Time) string { return now.In(issuerDay).Format("20060102") }

func untilTomorrow(now time.Time) time.Duration {
	y, m, d := now.In(issuerDay).Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, issuerDay).Sub(now)
}
