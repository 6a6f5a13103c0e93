package coordinator

import (
	"errors"
	"time"
)

// This file has the transitions of a view by what this process does.

// readSoon has the account read at once, whatever this process waits for.
func (v *view) readSoon(e env) effects {
	v.read()
	v.pause(0)
	if v.grant != nil {
		v.grant.synced = false // the server may be another one
	}
	return effects{broadcast: v.concernsWaiters(e), reschedule: true, wake: e.now}
}

// pollAgain has the account read each PollEvery again: the feed does not tell its changes.
func (v *view) pollAgain(e env) effects {
	if v.nextRead <= e.now {
		v.nextRead = e.now + e.upTo(e.cfg.PollEvery*3/4)
	}
	return effects{reschedule: !v.removed && e.running, wake: v.wake(e)}
}

// readLater has the account read within PollEvery, once. The feed tells its changes, and
// what a notification has told of one is not everything that a reading shows.
func (v *view) readLater(e env) effects {
	v.again = true
	if v.nextRead <= e.now {
		v.poll(e)
	}
	return effects{reschedule: !v.removed && e.running, wake: v.wake(e)}
}

// readBy has the account read within grace.
func (v *view) readBy(grace time.Duration, e env) effects {
	v.read()
	return effects{reschedule: true, wake: e.now + instant(grace)}
}

// unfollowed has the account read, if it never was: it need not wait for the subscription
// any longer. Waiters look again, because nothing wakes them from now on.
func (v *view) unfollowed(e env) effects {
	return effects{broadcast: true, reschedule: v.reads == 0 && v.readDue && !v.removed, wake: e.now}
}

// reconfigured forgets limits that may not concern the new source or the new limits.
func (v *view) reconfigured(e env) effects {
	if v.rare != nil {
		v.rare.heldUntil, v.rare.demand.allowedAt = 0, 0
	}
	v.unlimited()
	v.read()
	return effects{broadcast: true, reschedule: !v.removed, wake: e.now}
}

// parentServed has the account looked at: its parent has a token now.
func (v *view) parentServed(e env) effects {
	return effects{broadcast: true, reschedule: !v.removed && e.running, wake: e.now}
}

// roundStarted notes that a goroutine looks after the account.
func (v *view) roundStarted() { v.inRound = true }

// roundEnded takes in how a round ended. stopped: because Run did.
func (v *view) roundEnded(err error, stopped bool, e env) (fx effects) {
	v.inRound = false
	var locked *LockedError
	switch {
	case err == nil, errors.Is(err, errRecorded), stopped: // a stopping Run concerns no waiter
	case isA[*ParentError](err):
		if !e.running { // else the parent wakes the account
			v.pause(e.now + e.jitter(wantEvery))
			v.end(err, 0)
		}
	case errors.As(err, &locked):
		v.busy(e.now + instant(locked.RetryIn) + e.upTo(takeOverSpread))
	case errors.Is(err, ErrSuperseded):
		v.read()
	case errors.Is(err, ErrUnreachable):
		v.end(err, 0) // the whole schedule pauses
	default:
		if !errors.Is(err, ErrDenied) { // which is said for all accounts
			fx.complaint = v.edit().fault.complain(err, e)
		}
		v.endFor(err, e)
	}
	return v.changed(fx, e)
}

// locksBegun notes that this process asks for the account's lock, and may have it from then
// on.
func (v *view) locksBegun() { v.locks++ }

// locksEnded notes that it has given the lock back, has left it to expire, or did not get it.
func (v *view) locksEnded() { v.locks++ }

// wantSent leaves refreshers time to answer.
func (v *view) wantSent(e env) { v.pause(e.now + e.jitter(wantEvery)) }

// begun notes an attempt of this process.
func (v *view) begun(a Attempt, e env) {
	v.callsToday = int32(a.CallsToday)
	if a.Conflict {
		v.edit().conflicts++ // until a reading tells the number
	}
	v.attempts.begun(a.Fence, e.now+instant(e.cfg.LockTTL), e.now)
	if v.rare != nil {
		v.rare.fault.begun(a.Fence)
	}
}

// overtaken takes over the record that Begin found. It is newer, or no attempt is overdue
// any more: the rest of the state has changed.
func (v *view) overtaken(r Record, e env) {
	v.install(r, e)
	v.read()
}

// throttled takes in that a limit forbade a refresh for the reason. A demand ends, or
// waits for the minimum interval. It does not wait where the issuer repeats its token: a
// second call would bring the same one. An unknown back-off has the store read; then it
// is honoured like any other.
func (v *view) throttled(t *ThrottledError, reason Reason, e env) {
	switch {
	case !reason.Demanded():
		// Asked again now and then: what the limit counts may have been repaired.
		r := v.edit()
		r.limit, r.limitEnds = t.Limit, e.now+instant(t.RetryIn)
		r.limitUntil = min(r.limitEnds, e.now+e.jitter(e.cfg.PollEvery))
		if t.Limit == LimitBackOff {
			v.read()
			return
		}
	case e.repeat == RepeatSame && t.Limit == LimitInterval && t.RetryIn <= e.limits.MinInterval:
		v.edit().heldUntil = e.now + instant(t.RetryIn)
	case t.RetryIn <= e.limits.MinInterval && v.peek().demand.active(e):
		v.rare.demand.allowedAt = e.now + instant(t.RetryIn)
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
	if v.rare != nil {
		v.rare.fault.committed(attempt, e)
		v.rare.refused = refusedHere{}
	}
	v.attempts.committed(attempt)
	v.busy(0)
	v.unlimited()
	v.lost = false
	return v.changed(effects{}, e)
}

// failed takes over a failure of this process' attempt. recorded: the store has
// it; if not, the attempt gets overdue by itself.
func (v *view) failed(f Failure, retryIn time.Duration, attempt Fence, recorded bool, e env) {
	f.At, f.RetryAt = e.wall, e.wall.Add(retryIn)
	if v.rare != nil {
		v.rare.refused = refusedHere{} // unless f says so again
	}
	v.setFailure(&f, e.wall, e)
	v.end(failureError(e.account, &f, retryIn), attempt)
	v.edit().standBack = instant(takeOverSpread) // what failed may be particular to this process, which may be the nearest to the store
	if f.Kind == FailedUnknown || !recorded {
		v.read()
	} else {
		v.attempts.closed(attempt)
	}
}

// restored takes in that the store was given back the record of this generation, which it
// had lost. done is false if it has something newer, or gets it soon.
func (v *view) restored(generation Fence, done bool, e env) {
	v.lost = false
	if !done {
		v.read()
		v.pause(e.now + instant(takeOverSpread))
	} else if v.attempts.restored(generation) {
		v.read()
	}
}

// withdrawn stops serving from memory: Run has ended, or the account is removed.
func (v *view) withdrawn() effects { return effects{serve: true, broadcast: true} }

// dropped is the end of the account in this process.
func (v *view) dropped() effects {
	v.removed = true
	return v.withdrawn()
}

// expire withdraws a record that has ended. If a newer one is held already, because the
// round that has found it has not ended yet, that is served.
func (v *view) expire(served *held, e env) effects {
	switch usable := v.usable(e); {
	case served == nil, usable && (served == v.held || e.now < served.until):
		return effects{}
	case usable:
		return v.changed(effects{}, e)
	}
	fx := v.withdrawn()
	fx.expired = served.Generation
	return fx
}
