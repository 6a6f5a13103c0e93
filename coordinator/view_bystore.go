package coordinator

import (
	"errors"
	"time"
)

// This file has the transitions of a view by what the store says.

// asked is what was known when a reading of the store began. The reading can only
// be judged by that: what came later, the store may have got after the reading.
type asked struct {
	seq     uint16 // readSeq
	locks   uint16
	held    Fence    // the generation held, 0: none
	fed     uint32   // the feed's cursor, taken before; 0: there was none
	failure *Failure // the last one
}

// asked returns it for a reading that begins now, without the feed's cursor.
func (v *view) asked() asked {
	return asked{seq: v.readSeq, locks: v.locks, held: v.generation(), failure: v.failure}
}

// stateRead takes in a reading of the store. If another reading has been asked for
// since it began, for example because the subscription began meanwhile, this one
// does not answer that.
func (v *view) stateRead(s State, began asked, e env) (fx effects) {
	if v.held != nil && !v.held.Generation.Credible(s.Now) {
		// The store's clock has gone back by more than a day: what it hands
		// out from now on is older by number.
		disowned := s // not &s: that would cost each reading an allocation
		fx.disowned, v.held = &disowned, nil
		if v.rare != nil {
			v.rare.demand = demand{} // who still waits demands anew what replaces it
		}
	}
	fx.missed = v.notNotified(s, e)
	v.reads++
	v.readAt = e.now
	v.readDue = v.readDue && v.readSeq != began.seq
	v.covered, v.again = began.fed, false
	v.callsToday = int32(s.CallsToday)
	v.lockSeen(s.Holder, s.Conflicts)
	v.readAttempts(s, began, e)
	e.storeNow, e.storeKnown = s.Now, true
	v.grantRead(s.Grant, e)
	v.readFailure(s, began, e)
	if s.Err != nil || v.rare != nil {
		fx.complaint = v.edit().fault.set(s, e)
	}
	if s.Err != nil {
		v.nextRead = faultRetryAt(e)
	}
	if s.Record.Usable() && s.Record.credible(s.Now) {
		if v.heardLate(s.Record, e) {
			v.take(s.Record, e)
		}
		v.install(s.Record, e)
	}
	fx.lost = v.judgeLoss(s, began, e)
	fx.refreshed = v.hearEarly(s, e)
	return v.changed(fx, e)
}

// judgeLoss decides whether the store has lost the record that is held, and reports
// whether that is news.
func (v *view) judgeLoss(s State, began asked, e env) bool {
	missing := e.refresher() && v.usable(e) && s.Record.Generation < v.held.Generation
	overtaken := missing && s.Fence > v.held.Generation // by an attempt that may have brought a newer token
	if overtaken {
		v.edit().unrestorable = v.held.Generation
	} else if v.rare != nil {
		v.rare.unrestorable = 0
	}
	if !missing || overtaken {
		v.lost = false
		return false
	}
	if began.held < v.held.Generation {
		// The record that is held came after the reading began, which tells nothing
		// of it. But if the one before is missing, this one may be as well.
		if s.Record.Generation < began.held {
			v.read()
		}
		return false
	}
	news := !v.lost
	v.lost = true
	return news
}

// notNotified plans the next reading, and reports whether a notification of a newer
// record was lost. A reading may overtake the notification of what it finds, so that
// is decided only by another reading, a moment later.
func (v *view) notNotified(s State, e env) (missed bool) {
	if v.unheard && e.now < v.nextRead && e.connected && !v.readDue {
		return false // too early to tell
	}
	missed = v.unheard && e.connected && !v.readDue
	newer := s.Record.Generation > v.generation()
	v.unheard = newer && !missed && s.Record.Usable() && e.connected && !v.readDue && v.reads > 0
	if v.unheard {
		v.nextRead = e.now + instant(notifiedWithin)
		return false
	}
	v.poll(e)
	return missed
}

// poll plans the next reading that nothing else asks for.
func (v *view) poll(e env) {
	v.nextRead = e.now + e.jitter(e.cfg.PollEvery)
	v.nextRead -= v.nextRead % instant(pollGrid)
}

