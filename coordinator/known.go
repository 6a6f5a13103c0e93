package coordinator

import "time"

// known is what an account's process knows of the store besides the record,
// on this machine's clock.
type known struct {
	lastRead  instant
	nextPoll  instant // read again then although nothing was notified
	open      attempts
	failure   *Failure // the last one, also when it is over
	retryAt   instant  // nobody asks on schedule before it
	notBefore instant  // somebody else is at it until then
	throttled instant  // the store has said that a limit forbids it until then

	err       error   // why the store's data cannot be used
	errTold   instant // when the log said so last
	barred    Fence   // the generation of a record that cannot be used: nothing older may be
	replaces  Fence   // our attempt that replaces it
	replaceAt instant // it is not replaced before

	holder     string
	callsToday int32
	conflicts  int32
	asked      uint16 // how often lookDue was set; see absorbLocked
	lookDue    bool   // the store must be read: something may have been missed
	restore    bool   // the store has lost what we hold
}

// demand is a refresh that somebody asked for and that is not done yet.
type demand struct {
	reason    Reason
	seen      Fence   // to be replaced
	askedBy   string  // see WithCaller
	expires   instant // whoever still waits renews it
	notBefore instant // the minimum interval
}

const (
	// takeOverSpread keeps those who wait for the same deadline apart.
	takeOverSpread = 200 * time.Millisecond
	// lateGrace is how long a process that nothing Runs in leaves a scheduled
	// refresh to those who do.
	lateGrace = 30 * time.Second
	// replaceEvery is how often a process replaces a record that it cannot
	// use. Two that cannot open each other's would refresh all the time.
	replaceEvery = 5 * time.Minute
	// wantedPause is the least between two readings that messages on wanted ask for.
	wantedPause = 200 * time.Millisecond
)

// readAgain has the store read.
func (k *known) readAgain() {
	k.lookDue = true
	k.asked++
}

// asked returns what absorbLocked is to be given of a reading that begins now.
func (a *Account) asked() uint16 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known.asked
}

// absorbLocked takes in a reading of the store that began when asked was asked
// for. If another one has been asked for since, for example because the
// subscription began meanwhile, this one does not answer that. missed: it shows
// what should have been notified.
func (a *Account) absorbLocked(s State, asked uint16) (missed bool) {
	now := time.Now()
	a.c.storeClock.set(s.Now, a.c.instant(now))
	a.disownLocked(s)
	fresh := a.held == nil || s.Record.Generation > a.held.Generation
	missed = fresh && s.Record.Usable() && a.c.connected.Load() && !a.known.lookDue && a.looks > 0
	if missed {
		a.c.observe(Observation{Kind: Missed, Account: a.name})
	}
	a.looks++
	k := &a.known
	k.lastRead = a.c.instant(now)
	k.lookDue = k.lookDue && k.asked != asked
	k.nextPoll = a.c.instant(a.c.schedule.pollAfter(now))
	k.callsToday, k.conflicts, k.holder = int32(s.CallsToday), int32(s.Conflicts), s.Holder
	k.notBefore = 0
	deadlines := s.deadlines(a.c.instant(now))
	k.open.read(s.Fence, deadlines)
	for _, at := range deadlines {
		if at > a.c.instant(now) {
			k.notBefore = at + instant(randUpTo(takeOverSpread))
		}
	}
	if s.Holder != "" && s.HolderTTL <= MaxAhead && !s.Record.Usable() {
		// To try the lock would tell no more.
		k.notBefore = max(k.notBefore, a.c.instant(now.Add(s.HolderTTL+randUpTo(takeOverSpread))))
	}
	a.setFailureLocked(s.Failure, s.Now, now)
	a.setErrLocked(s, now)
	if s.Record.Usable() && s.Record.credible(s.Now) {
		a.installLocked(s.Record, now)
	}
	k.restore = a.cfg.Source != nil && a.usableLocked(now) && s.Record.Generation < a.held.Generation && s.Fence <= a.held.Generation
	a.settledLocked(now)
	return missed
}

