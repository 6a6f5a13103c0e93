package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// waiter is a call that waits for a record.
type waiter struct {
	after   Fence           // it waits for a usable record newer than this
	reason  Reason          // ReasonMissing: any will do; a demanded one: have it fetched
	askedBy string          // see WithCaller
	log     context.Context // see logContext
	patient bool            // errors do not end the wait, but the end of its context or of the account

	began bool // the fields below are set
	at    instant
	reads uint32 // readings of the store when the wait began
	seq   uint32 // outcomes when the wait began
	held  Fence  // what was held when the wait began
}

// step is what a waiter does next: it ends with a record or an error, or it waits.
type step struct {
	record *held
	err    error

	follow bool          // follow the account's notifications first
	round  bool          // start a round
	wait   time.Duration // for a change, 0: for as long as it takes
}

const (
	// subscribeGrace is how long a waiter waits for the first subscription
	// before it reads the store without: one reading instead of two.
	subscribeGrace = 300 * time.Millisecond
	// waitingPoll is how often a waiter has the store read again although
	// nothing was notified.
	waitingPoll = 2 * time.Second
)

// next decides what w does now, and has v begin a round if it takes one. ended is why its context ended, nil while it has
// not. following: it hears the account's notifications.
func (w *waiter) next(v *view, ended error, following bool, e env) step {
	if !w.began {
		w.began, w.at, w.reads, w.seq, w.held = true, e.now, v.reads, v.peek().outcome.seq, v.generation()
	}
	if e.storeKnown && w.after > v.generation() && !w.after.Credible(e.storeNow) {
		w.after = 0 // the store's clock has gone back: what it hands out from then on is older by number
	}
	h, err := w.answer(v, e)
	if h != nil || err != nil && (!w.patient || v.removed) {
		return step{record: h, err: err}
	}
	if ended != nil {
		return step{err: w.noToken(v, ended, e)}
	}
	if w.reason.Demanded() {
		v.edit().demand.merge(demand{reason: w.reason, seen: w.after, askedBy: w.askedBy, log: w.log}, e)
	}
	next := w.pursue(v, err != nil, e)
	// Without Run a waiter subscribes once the store turned out to have nothing.
	next.follow = !following && !next.round && !e.running && v.reads > w.reads && !v.inRound
	if next.round {
		v.roundStarted()
	}
	return next
}

// answer returns how the wait ends, nothing if it goes on.
func (w *waiter) answer(v *view, e env) (*held, error) {
	usable := v.usable(e)
	if v.removed {
		return nil, fmt.Errorf("%w: %q was removed", ErrUnknownAccount, e.account)
	}
	if e.running && e.down != nil && errors.Is(e.down.err, ErrDenied) && !usable {
		return nil, e.down.err // it takes an operator
	}
	// What is known is current: followed, or read since the wait began.
	current := e.running || v.reads > w.reads && !v.inRound || v.generation() > w.held
	if current && usable && v.held.Generation > w.after {
		return v.held, nil
	}
	if e.hopeless && (!usable || w.reason.Demanded()) {
		return nil, e.blocked
	}
	if current && w.reason == ReasonRejected {
		if refused := v.refused(e); refused != nil {
			return nil, refused
		}
	}
	var err error // how a round ended since, or shortly before and takes an operator
	if o := v.peek().outcome; o.seq != w.seq || current && e.now < o.pause && o.pause == v.pauseUntil {
		err = o.err
	}
	if held := v.peek().heldUntil; w.reason.Demanded() && e.now < held {
		return nil, e.throttled(LimitInterval, held)
	}
	if none := w.nothingToPresent(v, e); none != nil {
		return nil, none
	}
	if w.reason.Demanded() { // a forced refresh passes over a standing refusal
		return nil, err
	}
	unreachable := errors.Is(err, ErrUnreachable)
	if usable {
		if unreachable && !e.running && v.held.Generation > w.after {
			return v.held, nil // better an old token than none
		}
		return nil, nil
	}
	if current {
		if unusable := v.peek().fault.waits(e); unusable != nil {
			return nil, unusable
		}
		if refused := v.refused(e); refused != nil {
			return nil, refused
		}
		if limited := v.limited(e); limited != nil {
			return nil, limited
		}
	}
	if unreachable && e.running && !errors.Is(err, ErrDenied) || isA[*FetchError](err) || isA[*ParentError](err) && errors.Is(err, ErrNoToken) {
		return nil, nil // the schedule, or the waiter, tries again
	}
	return nil, err
}