// readAttempts takes over who is refreshing, as a reading shows it.
func (v *view) readAttempts(s State, began asked, e env) {
	v.busy(0)
	deadlines, settles := s.deadlines(e.now), Fence(0)
	if len(deadlines) == 1 && max(s.Record.Generation, began.held) < s.Fence {
		// It is the newest attempt, or the newest has failed. The newest's token settles
		// it, and may have been heard of since the reading began.
		settles = s.Fence
		if v.generation() == settles {
			deadlines = nil
		}
	}
	v.attempts.read(s.Fence, deadlines, settles)
	for _, at := range deadlines {
		if at > e.now {
			v.busyUntil = at + e.upTo(takeOverSpread)
		}
	}
	own := v.locks%2 == 1 || v.locks != began.locks // the lock that it shows may be this process'
	if s.Holder != "" && !own && s.HolderTTL <= MaxAhead && !s.Record.Usable() {
		// To try the lock would tell no more.
		v.busyUntil = max(v.busyUntil, e.now+instant(s.HolderTTL)+e.upTo(takeOverSpread))
	}
}

// eventHeard takes in a notification. It is a hint, and any client with the right
// to publish can send one: what no store can have told only has the store read.
func (v *view) eventHeard(n Event, e env) (fx effects) {
	switch {
	case !e.storeKnown && v.keepsEarly(n, e):
		return fx
	case !n.credible(e):
		v.read()
	case n.Kind == EventGrant && n.Grant != nil:
		return v.grantHeard(*n.Grant, e)
	default:
		fx.refreshed = n.Kind == EventRefreshed || n.Kind == EventRestored
		v.hear(n, e)
	}
	return v.changed(fx, e)
}

// hear takes over what a credible notification tells.
func (v *view) hear(n Event, e env) {
	switch n.Kind {
	case EventRefreshed, EventRestored:
		v.refreshHeard(n, e)
	case EventFailed:
		v.failureHeard(n, e)
	case EventThrottled:
		if d := v.peek().demand; d.active(e) && d.reason == n.Reason {
			v.throttled(&ThrottledError{Limit: n.Limit, RetryIn: n.RetryIn, Until: e.wall.Add(n.RetryIn)}, n.Reason, e)
		}
	case EventBegun:
		at := e.now + instant(n.RetryIn)
		v.attempts.begun(n.Fence, at, e.now)
		v.busy(at + e.upTo(takeOverSpread))
	case EventWanted:
		v.wanted(n.Want, e)
	}
}

// credible reports whether the store can have told n now. Before the first reading
// the store's clock is not known.
func (n Event) credible(e env) bool {
	switch {
	case n.Kind == EventWanted, n.Kind == EventThrottled:
		return true // they name nothing that is taken over
	case !e.storeKnown, !n.Fence.Credible(e.storeNow):
		return false
	case n.Kind == EventRefreshed, n.Kind == EventRestored:
		return n.Record.credible(e.storeNow)
	case n.Kind == EventBegun:
		return n.RetryIn <= MaxAhead
	}
	return true
}

func (v *view) refreshHeard(n Event, e env) {
	if n.Kind == EventRefreshed {
		v.attempts.committed(n.Fence)
	} else if v.attempts.restored(n.Fence) {
		v.read()
	}
	if v.rare != nil {
		v.rare.fault.replacedBy(n.Record.Generation)
	}
	v.busy(0)
	if v.unheard && n.Record.Generation >= v.generation() {
		v.unheard = false
		v.poll(e)
	}
	v.unlimited()
	if v.failure != nil && v.failure.InARow > 0 {
		over := *v.failure
		over.InARow = 0
		v.failure = &over
	}
	if n.Record.Usable() {
		v.install(n.Record, e)
	}
}

func (v *view) failureHeard(n Event, e env) {
	v.attempts.closed(n.Fence)
	v.busy(0)
	if n.Failure == nil {
		return
	}
	if n.Failure.Kind == FailedUnknown {
		v.attempts.open(openAttempt{fence: n.Fence, at: e.now})
	}
	v.setFailure(n.Failure, n.Failure.RetryAt.Add(-n.RetryIn), e)
	if n.Fence != v.peek().outcome.fence && v.binds(n.Failure, e) { // not the echo of our own
		v.end(failureError(e.account, n.Failure, n.RetryIn), n.Fence)
		v.edit().standBack = e.upTo(takeOverSpread / 2)
	}
}