// hearLocked takes in a notification. It is a hint, and anybody with the right to
// publish can send one: what no store can have told has the store read, and
// nothing else.
func (a *Account) hearLocked(e Event) {
	now := time.Now()
	k := &a.known
	if !a.c.believes(e, now) {
		k.readAgain()
		a.settledLocked(now)
		return
	}
	switch e.Kind {
	case EventRefreshed, EventRestored:
		k.open.committed(e.Fence)
		if e.Record.Generation >= k.barred {
			k.err, k.barred = nil, 0
		}
		k.notBefore, k.retryAt, k.throttled = 0, 0, 0
		a.c.refreshedElsewhere()
		if k.failure != nil && k.failure.InARow > 0 {
			over := *k.failure
			over.InARow = 0
			k.failure = &over
		}
		if e.Record.Usable() {
			a.installLocked(e.Record, now)
		}
	case EventFailed:
		k.open.closed(e.Fence)
		k.notBefore = 0
		if e.Failure != nil {
			if e.Failure.Kind == FailedUnknown {
				k.open.open(openAttempt{fence: e.Fence, at: a.c.instant(now)})
			}
			a.setFailureLocked(e.Failure, e.Failure.RetryAt.Add(-e.RetryIn), now)
			if e.Fence != a.outcome.fence { // not the echo of our own
				a.endLocked(failureError(a.name, e.Failure, e.RetryIn), e.Fence)
			}
		}
	case EventThrottled:
		if a.demandedLocked(now) && a.demand.reason == e.Reason {
			a.throttledLocked(&ThrottledError{Limit: e.Limit, RetryIn: e.RetryIn, Until: now.Add(e.RetryIn)}, e.Reason, now)
		}
	case EventBegun:
		at := a.c.instant(now.Add(e.RetryIn))
		k.open.begun(e.Fence, at, a.c.instant(now))
		k.notBefore = at + instant(randUpTo(takeOverSpread))
	case EventWanted:
		a.wantedLocked(e.Want, now)
	}
	a.settledLocked(now)
}

// believes reports whether the store can have told e now. Before the first reading
// it is not known what time it is there.
func (c *Coordinator) believes(e Event, now time.Time) bool {
	if e.Kind == EventWanted || e.Kind == EventThrottled {
		return true // they name nothing that is taken over
	}
	store, known := c.storeClock.at(c.instant(now))
	switch {
	case !known || !e.Fence.Credible(store):
		return false
	case e.Kind == EventRefreshed || e.Kind == EventRestored:
		return e.Record.credible(store)
	case e.Kind == EventBegun:
		return e.RetryIn <= MaxAhead
	}
	return true
}

// wantedLocked answers a process without a source. Of what it says it wants
// replaced only the record that is held is: whoever names a newer one may know
// more, so the store is read, and the reader comes again.
func (a *Account) wantedLocked(w WantRequest, now time.Time) {
	switch generation := a.generationLocked(); {
	case a.cfg.Source == nil, w.Reason.Demanded() && generation > w.Seen:
		return
	case w.Reason.Demanded() && generation == w.Seen:
		a.demandLocked(demand{reason: w.Reason, seen: w.Seen, askedBy: w.AskedBy}, now)
		return
	}
	// Do what the store, not the reader, shows to be due; but a reader that
	// repeats itself does not make us read all the time.
	a.known.readAgain()
	a.known.notBefore = max(a.known.notBefore, a.known.lastRead+instant(wantedPause))
}

// disownLocked lets go of a record whose generation is not credible any more:
// the store's clock has gone back by more than a day, and what it hands out from
// now on is older by number.
func (a *Account) disownLocked(s State) {
	if a.held == nil || a.held.Generation.Credible(s.Now) {
		return
	}
	a.c.log.Error("the store's clock has gone back by more than a day: the token in memory is given up",
		"account", a.name, "generation", a.held.Generation, "store_clock", s.Now)
	a.held = nil
}

// setErrLocked takes over what is wrong with the store's data, and says so.
func (a *Account) setErrLocked(s State, now time.Time) {
	k := &a.known
	if s.Err == nil || k.err == nil || k.err.Error() != s.Err.Error() {
		k.errTold = 0
	}
	k.err, k.barred = s.Err, 0
	if s.Err == nil {
		return
	}
	if !s.Record.Usable() {
		k.barred = s.Record.Generation
	}
	k.nextPoll = a.oddLocked(now)
	a.complainLocked(s.Err, now)
}

