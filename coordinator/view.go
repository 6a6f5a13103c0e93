package coordinator

import "time"

// view is what a process knows of one account and has to do for it. It is a state
// machine without surroundings: transitions change it and return their effects,
// by what the store says (view_bystore.go, view_early.go) and by what this process
// does (view_byprocess.go); decisions (view_due.go, waiter.go) read it. It has no
// lock, asks no clock and calls nothing; what it needs besides comes in an env. An
// Account guards it and carries the effects out.
type view struct {
	held *held // the newest record known, kept beyond its end to restore it

	readAt   instant // the last reading of the store
	nextRead instant // the store is read again then though no notification came

	retryAt    instant // end of the back-off after failure
	busyUntil  instant // another process is refreshing until then
	pauseUntil instant // this process waits until then before it tries again

	attempts attempts
	failure  *Failure   // the last one, also when it is over
	grant    *grantView // nil: the account needs no grant, and has none
	rare     *rare      // read by peek, changed by edit; nil, mostly: nothing of it

	callsToday int32
	told       uint32 // the outcome.seq that waiters have been woken for
	reads      uint32 // readings of the store so far
	covered    uint32 // the feed's cursor at the last reading: it tells of every change since; 0: it had none
	readSeq    uint16 // how often readDue was set; see stateRead
	locks      uint16 // odd: this process may have the lock; changed whenever that does
	again      bool   // covered, and to be read at nextRead all the same
	readDue    bool   // the store must be read: something may have been missed
	lost       bool   // the store has lost the record that is held
	unheard    bool   // a reading found the record that is held; its notification has not come
	inRound    bool   // a goroutine is looking after the account
	removed    bool
}

// rare is what a view seldom has: most of many accounts never need it.
type rare struct {
	fault   fault
	demand  demand
	outcome outcome
	early   []earlyEvent // heard before the first reading

	refused    refusedHere
	standBack  instant // how much later than retryAt this process tries, so that others get their turn
	polledAt   instant // when waiters had the store read last, without Run
	heldUntil  instant // demands are refused until then, see RepeatSame
	limitUntil instant // a limit, as the store said, forbids scheduled refreshes until then
	limitEnds  instant // when it ends, as the store said
	limit      Limit   // which it is

	unrestorable Fence // the store does not have the record of this generation, or lost it, and would not take it

	holder    string // who has the lock
	conflicts int
}

// refusedHere is the last refusal of this host's address (see FetchError.Here).
type refusedHere struct {
	until  instant // this process does not call on schedule before
	inARow int     // the failures in a row then, of all processes
}

// outcome is how the last round, or an attempt that was notified, ended.
type outcome struct {
	seq   uint32
	err   error
	fence Fence // of the attempt; 0: there was none

	pause instant // the error concerns those who come later, too, while pauseUntil is this; 0: it does not
}

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
	astray    bool   // what is remembered of the grant has to be compared with the store
	alarm     *grantAlarm
}

const (
	// takeOverSpread keeps processes that wait for the same deadline apart.
	takeOverSpread = 200 * time.Millisecond
	// lateGrace is how long a process without Run leaves a scheduled refresh
	// to those with it.
	lateGrace = 30 * time.Second
	// wantedPause is the least time between two readings that messages on
	// wanted cause.
	wantedPause = 200 * time.Millisecond
	// wantEvery is how often a waiting reader calls for a refresher.
	wantEvery = time.Second
	// notifiedWithin is how much later than the reading that found a record its
	// notification may come.
	notifiedWithin = 200 * time.Millisecond
	// lateAfter is how long a change that is expected may be late before the store
	// is read: a process of a version that records no changes may have made it.
	lateAfter = 15 * time.Second
	// pollGrid is what polls are aligned to, so that many are read at once.
	pollGrid = 250 * time.Millisecond
)

// edit returns the rare part to be changed.
func (v *view) edit() *rare {
	if v.rare == nil {
		v.rare = new(rare)
	}
	return v.rare
}

// peek returns the rare part to be read, an empty one if there is none. It must not be
// changed.
func (v *view) peek() *rare {
	if v.rare == nil {
		return &noneRare
	}
	return v.rare
}

var noneRare rare // of all views that have none

// lockSeen takes in who has the lock, and how often another program was seen to fetch.
func (v *view) lockSeen(holder string, conflicts int) {
	if v.rare != nil || holder != "" || conflicts != 0 {
		r := v.edit()
		r.holder, r.conflicts = holder, conflicts
	}
}

// unlimited forgets what limits and failures forbid on schedule.
func (v *view) unlimited() {
	v.retryAt = 0
	if v.rare != nil {
		v.rare.limitUntil, v.rare.limitEnds, v.rare.limit, v.rare.standBack = 0, 0, "", 0
	}
}

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
	r := v.edit()
	r.demand = demand{}
	r.outcome = outcome{seq: r.outcome.seq + 1, err: err, fence: attempt}
}

// endFor is end with an error that concerns the account alone and needs an operator. Until it
// is tried again, those who come later have it at once as well.
func (v *view) endFor(err error, e env) {
	v.pause(faultRetryAt(e))
	v.end(err, 0)
	v.rare.outcome.pause = v.pauseUntil
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
	fx.astray = v.grantAstray(e)
	fx.alarm = v.grantAlarm(e)
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
	seq := v.peek().outcome.seq
	news := v.told != seq
	v.told = seq
	return news || v.removed || !e.refresher() || !e.running || v.usable(e) || v.failure != nil
}