// wanted answers a reader. It can have the record replaced that is held; if it
// names a newer one it may know more, so the store is read, and the reader asks
// again.
func (v *view) wanted(w WantRequest, e env) {
	switch generation := v.generation(); {
	case !e.refresher(), w.Reason.Demanded() && generation > w.Seen:
		return
	case w.Reason.Demanded() && generation == w.Seen:
		v.edit().demand.merge(demand{reason: w.Reason, seen: w.Seen, askedBy: w.AskedBy}, e)
		return
	}
	// The store, not the reader, says what is due, after what another process does.
	// A reader that repeats itself does not make this process read all the time.
	v.read()
	v.pauseUntil = max(v.pauseUntil, v.busyUntil, v.readAt+instant(wantedPause))
}

// install takes a record over unless it is older than what is held: a generation
// never goes backwards in one process.
func (v *view) install(r Record, e env) {
	if h := v.held; h != nil && (r.Generation < h.Generation || r.Generation == h.Generation && h.slept == e.slept) {
		return
	}
	v.take(r, e)
}

// heardLate reports whether a reading shows that the record that is held ends earlier than
// was told of it: it was taken in late, because this process was stopped. To be late only
// makes now + TTL later, so the earliest that is told is right. Notifications do not count:
// anyone can send one.
func (v *view) heardLate(r Record, e env) bool {
	const slack = instant(time.Second) // for what a message and its answer take
	return v.held != nil && r.Generation == v.held.Generation && e.now+instant(r.TTL)+slack < v.held.until
}

// take takes a record over.
func (v *view) take(r Record, e env) {
	v.lost = v.lost && r.Generation == v.generation()
	refreshIn := r.replacedIn(e.refreshAge(r.Lifetime()))
	r.TTL = min(r.TTL, r.Lifetime()-Margin(r.Lifetime())) // it is more only if the store's clock went back
	v.held = hold(r, e.now, e.slept)
	v.held.refreshAt = e.now + instant(refreshIn) + e.upTo(spread(e.every))
	if max(v.held.refreshAt, e.now) < v.peek().refused.until {
		v.held.refreshAt += instant(lateGrace) // another host is asked first
	}
	if d := v.peek().demand; d.reason != "" && r.Generation > d.seen {
		v.rare.demand = demand{}
	}
}

// readFailure takes over what a reading shows of failures. If it does not show what was
// heard of a failure, or of its end, since it began, it may be older, and what was heard
// stands until the next reading.
func (v *view) readFailure(s State, began asked, e env) {
	if v.failure != began.failure && !v.failure.shownBy(s.Failure) {
		v.read()
		return
	}
	v.setFailure(s.Failure, s.Now, e)
}

// setFailure takes over what the store says of failures. storeNow is the store's
// clock now.
func (v *view) setFailure(f *Failure, storeNow time.Time, e env) {
	v.failure, v.retryAt = f, 0
	if !f.standing(storeNow) {
		return
	}
	if until := v.peek().refused.until; until > e.now { // what other hosts meet does not end it
		v.retryAt = until
	}
	if !v.binds(f, e) {
		return
	}
	v.retryAt = max(v.retryAt, e.now+instant(f.RetryAt.Sub(storeNow)))
	if f.refuses() && f.Credential == v.here(e) {
		v.edit().refused = refusedHere{until: v.retryAt, inARow: f.InARow}
	}
}

// binds reports whether a failure concerns this process: not if another credential was refused,
// and not ours.
func (v *view) binds(f *Failure, e env) bool {
	return f.Kind != FailedRefused || !e.refresher() || f.Credential == v.credential(e)
}

// readFailed keeps what is known and tries again.
func (v *view) readFailed(err error, e env) (fx effects) {
	if errors.Is(err, ErrUnreachable) || errors.Is(err, ErrDenied) { // which is said for all accounts
		return effects{reschedule: true, wake: e.down.over(e), broadcast: true}
	}
	v.endFor(err, e)
	v.nextRead = v.pauseUntil
	fx.complaint = v.edit().fault.complain(err, e)
	return v.changed(fx, e)
}
