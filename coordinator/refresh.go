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
	parent Record // what the source needs of the parent
	a      *Account
	c      *Coordinator
}

// run makes the refresh, unless another process holds the lock (*LockedError), a
// limit forbids it (errRecorded), or the store has a newer token already.
//
// The interleaving that Begin's look at the generation is for:
//
//  1. A and B see that a refresh is due.
//  2. A locks, fetches, commits, unlocks.
//  3. B, which was slow, locks: Begin shows it A's token.
func (r refresh) run(ctx context.Context) error {
	return r.locked(ctx, func(lock Lock) error {
		began := r.c.now()
		attempt, err := r.begin(ctx)
		if err != nil || attempt.Fence == 0 {
			return err
		}
		// The attempt is announced: from here on it is carried through,
		// although ctx may end. A token that is issued and never stored is
		// the worst outcome.
		stopping := ctx
		ctx = context.WithoutCancel(ctx)
		result, sent, err := r.fetch(ctx, lock, began, attempt)
		took := time.Duration(r.c.now() - sent)
		if err != nil {
			return r.fail(ctx, attempt, err, took)
		}
		if result.Doubt != "" {
			r.c.log.Warn("the issuer's answer is odd: its token is used with care", "account", r.a.name, "odd", result.Doubt, "life", result.Lifetime)
		}
		r.c.observe(Observation{Kind: Fetched, Account: r.a.name, Reason: r.reason, Took: took})
		c := CommitRequest{
			Attempt: attempt, Reason: r.reason, AskedBy: r.askedBy, Token: result.Token, Lifetime: result.Lifetime,
			RefreshIn: r.refreshIn(result), Took: took, Calls: result.Calls, Attributes: result.Attributes,
		}
		return r.commit(ctx, stopping, c, r.repeated(&c, sent))
	})
}

// repeated has the life of a token that the issuer has only repeated count from when
// the token was stored first, and returns that instant; sent for any other token. The
// end stays ahead of the next planned question, because the issuer has just answered
// that the token lives.
func (r refresh) repeated(c *CommitRequest, sent instant) (issued instant) {
	if r.repeat != RepeatSame {
		return sent
	}
	var held Record
	r.a.update(func(v *view, e env) {
		held = v.record(e)
		issued = min(sent, e.now-instant(held.Age()))
	})
	if !held.Token.Equal(c.Token) {
		return sent
	}
	const beyond = time.Minute // the margin, and time for the question
	issued = max(issued, sent-instant(MaxLifetime-c.RefreshIn-beyond))
	c.RefreshIn += time.Duration(sent - issued)
	c.Lifetime = max(c.Lifetime, c.RefreshIn+beyond)
	if c.Repeated = r.reason.Demanded(); c.Repeated {
		r.c.log.Warn("the issuer repeated the token that was to be replaced: it says that the token is good. "+
			"Either the report was wrong, or the issuer will replace the token by itself",
			"account", r.a.name, "reason", r.reason, "asked_by", r.askedBy, "issued", time.Duration(sent-issued).Round(time.Second),
			"next_answer_after", r.limits.MinInterval)
	}
	return issued
}

// refreshIn is when the token is to be replaced: when the source asked for it,
// else by the schedule of this process, unless many accounts come at once. It is
// stored, so that readers, whose configuration may differ, tell their callers the
// same.
func (r refresh) refreshIn(result FetchResult) time.Duration {
	every := min(r.every, result.Lifetime/2)
	switch burst := r.c.smoother.count(r.a.name, time.Now(), int(r.c.count.Load()), every); {
	case result.RefreshIn > 0:
		return result.RefreshIn
	case burst:
		return scatter(every)
	}
	return every
}

// restore puts back what the store lost.
func (r refresh) restore(ctx context.Context) error {
	return r.locked(ctx, func(Lock) error {
		r.c.wakeUp()
		var usable bool
		r.a.update(func(v *view, e env) { usable, r.current.TTL = v.usable(e), v.record(e).TTL })
		if !usable {
			return nil // it ended while this machine slept
		}
		stored, err := r.c.store.Restore(ctx, r.a.name, r.current)
		if err != nil {
			return fmt.Errorf("restore %q: %w", r.a.name, err)
		}
		done := stored.Generation == r.current.Generation
		r.a.update(func(v *view, e env) { v.restored(done, e) })
		if done {
			r.c.observe(Observation{Kind: Restored, Account: r.a.name})
			r.c.log.Info("token restored: the store had lost it", "account", r.a.name, "generation", r.current.Generation, "ttl", r.current.TTL)
		}
		return nil
	})
}

