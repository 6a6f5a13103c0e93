package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// refresh is one refresh on its way through the protocol: lock, begin, fetch,
// commit or fail, unlock. The lock makes it cheap, the fence makes it correct;
// nothing below relies on the lock.
type refresh struct {
	plan
	parent       Record       // what the source needs of the parent
	presentation presentation // what it needs of the grant
	a            *Account
	c            *Coordinator
}

// run makes the refresh, unless another process holds the lock (*LockedError), a
// limit forbids it or the store may have lost the token (errRecorded), the store denies the
// grant, the store has a newer token already, or what was overdue is settled.
//
// The interleaving that Begin's look at the generation is for:
//
//  1. A and B see that a refresh is due.
//  2. A locks, fetches, commits, unlocks.
//  3. B, which was slow, locks: Begin shows it A's token.
func (r refresh) run(ctx context.Context) error {
	if err := r.notReady(ctx); err != nil {
		return err
	}
	return r.locked(ctx, func(x *extension) error {
		if err := x.ensure(ctx); err != nil {
			return r.notBegun(err)
		}
		began := r.c.now()
		attempt, err := r.begin(ctx, x)
		switch {
		case errors.Is(err, ErrLockLost):
			return r.notBegun(err)
		case errors.Is(err, ErrUnreachable):
			return x.leave(ctx, err)
		case err != nil || attempt.Fence == 0:
			return err
		}
		// The attempt is announced: from here on it is carried through,
		// although ctx may end. A token that is issued and never stored is
		// the worst outcome.
		stopping := ctx
		ctx, x.fence = context.WithoutCancel(ctx), attempt.Fence
		if r.grant.Needed {
			if err := r.present(ctx, began, attempt); err != nil {
				return r.notPresented(ctx, x, attempt, err)
			}
		}
		defer x.end()
		r.c.rounds.staged(unstaged, awaiting)
		result, sent, err := r.fetch(ctx, x)
		r.c.rounds.staged(awaiting, storing)
		defer r.c.rounds.staged(storing, unstaged)
		took := time.Duration(r.c.now() - sent)
		if err != nil {
			return r.fail(ctx, x, attempt, r.unanswered(asFetchError(err), result, attempt), took)
		}
		r.answered(result, attempt)
		if result.Doubt != "" {
			r.c.log.WarnContext(r.log, "the issuer's answer is odd: its token is used with care", "account", r.a.name, "odd", result.Doubt, "life_seconds", result.Lifetime.Seconds())
		}
		r.c.observe(Observation{Kind: Fetched, Account: r.a.name, Reason: r.reason, Took: took})
		c := CommitRequest{
			Attempt: attempt, Reason: r.reason, AskedBy: r.askedBy, Token: result.Token, Lifetime: result.Lifetime,
			RefreshIn: r.refreshIn(result), Took: took, Calls: result.Calls, Attributes: result.Attributes,
		}
		return r.commit(ctx, stopping, c, r.repeated(&c, sent, result.Doubt != ""))
	})
}

// notBegun leaves the account to the process that has the lock by now: an attempt of this
// one would supersede the other's, whose call may be under way.
func (r refresh) notBegun(err error) error {
	if errors.Is(err, ErrLockLost) {
		r.c.observe(Observation{Kind: LockTaken, Account: r.a.name})
		err = &LockedError{RetryIn: storeRetryFirst}
	}
	return fmt.Errorf("lock %q: %w", r.a.name, err)
}

// afterEnd is how long after the end of its token a source can want to be asked again. An
// issuer that repeats its token until the end is best asked just after it.
const afterEnd = time.Minute

// refreshIn is when the token is to be replaced: when the source asked for it, unless that is
// long after its end, else by the schedule of this process, unless many accounts come at once. It is
// stored, so that readers, whose configuration may differ, tell their callers the
// same.
func (r refresh) refreshIn(result FetchResult) time.Duration {
	every := r.refreshAge(result.Lifetime)
	if idle := r.idle(result); idle > 0 { // the grant has to be used before
		every = min(every, idle/4*3)
	}
	switch burst := r.c.smoother.count(r.a.name, time.Now(), int(r.c.count.Load()), every); {
	case result.RefreshIn > 0 && result.RefreshIn <= result.Lifetime+afterEnd:
		return result.RefreshIn
	case burst:
		return scatter(every)
	}
	return every
}