// complainLocked says at once, and each minute again, what only a person can
// mend.
func (a *Account) complainLocked(err error, now time.Time) {
	k := &a.known
	if k.errTold != 0 && a.c.instant(now) < k.errTold+instant(remindEvery) {
		return
	}
	k.errTold = a.c.instant(now)
	a.c.log.Error("the account's data in the store cannot be used", "account", a.name, "error", err)
}

// unusableLocked returns why there is no usable token though the store has one,
// and nothing is done about it by now; nil if there is no such cause.
func (a *Account) unusableLocked(now time.Time) error {
	if a.cfg.Source == nil || a.c.instant(now) < a.known.replaceAt {
		return a.known.err
	}
	return nil
}

// settledLocked follows every change: what is shown, who is woken, when the
// schedule looks again.
func (a *Account) settledLocked(now time.Time) {
	follows := !a.removed && a.c.running.Load()
	if follows && a.usableLocked(now) {
		a.showLocked(a.held)
	} else {
		a.showLocked(nil)
	}
	// As soon as there is something to be seen: they need not wait for the lock
	// to see it, and everything below is in no hurry.
	if a.tellsLocked(now) {
		a.broadcastLocked()
	}
	if follows {
		a.c.schedule.at(a, a.wakeLocked(now))
	}
}

// tellsLocked reports whether a change may concern somebody who waits. While
// there is no token and nothing has ended or failed it does not, as long as the
// schedule itself sees to what is due: to wake a hundred goroutines for each
// step on the way to the first token costs more than the steps.
func (a *Account) tellsLocked(now time.Time) bool {
	news := a.outcome.seq != a.told
	a.told = a.outcome.seq
	return news || a.removed || a.cfg.Source == nil || !a.c.running.Load() || a.usableLocked(now) || a.known.failure != nil
}

// installLocked takes a record over unless it is older than what is held: a
// generation never goes backwards in one process.
func (a *Account) installLocked(r Record, now time.Time) {
	if h := a.held; h != nil && (r.Generation < h.Generation || r.Generation == h.Generation && h.slept == a.c.slept.Load()) {
		return
	}
	every := a.everyLocked()
	refreshIn := r.refreshIn(every)
	r.TTL = min(r.TTL, r.Lifetime()-Margin(r.Lifetime())) // it is more only if the store's clock went back
	a.held = &held{
		Record:    r,
		slept:     a.c.slept.Load(),
		until:     a.c.instant(now.Add(r.TTL)),
		refreshAt: a.c.instant(now.Add(refreshIn + spread(every))),
	}
	if a.demand.reason != "" && r.Generation > a.demand.seen {
		a.demand = demand{}
	}
}

// setFailureLocked takes over what the store says of failures. storeNow is
// the store's clock at now.
func (a *Account) setFailureLocked(f *Failure, storeNow, now time.Time) {
	a.known.failure = f
	a.known.retryAt = 0
	if !f.standing(storeNow) {
		return
	}
	if f.Kind == FailedRefused && a.cfg.Source != nil && f.Credential != credential(a.cfg.Source) {
		return // somebody else's credential was refused, not ours
	}
	a.known.retryAt = a.c.instant(now.Add(f.RetryAt.Sub(storeNow)))
}

// refusedLocked returns the standing refusal for which waiting is pointless,
// nil if there is none.
func (a *Account) refusedLocked(now time.Time) error {
	f := a.known.failure
	if f == nil || a.c.instant(now) >= a.known.retryAt {
		return nil
	}
	retryIn := time.Duration(a.known.retryAt - a.c.instant(now))
	if f.Kind == FailedRefused || f.Kind == FailedLater && retryIn > laterRetry {
		return failureError(a.name, f, retryIn)
	}
	return nil
}

func (a *Account) usableLocked(now time.Time) bool {
	return a.held != nil && a.c.instant(now) < a.held.until && a.held.Generation >= a.known.barred
}

