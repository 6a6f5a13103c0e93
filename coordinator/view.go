package coordinator

import (
	"errors"
	"time"
)

// view is what a process knows of one account and has to do for it. It is a state
// machine without surroundings: transitions (in this file) change it and return
// their effects, decisions (due.go, waiter.go) read it. It has no lock, asks no
// clock and calls nothing; what it needs besides comes in an env. An Account
// guards it and carries the effects out.
type view struct {
	held *held // the newest record known, kept beyond its end to restore it

	readAt   instant // the last reading of the store
	nextRead instant // the store is read again then though no notification came
	polledAt instant // when waiters had the store read last, without Run

	retryAt    instant // end of the back-off after failure
	limitUntil instant // a limit, as the store said, forbids scheduled refreshes until then
	busyUntil  instant // another process is refreshing until then
	pauseUntil instant // this process waits until then before it tries again

	attempts attempts
	failure  *Failure // the last one, also when it is over

	dataErr       error   // why the store's data cannot be used
	dataErrLogged instant // when the log last said so
	barred        Fence   // the generation of a record that cannot be used; nothing older may be served
	replacing     Fence   // our attempt to replace it
	replaceAt     instant // it is not replaced before

	demand  demand
	outcome outcome
	told    uint32 // the outcome.seq that waiters have been woken for

	holder     string
	callsToday int32
	conflicts  int32
	reads      uint32 // readings of the store so far
	readSeq    uint16 // how often readDue was set; see stateRead
	readDue    bool   // the store must be read: something may have been missed
	lost       bool   // the store has lost the record that is held
	inRound    bool   // a goroutine is looking after the account
	removed    bool
}

// held is a record with what follows from it on this machine's clock.
type held struct {
	Record
	slept     int64   // the clock's count of sleep when it was read
	until     instant // it is withdrawn then
	refreshAt instant // the schedule wants a new one then
}

// demand is a refresh that a caller demanded and that is not done yet.
type demand struct {
	reason    Reason  // "": there is none
	seen      Fence   // the generation to replace
	askedBy   string  // see WithCaller
	expires   instant // callers that still wait renew it
	allowedAt instant // the minimum interval ends then
}

// outcome is how the last round, or an attempt that was notified, ended.
type outcome struct {
	seq   uint32
	err   error
	fence Fence // of the attempt; 0: there was none
}

// env is what a view needs of its surroundings, at one moment.
type env struct {
	cfg     *Config // with defaults
	account string
	every   time.Duration // the account's RefreshEvery
	limits  Limits        // the account's
	source  Source        // nil: this process is a reader

	wall  time.Time
	now   instant
	slept int64   // the clock's count of sleep
	roll  float64 // random, in [0, 1)

	storeNow   time.Time // the store's clock
	storeKnown bool      // it has been read

	running   bool    // Run keeps the account right: memory may be trusted
	connected bool    // notifications flow
	stopping  bool    // Run is ending
	down      *outage // the store could not be asked last time
}

func (e env) refresher() bool { return e.source != nil }

// upTo returns a random duration in [0, d).
func (e env) upTo(d time.Duration) instant { return instant(e.roll * float64(max(d, 0))) }

// jitter returns d with up to a tenth more or less.
func (e env) jitter(d time.Duration) instant { return instant(d-d/10) + e.upTo(d/5) }

// effects are what a transition leaves to be done, the first three by the
// account under its lock and in this order, the others after it.
type effects struct {
	serve      bool // served is what Token returns from now on; nil: it has to wait
	served     *held
	broadcast  bool // waiters look again
	reschedule bool // the schedule looks at the account at wake
	wake       instant

	missed    bool   // a newer record was found that no notification had told of
	lost      bool   // the store turned out to have lost its data
	refreshed bool   // another process has refreshed
	expired   Fence  // the record of this generation is no longer served
	disowned  *State // the held record cannot be of this store's clock
	complaint error  // why the store's data cannot be used, for the log
}

const (
	// takeOverSpread keeps processes that wait for the same deadline apart.
	takeOverSpread = 200 * time.Millisecond
	// lateGrace is how long a process without Run leaves a scheduled refresh
	// to those with it.
	lateGrace = 30 * time.Second
	// replaceEvery is the least time between two replacements of unusable
	// records by one process. Two processes that cannot open each other's
	// would refresh without end.
	replaceEvery = 5 * time.Minute
	// wantedPause is the least time between two readings that messages on
	// wanted cause.
	wantedPause = 200 * time.Millisecond
	// pollGrid is what polls are aligned to, so that many are read at once.
	pollGrid = 250 * time.Millisecond
)