// restore puts back what the store lost.
func (r refresh) restore(ctx context.Context) error {
	return r.locked(ctx, func(*extension) error {
		r.c.wakeUp()
		var usable bool
		r.a.update(func(v *view, e env) {
			if usable, r.current.TTL = v.usable(e), v.record(e).TTL; !usable {
				v.lost = false // it has ended: it is to be replaced
			}
		})
		if !usable {
			return nil
		}
		stored, err := r.c.store.Restore(ctx, r.a.name, r.current)
		if err != nil {
			return fmt.Errorf("restore %q: %w", r.a.name, err)
		}
		done := stored.Generation == r.current.Generation
		r.a.update(func(v *view, e env) { v.restored(r.current.Generation, done, e) })
		if done {
			r.c.observe(Observation{Kind: Restored, Account: r.a.name})
			r.c.log.InfoContext(r.log, "token restored: the store had lost it", "account", r.a.name, "generation", r.current.Generation, "ttl_seconds", seconds(r.current.TTL))
		}
		return nil
	})
}

// tryLock asks for the account's lock once. It returns none if another process has done
// meanwhile what was due: in a fleet that starts at once all processes want all locks, and
// a store that has too much to do is asked only for what still needs doing when its turn
// has come.
func (r refresh) tryLock(ctx context.Context) (*extension, error) {
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	var due bool
	r.a.update(func(v *view, e env) {
		if due = v.locksNow(e); due {
			r.a.needless = cancel
		}
	})
	if !due {
		return nil, nil
	}
	x := &extension{c: r.c, account: r.a.name, log: r.log, since: r.c.now()}
	var err error
	x.lock, err = r.c.store.Lock(asking, r.a.name, r.c.cfg.LockTTL)
	r.a.update(func(*view, env) { r.a.needless = nil })
	if err == nil || isA[*LockedError](err) {
		r.c.reached(nil)
	}
	if err != nil && asking.Err() != nil && ctx.Err() == nil {
		return nil, nil
	}
	return x, err
}

// locked calls do with the account's lock held. The lock is released also when ctx
// has ended, within the time after which it expires by itself; it is left if do returns
// errOpen.
func (r refresh) locked(ctx context.Context, do func(*extension) error) (err error) {
	life := r.c.cfg.LockTTL
	r.a.update(func(v *view, _ env) { v.locksBegun() })
	defer r.a.update(func(v *view, _ env) { v.locksEnded() })
	x, err := r.tryLock(ctx)
	switch {
	case err != nil:
		if isA[*LockedError](err) {
			r.c.observe(Observation{Kind: LockTaken, Account: r.a.name})
		}
		r.c.tookRefresh(r.a.name, err)
		return fmt.Errorf("lock %q: %w", r.a.name, err)
	case x == nil:
		return nil
	}
	defer func() {
		if errors.Is(err, errOpen) {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), life)
		defer cancel()
		if err := x.lock.Unlock(ctx); err != nil {
			r.c.reached(err)
			r.c.log.WarnContext(r.log, "lock could not be released: it expires by itself", "account", r.a.name, "within_seconds", life.Seconds(), "error", err)
		}
	}()
	if err = do(x); err == nil {
		r.c.reached(nil)
	}
	r.c.tookRefresh(r.a.name, err)
	return err
}

// begin announces the attempt, unless the lock ends before that is sent: an attempt of a
// process without the lock would supersede that of the one that has it. A Fence of 0: it is
// not needed.
func (r refresh) begin(ctx context.Context, x *extension) (Attempt, error) {
	if x.mayHaveEnded(r.c.now()) {
		return Attempt{}, fmt.Errorf("%w: its life has passed", ErrLockLost)
	}
	ctx, cancel := context.WithDeadline(ctx, x.ends())
	defer cancel()
	attempt, err := r.c.store.Begin(ctx, r.a.name, BeginRequest{
		Seen: r.seen, Reason: r.reason, AskedBy: r.askedBy, TTL: r.c.cfg.LockTTL, Credential: r.credential, Limits: r.limits,
		Repeat: r.repeat, Overdue: r.overdue, Pace: pace(r.limits, r.every),
	})
	var throttled *ThrottledError
	switch {
	case errors.As(err, &throttled):
		r.c.observe(Observation{Kind: Throttled, Account: r.a.name, Reason: r.reason, Err: err})
		r.logThrottled(throttled)
		r.a.update(func(v *view, e env) { v.throttled(throttled, r.reason, e) })
		return attempt, errRecorded
	case err != nil:
		return attempt, fmt.Errorf("begin %q: %w", r.a.name, err)
	case attempt.Fence == 0:
		r.c.observe(Observation{Kind: Current, Account: r.a.name, Reason: r.reason})
		r.a.update(func(v *view, e env) { v.overtaken(attempt.Record, e) })
		return attempt, nil
	}
	r.a.update(func(v *view, e env) { v.begun(attempt, e) })
	if attempt.Conflict {
		r.c.observe(Observation{Kind: Conflicted, Account: r.a.name})
		r.c.log.ErrorContext(r.log, "CONFLICT: the issuer rejects a token that none of our calls replaced: "+
			"another program fetches tokens with the same secret. Find and stop it; each of its fetches kills our token",
			"account", r.a.name, "generation", r.seen)
	}
	return attempt, nil
}