func (a *Account) everyLocked() time.Duration {
	if a.cfg.differs == nil {
		return a.c.cfg.RefreshEvery
	}
	return or(a.cfg.differs.RefreshEvery, a.c.cfg.RefreshEvery)
}

func (a *Account) limitsLocked() Limits {
	if a.cfg.differs == nil {
		return a.c.cfg.Limits
	}
	return a.cfg.differs.Limits.or(a.c.cfg.Limits)
}

// demandLocked asks for a record newer than asked.seen. Demands merge: the
// newest record asked for serves all of them.
func (a *Account) demandLocked(asked demand, now time.Time) {
	d := &a.demand
	if a.c.instant(now) >= d.expires {
		*d = demand{} // nobody waits for it any more
	}
	if d.reason == "" || asked.seen > d.seen || asked.reason == ReasonForced && asked.seen == d.seen {
		if d.reason != asked.reason || d.askedBy == "" {
			d.askedBy = asked.askedBy
		}
		d.reason, d.seen = asked.reason, max(asked.seen, d.seen)
	}
	d.expires = a.c.instant(now.Add(a.c.cfg.FetchTimeout + a.c.cfg.LockTTL))
}

// dueLocked returns why a refresh is due, "" if none is. What is due without
// anybody asking is not a reader's business while it has a token.
func (a *Account) dueLocked(now time.Time) Reason {
	demanded, refresher := a.demandedLocked(now), a.cfg.Source != nil
	switch {
	case demanded && a.c.instant(now) >= a.demand.notBefore:
		return a.demand.reason
	case !a.usableLocked(now):
		return ReasonMissing
	case refresher && a.known.open.overdue(a.c.instant(now)):
		return ReasonOverdue
	case refresher && a.lateLocked(now):
		return ReasonSchedule
	case demanded: // waits for the minimum interval, as nothing else does
		return a.demand.reason
	}
	return ""
}

// askedByLocked returns who asked for a refresh for the reason, "" if nobody did.
func (a *Account) askedByLocked(reason Reason) string {
	if !reason.Demanded() {
		return ""
	}
	return a.demand.askedBy
}

// demandedLocked reports whether somebody waits for a demanded refresh.
func (a *Account) demandedLocked(now time.Time) bool {
	return a.demand.reason != "" && a.c.instant(now) < a.demand.expires
}

// lateLocked reports whether the schedule wants a refresh. There must be a
// token.
func (a *Account) lateLocked(now time.Time) bool {
	late := a.c.instant(now) - a.held.refreshAt
	return a.c.running.Load() && late >= 0 || late >= instant(lateGrace)
}

// allowedLocked returns when what is due may be done.
func (a *Account) allowedLocked(reason Reason) time.Time {
	at := a.known.notBefore
	if reason.Demanded() {
		at = max(at, a.demand.notBefore)
	}
	if reason != ReasonForced {
		at = max(at, a.known.retryAt)
	}
	if !reason.Demanded() {
		at = max(at, a.known.throttled)
	}
	if reason == ReasonMissing && a.known.err != nil {
		at = max(at, a.known.replaceAt)
	}
	return a.c.time(at)
}

// wakeLocked returns when the schedule has to look at the account again.
func (a *Account) wakeLocked(now time.Time) time.Time {
	if a.known.lookDue || a.known.restore {
		return later(now, a.c.time(a.known.notBefore))
	}
	wake := a.known.nextPoll
	if a.usableLocked(now) {
		wake = min(wake, a.held.until)
	}
	if a.cfg.Source == nil {
		return a.c.time(wake)
	}
	if a.demandedLocked(now) {
		wake = min(wake, a.c.instant(later(now, a.allowedLocked(a.demand.reason))))
	}
	if reason := a.dueLocked(now); reason != "" && !reason.Demanded() {
		return earlier(a.c.time(wake), later(now, a.allowedLocked(reason)))
	}
	if at, ok := a.known.open.next(); ok {
		wake = min(wake, max(at, a.c.instant(a.allowedLocked(ReasonOverdue))))
	}
	if a.usableLocked(now) {
		wake = min(wake, max(a.held.refreshAt, a.c.instant(a.allowedLocked(ReasonSchedule))))
	}
	return a.c.time(wake)
}