// read has the store read.
func (v *view) read() {
	v.readDue = true
	v.readSeq++
}

// busy leaves the account to another process.
func (v *view) busy(until instant) { v.busyUntil, v.pauseUntil = until, 0 }

// pause leaves the account alone.
func (v *view) pause(until instant) { v.busyUntil, v.pauseUntil = 0, until }

// end ends what waiters wait for.
func (v *view) end(err error, attempt Fence) {
	v.demand = demand{}
	v.outcome = outcome{seq: v.outcome.seq + 1, err: err, fence: attempt}
}

// stateRead takes in a reading of the store that began when readSeq was seq. If
// another reading has been asked for since, for example because the subscription
// began meanwhile, this one does not answer that.
func (v *view) stateRead(s State, seq uint16, e env) (fx effects) {
	if v.held != nil && !v.held.Generation.Credible(s.Now) {
		// The store's clock has gone back by more than a day: what it hands
		// out from now on is older by number.
		fx.disowned, v.held = &s, nil
	}
	newer := v.held == nil || s.Record.Generation > v.held.Generation
	fx.missed = newer && s.Record.Usable() && e.connected && !v.readDue && v.reads > 0
	v.reads++
	v.readAt = e.now
	v.readDue = v.readDue && v.readSeq != seq
	v.nextRead = e.now + e.jitter(e.cfg.PollEvery)
	v.nextRead -= v.nextRead % instant(pollGrid)
	v.callsToday, v.conflicts, v.holder = int32(s.CallsToday), int32(s.Conflicts), s.Holder
	v.readAttempts(s, e)
	v.setFailure(s.Failure, s.Now, e)
	fx.complaint = v.setDataErr(s, e)
	if s.Record.Usable() && s.Record.credible(s.Now) {
		v.install(s.Record, e)
	}
	lost := e.refresher() && v.usable(e) && s.Record.Generation < v.held.Generation && s.Fence <= v.held.Generation
	fx.lost, v.lost = lost && !v.lost, lost
	return v.changed(fx, e)
}

// readAttempts takes over who is refreshing, as a reading shows it.
func (v *view) readAttempts(s State, e env) {
	v.busy(0)
	deadlines := s.deadlines(e.now)
	v.attempts.read(s.Fence, deadlines)
	for _, at := range deadlines {
		if at > e.now {
			v.busyUntil = at + e.upTo(takeOverSpread)
		}
	}
	if s.Holder != "" && s.HolderTTL <= MaxAhead && !s.Record.Usable() {
		// To try the lock would tell no more.
		v.busyUntil = max(v.busyUntil, e.now+instant(s.HolderTTL)+e.upTo(takeOverSpread))
	}
}

// eventHeard takes in a notification. It is a hint, and any client with the right
// to publish can send one: what no store can have told only has the store read.
func (v *view) eventHeard(n Event, e env) (fx effects) {
	if !n.credible(e) {
		v.read()
		return v.changed(fx, e)
	}
	switch n.Kind {
	case EventRefreshed, EventRestored:
		fx.refreshed = true
		v.refreshHeard(n, e)
	case EventFailed:
		v.failureHeard(n, e)
	case EventThrottled:
		if v.demanded(e) && v.demand.reason == n.Reason {
			v.throttled(&ThrottledError{Limit: n.Limit, RetryIn: n.RetryIn, Until: e.wall.Add(n.RetryIn)}, n.Reason, e)
		}
	case EventBegun:
		at := e.now + instant(n.RetryIn)
		v.attempts.begun(n.Fence, at, e.now)
		v.busy(at + e.upTo(takeOverSpread))
	case EventWanted:
		v.wanted(n.Want, e)
	}
	return v.changed(fx, e)
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
	v.attempts.committed(n.Fence)
	if n.Record.Generation >= v.barred {
		v.dataErr, v.barred = nil, 0
	}
	v.busy(0)
	v.retryAt, v.limitUntil = 0, 0
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
	if n.Fence != v.outcome.fence { // not the echo of our own
		v.end(failureError(e.account, n.Failure, n.RetryIn), n.Fence)
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
		v.demandRefresh(demand{reason: w.Reason, seen: w.Seen, askedBy: w.AskedBy}, e)
		return
	}
	// The store, not the reader, says what is due. A reader that repeats itself
	// does not make this process read all the time.
	v.read()
	v.pauseUntil = max(v.pauseUntil, v.readAt+instant(wantedPause))
}