func (r refresh) logThrottled(t *ThrottledError) {
	args := []any{"account", r.a.name, "reason", r.reason, "limit", t.Limit, "retry_in_seconds", seconds(t.RetryIn)}
	if t.Limit == LimitLoop {
		r.c.log.ErrorContext(r.log, "refreshes without a demand follow each other too fast: they are slowed down. "+
			"See the account's history for their reasons", args...)
		return
	}
	r.c.log.WarnContext(r.log, "refresh throttled", args...)
}

const (
	storeRetryFirst = 50 * time.Millisecond
	storeRetryMost  = 2 * time.Second
	// drainFor is how long a stopping process goes on trying to store a
	// token, and how long any process tries after an error that is not a
	// store out of reach.
	drainFor = 10 * time.Second
)

// commit stores the token and repeats that through every outage of the store
// for as long as the token lives: it exists, and no other process has it. While the
// store is away this process serves it. Its life counts from issued.
func (r refresh) commit(ctx, stopping context.Context, c CommitRequest, issued instant) error {
	var giveUp time.Time
	for wait := storeRetryFirst; ; wait = min(2*wait, storeRetryMost) {
		c.Age = time.Duration(r.c.now() - issued)
		flows := r.c.flows.Load()
		record, err := r.storeOnce(ctx, c)
		switch {
		case err == nil:
			r.committed(record, c)
			return nil
		case errors.Is(err, ErrSuperseded):
			r.c.observe(Observation{Kind: Superseded, Account: r.a.name, Reason: c.Reason})
			r.c.log.WarnContext(r.log, "token not stored: a newer attempt had begun; one more refresh follows",
				"account", r.a.name, "fence", c.Attempt.Fence)
			return fmt.Errorf("commit %q: %w", r.a.name, err)
		}
		r.c.reached(err)
		r.keep(c)
		if giveUp.IsZero() && (stopping.Err() != nil || !errors.Is(err, ErrUnreachable)) {
			giveUp = time.Now().Add(drainFor)
		}
		if c.Age >= c.Lifetime-Margin(c.Lifetime) || !giveUp.IsZero() && time.Now().After(giveUp) {
			r.c.log.ErrorContext(r.log, "token lost: it could not be stored", "account", r.a.name, "fence", c.Attempt.Fence, "error", err)
			return fmt.Errorf("commit %q: %w", r.a.name, err)
		}
		r.c.log.WarnContext(r.log, "token not stored yet: trying again", "account", r.a.name, "fence", c.Attempt.Fence, "error", err)
		if r.c.untilFlows(flows, wait) {
			wait = storeRetryFirst / 2
		}
	}
}

// storeOnce is one try of a commit, bounded also where the store's own
// time-outs are long.
func (r refresh) storeOnce(ctx context.Context, c CommitRequest) (Record, error) {
	ctx, cancel := context.WithTimeout(ctx, r.c.cfg.LockTTL)
	defer cancel()
	return r.c.store.Commit(ctx, r.a.name, c)
}

// keep takes over a token that the store does not have yet.
func (r refresh) keep(c CommitRequest) {
	issued := time.Now().Add(-c.Age).Round(0)
	record := Record{
		Token: c.Token, Generation: c.Attempt.Fence,
		IssuedAt: issued, ExpiresAt: issued.Add(c.Lifetime),
		RefreshAt: issued.Add(c.RefreshIn), Attributes: c.Attributes, Repeated: c.Repeated,
		TTL: c.Lifetime - c.Age - Margin(c.Lifetime),
	}
	r.a.apply(func(v *view, e env) effects { return v.unstored(record, e) })
}