// nothingToPresent returns why a demand, or a call that has no token, waits in vain: no
// token of the grant may be presented soon. While one is presented, the answer is waited
// for as long as a call takes.
func (w *waiter) nothingToPresent(v *view, e env) error {
	_, why := v.presentable(e)
	switch {
	case why == nil:
		return nil
	case !w.reason.Demanded():
		if why.Condition == GrantNone || why.Condition == GrantDead {
			return why
		}
		return nil
	case why.Condition == GrantPresented && e.now < w.at+instant(e.cfg.FetchTimeout):
		return nil
	}
	return why
}

// noToken returns the error of a wait whose context ended.
func (w *waiter) noToken(v *view, ended error, e env) error {
	unread := !e.running && v.reads == w.reads
	if w.reason == ReasonMissing && v.usable(e) && (!unread || w.after >= v.generation()) {
		return ended // it waited for a newer one
	}
	return &noTokenError{account: e.account, cause: v.cause(e), ended: ended, reader: !e.refresher(), unread: unread}
}

// cause returns why there is no token, nil if that is not known.
func (v *view) cause(e env) error {
	switch {
	case e.down != nil:
		return e.down.err
	case e.blocked != nil:
		return e.blocked
	}
	if _, why := v.presentable(e); why != nil {
		return why
	}
	if v.failure != nil && v.failure.InARow > 0 && v.binds(v.failure, e) {
		return failureError(e.account, v.failure, time.Duration(v.retryAt-e.now))
	}
	return v.peek().outcome.err
}

// pursue decides whether w needs a round now, and how long it waits otherwise,
// changes apart. failed: w is patient, and what it waits for has failed.
func (w *waiter) pursue(v *view, failed bool, e env) step {
	if v.inRound || e.stopping { // a Run that ends wakes all who still wait
		return step{wait: waitingPoll}
	}
	if e.down.pauses(e.wall) {
		return step{wait: e.down.until.Sub(e.wall)}
	}
	unread := v.reads == w.reads
	if left := w.at + instant(subscribeGrace) - e.now; e.running && !e.connected && unread && left > 0 {
		return step{wait: time.Duration(left)}
	}
	if again := max(v.peek().polledAt, w.at) + instant(waitingPoll); failed && !e.running && !unread {
		if e.now < again {
			return step{wait: time.Duration(again - e.now)}
		}
		v.edit().polledAt = e.now
	}
	reason := v.due(e)
	allowed := v.allowed(reason, e)
	switch followed := e.running && e.connected && v.reads > 0; {
	case v.readDue, unread && !followed:
	case !e.running && e.now >= max(v.peek().polledAt, w.at)+instant(waitingPoll):
		v.edit().polledAt = e.now
	case reason == "" && followed && w.isWoken(v, e):
		return step{}
	case reason == "", e.blocked != nil:
		return step{wait: waitingPoll}
	case e.now < allowed:
		return step{wait: min(time.Duration(allowed-e.now), waitingPoll)}
	}
	return step{round: true, wait: waitingPoll}
}

// isWoken reports whether all that may end the wait wakes w, while notifications flow: the
// schedule sees to the account, and wakes w when the token ends. A timer for each of many
// that wait for the next token costs more than the rest of the wait.
func (w *waiter) isWoken(v *view, e env) bool {
	return !w.reason.Demanded() && v.usable(e) && v.grant == nil && e.blocked == nil
}

// lacking returns whether waiting for a token of the account is pointless, and why it
// has none.
func (v *view) lacking(e env) (pointless bool, cause error) {
	w := waiter{reason: ReasonMissing, seq: v.peek().outcome.seq}
	if _, err := w.answer(v, e); err != nil {
		return true, err
	}
	if cause = v.cause(e); cause == nil {
		cause = ErrNoToken
	}
	return false, cause
}