// demandRefresh asks for a record newer than d.seen. Demands merge: the newest
// record that is asked for serves all of them.
func (v *view) demandRefresh(d demand, e env) {
	if e.now >= v.demand.expires {
		v.demand = demand{} // its callers have gone
	}
	was := &v.demand
	if was.reason == "" || d.seen > was.seen || d.reason == ReasonForced && d.seen == was.seen {
		if was.reason != d.reason || was.askedBy == "" {
			was.askedBy = d.askedBy
		}
		was.reason, was.seen = d.reason, max(d.seen, was.seen)
	}
	was.expires = e.now + instant(e.cfg.FetchTimeout+e.cfg.LockTTL)
}

// install takes a record over unless it is older than what is held: a generation
// never goes backwards in one process.
func (v *view) install(r Record, e env) {
	if h := v.held; h != nil && (r.Generation < h.Generation || r.Generation == h.Generation && h.slept == e.slept) {
		return
	}
	refreshIn := r.refreshIn(e.every)
	r.TTL = min(r.TTL, r.Lifetime()-Margin(r.Lifetime())) // it is more only if the store's clock went back
	v.held = &held{
		Record:    r,
		slept:     e.slept,
		until:     e.now + instant(r.TTL),
		refreshAt: e.now + instant(refreshIn) + e.upTo(spread(e.every)),
	}
	if v.demand.reason != "" && r.Generation > v.demand.seen {
		v.demand = demand{}
	}
}

// setFailure takes over what the store says of failures. storeNow is the store's
// clock now.
func (v *view) setFailure(f *Failure, storeNow time.Time, e env) {
	v.failure, v.retryAt = f, 0
	if !f.standing(storeNow) {
		return
	}
	if f.Kind == FailedRefused && e.refresher() && f.Credential != credential(e.source) {
		return // another credential was refused, not ours
	}
	v.retryAt = e.now + instant(f.RetryAt.Sub(storeNow))
}

// setDataErr takes over what is wrong with the store's data, and returns it if it
// is to be logged.
func (v *view) setDataErr(s State, e env) (complaint error) {
	if s.Err == nil || v.dataErr == nil || v.dataErr.Error() != s.Err.Error() {
		v.dataErrLogged = 0
	}
	v.dataErr, v.barred = s.Err, 0
	if s.Err == nil {
		return nil
	}
	if !s.Record.Usable() {
		v.barred = s.Record.Generation
	}
	v.nextRead = v.dataRetry(e)
	return v.complain(s.Err, e)
}

// dataRetry is when an account is tried again after an error that concerns it
// alone and needs an operator.
func (v *view) dataRetry(e env) instant { return e.now + e.jitter(e.cfg.PollEvery/10) }

// complain returns err at once and each minute again.
func (v *view) complain(err error, e env) error {
	if v.dataErrLogged != 0 && e.now < v.dataErrLogged+instant(remindEvery) {
		return nil
	}
	v.dataErrLogged = e.now
	return err
}

// readFailed keeps what is known and tries again.
func (v *view) readFailed(err error, e env) (fx effects) {
	if errors.Is(err, ErrUnreachable) || errors.Is(err, ErrDenied) { // which is said for all accounts
		return effects{reschedule: true, wake: e.now + e.jitter(outagePause), broadcast: true}
	}
	v.pause(v.dataRetry(e))
	v.nextRead = v.pauseUntil
	v.end(err, 0)
	fx.complaint = v.complain(err, e)
	return v.changed(fx, e)
}

// readSoon has the account read, whoever else is refreshing it.
func (v *view) readSoon(e env) effects {
	v.read()
	v.busy(0)
	return effects{broadcast: v.concernsWaiters(e), reschedule: true, wake: e.now}
}

// readBy has the account read within grace.
func (v *view) readBy(grace time.Duration, e env) effects {
	v.read()
	return effects{reschedule: true, wake: e.now + instant(grace)}
}

// sourceReplaced forgets limits that may not concern the new source.
func (v *view) sourceReplaced(e env) effects {
	v.limitUntil = 0
	v.read()
	return effects{broadcast: true, reschedule: !v.removed, wake: e.now}
}

// roundStarted notes that a goroutine looks after the account.
func (v *view) roundStarted() { v.inRound = true }

// roundEnded takes in how a round ended. stopped: because Run did.
func (v *view) roundEnded(err error, stopped bool, e env) (fx effects) {
	v.inRound = false
	var locked *LockedError
	switch {
	case err == nil, errors.Is(err, errRecorded), stopped: // a stopping Run concerns no waiter
	case errors.As(err, &locked):
		v.busy(e.now + instant(locked.RetryIn) + e.upTo(takeOverSpread))
	case errors.Is(err, ErrSuperseded):
		v.read()
	default:
		if !errors.Is(err, ErrUnreachable) { // for which the whole schedule pauses
			v.pause(v.dataRetry(e))
			if !errors.Is(err, ErrDenied) { // which is said for all accounts
				fx.complaint = v.complain(err, e)
			}
		}
		v.end(err, 0)
	}
	return v.changed(fx, e)
}