func (r refresh) committed(stored Record, c CommitRequest) {
	r.c.observe(Observation{Kind: Committed, Account: r.a.name, Reason: c.Reason})
	r.c.log.InfoContext(r.log, "token refreshed", "account", r.a.name, "reason", c.Reason, "generation", stored.Generation,
		"ttl_seconds", seconds(stored.TTL), "took_seconds", seconds(c.Took), "calls_today", c.Attempt.CallsToday)
	r.a.apply(func(v *view, e env) effects { return v.committed(stored, c.Attempt.Fence, e) })
}

// fail records how an attempt ended without a token.
func (r refresh) fail(ctx context.Context, x *extension, attempt Attempt, cause error, took time.Duration) error {
	fetch := asFetchError(cause)
	var left time.Duration
	refusals := 1 // since the last one here, this one included
	r.a.update(func(v *view, e env) {
		left, r.credential = v.record(e).TTL, v.anywhere(e)
		if fetch.Here {
			r.credential = v.here(e)
			if last := v.peek().refused.inARow; last > 0 {
				refusals = attempt.Failures + 1 - last
			}
		}
	})
	if fetch.Kind == FailedGrant { // of a source that said that it needs none
		refused := *fetch
		refused.Kind = FailedRefused
		fetch = &refused
	}
	f := FailRequest{
		Attempt: attempt, Reason: r.reason, AskedBy: r.askedBy, Took: took, Calls: fetch.Calls,
		RetryIn: backoff(fetch.Kind, attempt.Failures+1, fetch.RetryIn, left),
		Failure: Failure{Kind: fetch.Kind, Code: fetch.Code, Message: fetch.Message, InARow: attempt.Failures + 1, Credential: r.credential},
	}
	if fetch.Here && fetch.RetryIn == 0 {
		f.RetryIn = min(f.RetryIn+amongRefused(refusals), MaxRetry)
	}
	if passes := fetch.Kind == FailedBusy || fetch.Kind == FailedUnknown; r.grant.Needed && !r.probe && passes && fetch.RetryIn == 0 {
		// What kept the grant from being presented does not from then on. It may have come
		// while the call was under way.
		f.RetryIn = min(f.RetryIn, max(left-probeBefore, 0)+time.Second)
	}
	seen := Observation{Kind: Fetched, Account: r.a.name, Reason: r.reason, Took: took, Failure: f.Failure.copied(), Err: cause}
	if f.Calls == 0 {
		seen.Kind, seen.Took = NotCalled, 0
	}
	r.c.observe(seen)
	if !isA[*GrantError](cause) { // which the view says
		r.logFailure(f)
	}
	err := r.recordFailure(ctx, f)
	if err != nil { // the attempt is open: it gets overdue by itself
		r.c.log.WarnContext(r.log, "failure not recorded", "account", r.a.name, "error", err)
	}
	r.a.update(func(v *view, e env) { v.failed(f.Failure, f.RetryIn, attempt.Fence, err == nil, e) })
	if errors.Is(err, ErrUnreachable) {
		return x.leave(ctx, errRecorded)
	}
	return errRecorded
}

// recordFailure tries a few times: other processes wait for it.
func (r refresh) recordFailure(ctx context.Context, f FailRequest) error {
	var err error
	for wait := storeRetryFirst; wait < time.Second; wait *= 3 {
		tryCtx, cancel := context.WithTimeout(ctx, r.c.cfg.LockTTL)
		err = r.c.store.Fail(tryCtx, r.a.name, f)
		cancel()
		if err == nil || !errors.Is(err, ErrUnreachable) {
			return err
		}
		time.Sleep(wait)
	}
	return err
}

func (r refresh) logFailure(f FailRequest) {
	args := []any{"account", r.a.name, "reason", f.Reason, "kind", f.Failure.Kind, "code", f.Failure.Code,
		"error", f.Failure.Message, "failures", f.Failure.InARow, "retry_in_seconds", seconds(f.RetryIn), "took_seconds", seconds(f.Took)}
	if f.Failure.Kind == FailedRefused {
		r.c.log.ErrorContext(r.log, "the issuer refuses the account: operator action needed", args...)
		return
	}
	r.c.log.WarnContext(r.log, "no token from the source", args...)
}