// locked calls do with the account's lock held. The lock is released also when ctx
// has ended, within the time after which it expires by itself.
func (r refresh) locked(ctx context.Context, do func(Lock) error) error {
	life := r.c.cfg.LockTTL
	lock, err := r.c.store.Lock(ctx, r.a.name, life)
	if err != nil {
		var taken *LockedError
		if errors.As(err, &taken) {
			r.c.observe(Observation{Kind: LockTaken, Account: r.a.name})
		}
		r.c.tookRefresh(r.a.name, err)
		return fmt.Errorf("lock %q: %w", r.a.name, err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), life)
		defer cancel()
		if err := lock.Unlock(ctx); err != nil {
			r.c.reached(err)
			r.c.log.Warn("lock could not be released: it expires by itself", "account", r.a.name, "within", life, "error", err)
		}
	}()
	err = do(lock)
	r.c.tookRefresh(r.a.name, err)
	return err
}

// begin announces the attempt. A Fence of 0: it is not needed.
func (r refresh) begin(ctx context.Context) (Attempt, error) {
	attempt, err := r.c.store.Begin(ctx, r.a.name, BeginRequest{
		Seen: r.seen, Reason: r.reason, AskedBy: r.askedBy, TTL: r.c.cfg.LockTTL, Credential: credential(r.source), Limits: r.limits,
		Repeat: r.repeat, Pace: pace(r.limits, r.every),
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
		r.c.log.Error("CONFLICT: the issuer rejects a token that none of our calls replaced: "+
			"another program fetches tokens with the same secret. Find and stop it; each of its fetches kills our token",
			"account", r.a.name, "generation", r.seen)
	}
	return attempt, nil
}

func (r refresh) logThrottled(t *ThrottledError) {
	args := []any{"account", r.a.name, "reason", r.reason, "limit", t.Limit, "retry_in", t.RetryIn}
	if t.Limit == LimitLoop {
		r.c.log.Error("refreshes without a demand follow each other too fast: they are slowed down. "+
			"See the account's history for their reasons", args...)
		return
	}
	r.c.log.Warn("refresh throttled", args...)
}

// errDeadline is why a call is given up whose attempt could not be extended.
var errDeadline = errors.New("the attempt's deadline passed: the store could not be asked to extend it")

// fetch calls the source within the attempt's deadline, which is extended
// together with the lock while the call is under way. sent is when the call
// began.
func (r refresh) fetch(ctx context.Context, lock Lock, began instant, attempt Attempt) (result FetchResult, sent instant, err error) {
	ctx, stop := r.extend(ctx, lock, began, attempt.Fence)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, r.c.cfg.FetchTimeout)
	defer cancel()

	sent = r.c.now()
	if sent-began >= instant(r.c.cfg.LockTTL) { // paused since: another process may be at it
		return result, sent, &FetchError{Kind: FailedBusy, Message: "not called: " + errDeadline.Error()}
	}
	result, err = r.ask(ctx)
	var rejected *FetchError
	if r.parent.Token.IsZero() || !errors.As(err, &rejected) || rejected.Kind != FailedParent {
		return result, sent, err
	}
	if err = r.replaceParent(ctx, rejected); err != nil {
		return result, sent, err
	}
	sent = r.c.now()
	if result, err = r.ask(ctx); err != nil {
		again := *asFetchError(err)
		again.Calls += rejected.Calls
		return result, sent, &again
	}
	result.Calls = max(result.Calls, 1) + rejected.Calls
	return result, sent, nil
}

// replaceParent reports the parent's token, which the issuer rejects, and takes over the
// one that replaces it.
func (r *refresh) replaceParent(ctx context.Context, rejected *FetchError) error {
	parent := r.a.parent()
	s, err := parent.Invalidate(WithCaller(ctx, r.a.name+" (child)"), r.parent.Token)
	if err == nil && s.Token.Equal(r.parent.Token) {
		err = errors.New("its issuer repeats it")
	}
	if err != nil {
		failed := *rejected
		failed.Message = fmt.Sprintf("%s; the token of %q was not replaced: %v", rejected.Message, parent.name, err)
		return &failed
	}
	r.parent = s.Record
	return nil
}

// ask calls the source once.
func (r *refresh) ask(ctx context.Context) (FetchResult, error) {
	result, err := r.source.Fetch(ctx, FetchRequest{Reason: r.reason, Current: r.current.Token, Parent: r.parent})
	switch {
	case err != nil && context.Cause(ctx) != nil && !isFetchError(err):
		err = &FetchError{Kind: FailedUnknown, Message: "the source did not answer in time: " + context.Cause(ctx).Error(), Err: err, Calls: 1}
	case err == nil && (result.Token.IsZero() || result.Lifetime <= 0):
		err = &FetchError{Kind: FailedUnknown, Message: fmt.Sprintf("the source answered without a usable token (life %v)", result.Lifetime), Calls: max(result.Calls, 1)}
	case err == nil && AttributesSize(result.Attributes) > MaxAttributes:
		err = &FetchError{Kind: FailedUnknown, Message: fmt.Sprintf("the attributes that came with the token have %d bytes: %d is the limit",
			AttributesSize(result.Attributes), MaxAttributes), Calls: max(result.Calls, 1)}
	}
	return result, err
}