// wantSent leaves refreshers time to answer.
func (v *view) wantSent(e env) { v.pause(e.now + e.jitter(wantEvery)) }

// begun notes an attempt of this process.
func (v *view) begun(a Attempt, e env) {
	v.callsToday = int32(a.CallsToday)
	v.attempts.begun(a.Fence, e.now+instant(e.cfg.LockTTL), e.now)
	if v.dataErr != nil {
		v.replacing = a.Fence
	}
}

// overtaken takes over the newer record that Begin found. The rest of the state
// changed with it.
func (v *view) overtaken(r Record, e env) {
	v.install(r, e)
	v.read()
}

// throttled takes in that a limit forbade a refresh for the reason. A demand ends,
// or waits for the minimum interval. An unknown back-off has the store read; then
// it is honoured like any other.
func (v *view) throttled(t *ThrottledError, reason Reason, e env) {
	switch {
	case !reason.Demanded():
		// Asked again now and then: what the limit counts may have been repaired.
		v.limitUntil = e.now + min(instant(t.RetryIn), e.jitter(e.cfg.PollEvery))
		if t.Limit == LimitBackOff {
			v.read()
			return
		}
	case t.RetryIn <= e.limits.MinInterval && v.demanded(e):
		v.demand.allowedAt = e.now + instant(t.RetryIn)
		return
	}
	v.end(t, 0)
}

// unstored takes over a token that could not be stored yet.
func (v *view) unstored(r Record, e env) effects {
	v.install(r, e)
	return v.changed(effects{}, e)
}

// committed takes over what this process stored.
func (v *view) committed(r Record, attempt Fence, e env) effects {
	v.install(r, e)
	if v.replacing == attempt { // dataErr may be gone: our own notification was faster
		v.replaceAt = e.now + e.jitter(replaceEvery)
	}
	v.dataErr, v.barred = nil, 0
	v.attempts.committed(attempt)
	v.busy(0)
	v.retryAt, v.limitUntil = 0, 0
	v.lost = false
	return v.changed(effects{}, e)
}

// failed takes over a failure of this process' attempt. recorded: the store has
// it; if not, the attempt gets overdue by itself.
func (v *view) failed(f Failure, retryIn time.Duration, attempt Fence, recorded bool, e env) {
	f.At, f.RetryAt = e.wall, e.wall.Add(retryIn)
	v.setFailure(&f, e.wall, e)
	v.end(failureError(e.account, &f, retryIn), attempt)
	if f.Kind == FailedUnknown || !recorded {
		v.read()
	} else {
		v.attempts.closed(attempt)
	}
}

// restored takes in that the store was given back what it had lost. done is false
// if it has something newer, or gets it soon.
func (v *view) restored(done bool, e env) {
	v.lost = false
	if !done {
		v.read()
		v.busy(e.now + instant(takeOverSpread))
	}
}

// withdrawn stops serving from memory: Run has ended, or the account is removed.
func (v *view) withdrawn() effects { return effects{serve: true, broadcast: true} }

// dropped is the end of the account in this process.
func (v *view) dropped() effects {
	v.removed = true
	return v.withdrawn()
}

// expire withdraws a record that has ended.
func (v *view) expire(served *held, e env) effects {
	if served == nil || v.usable(e) {
		return effects{}
	}
	fx := v.withdrawn()
	fx.expired = served.Generation
	return fx
}

// changed adds what follows every change: what is served, who is woken, when the
// schedule looks again.
func (v *view) changed(fx effects, e env) effects {
	follows := !v.removed && e.running
	fx.serve = true
	if follows && v.usable(e) {
		fx.served = v.held
	}
	fx.broadcast = v.concernsWaiters(e)
	if follows {
		fx.reschedule, fx.wake = true, v.wake(e)
	}
	return fx
}

// concernsWaiters reports whether waiters must look again. While there is no token
// and nothing has ended or failed they need not, as long as the schedule sees to
// what is due: to wake a hundred goroutines for each step on the way to the first
// token costs more than the steps.
func (v *view) concernsWaiters(e env) bool {
	news := v.outcome.seq != v.told
	v.told = v.outcome.seq
	return news || v.removed || !e.refresher() || !e.running || v.usable(e) || v.failure != nil
}