// extend keeps lock and attempt alive until stop is called, and ends the
// context it returns when the deadline passes all the same. After stop, which
// waits, lock is no longer used.
func (r refresh) extend(ctx context.Context, lock Lock, began instant, fence Fence) (_ context.Context, stop func()) {
	life := r.c.cfg.LockTTL
	ctx, cancel := context.WithCancelCause(ctx)
	expiry := time.AfterFunc(time.Until(r.c.time(began).Add(life)), func() { cancel(errDeadline) })
	done := make(chan struct{})
	go func() { // ends with ctx; stop waits for it
		defer close(done)
		for sleep(ctx, life/3) {
			asked := time.Now()
			ctx, cancel := context.WithTimeout(ctx, life/3)
			err := lock.Extend(ctx, fence)
			cancel()
			switch {
			case err == nil:
				expiry.Reset(time.Until(asked.Add(life)))
			case errors.Is(err, ErrLockLost):
				r.c.log.Warn("lock lost while fetching: the fence decides", "account", r.a.name, "fence", fence)
				return
			default:
				r.c.reached(err)
			}
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-done
		expiry.Stop()
	}
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
		record, err := r.storeOnce(ctx, c)
		switch {
		case err == nil:
			r.committed(record, c)
			return nil
		case errors.Is(err, ErrSuperseded):
			r.c.observe(Observation{Kind: Superseded, Account: r.a.name, Reason: c.Reason})
			r.c.log.Warn("token not stored: a newer attempt had begun; one more refresh follows",
				"account", r.a.name, "fence", c.Attempt.Fence)
			return fmt.Errorf("commit %q: %w", r.a.name, err)
		}
		r.c.reached(err)
		r.keep(c)
		if giveUp.IsZero() && (stopping.Err() != nil || !errors.Is(err, ErrUnreachable)) {
			giveUp = time.Now().Add(drainFor)
		}
		if c.Age >= c.Lifetime-Margin(c.Lifetime) || !giveUp.IsZero() && time.Now().After(giveUp) {
			r.c.log.Error("token lost: it could not be stored", "account", r.a.name, "fence", c.Attempt.Fence, "error", err)
			return fmt.Errorf("commit %q: %w", r.a.name, err)
		}
		r.c.log.Warn("token not stored yet: trying again", "account", r.a.name, "fence", c.Attempt.Fence, "error", err)
		time.Sleep(wait)
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
	r.c.log.Info("token refreshed", "account", r.a.name, "reason", c.Reason, "generation", stored.Generation,
		"ttl", stored.TTL, "took", c.Took, "calls_today", c.Attempt.CallsToday)
	r.a.apply(func(v *view, e env) effects { return v.committed(stored, c.Attempt.Fence, e) })
}

// fail records how an attempt ended without a token.
func (r refresh) fail(ctx context.Context, attempt Attempt, cause error, took time.Duration) error {
	fetch := asFetchError(cause)
	var left time.Duration
	r.a.update(func(v *view, e env) { left = v.record(e).TTL })
	f := FailRequest{
		Attempt: attempt, Reason: r.reason, AskedBy: r.askedBy, Took: took, Calls: fetch.Calls,
		RetryIn: backoff(fetch.Kind, attempt.Failures+1, fetch.RetryIn, left),
		Failure: Failure{Kind: fetch.Kind, Code: fetch.Code, Message: fetch.Message, InARow: attempt.Failures + 1, Credential: credential(r.source)},
	}
	r.c.observe(Observation{Kind: Fetched, Account: r.a.name, Reason: r.reason, Took: took, Failure: &f.Failure, Err: cause})
	r.logFailure(f)
	err := r.recordFailure(ctx, f)
	if err != nil { // the attempt is open: it gets overdue by itself
		r.c.log.Warn("failure not recorded", "account", r.a.name, "error", err)
	}
	r.a.update(func(v *view, e env) { v.failed(f.Failure, f.RetryIn, attempt.Fence, err == nil, e) })
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
		"error", f.Failure.Message, "failures", f.Failure.InARow, "retry_in", f.RetryIn, "took", f.Took}
	if f.Failure.Kind == FailedRefused {
		r.c.log.Error("the issuer refuses the account: operator action needed", args...)
		return
	}
	r.c.log.Warn("no token from the source", args...)
}
