package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// refreshing is one refresh on its way through the protocol: lock, begin,
// fetch, commit or fail, unlock. The lock makes it cheap, the fence makes it
// correct; nothing below relies on the lock.
type refreshing struct {
	reason  Reason
	seen    Fence // the generation to replace
	askedBy string
	current Token
	source  Source
}

// credential returns s's fingerprint.
func credential(s Source) string {
	if c, ok := s.(Credentialed); ok {
		return c.Credential()
	}
	return ""
}

// refresh makes one refresh, unless another process holds the lock
// (*LockedError), a limit forbids it (*ThrottledError), or the store has a
// newer token already.
//
// The interleaving that the look in Begin is for:
//
//  1. A and B see that a refresh is due.
//  2. A locks, fetches, commits, unlocks.
//  3. B, which was slow, locks: Begin shows it A's token.
func (a *Account) refresh(ctx context.Context, r refreshing) error {
	return a.locked(ctx, func(lock Lock) error {
		began := a.c.now()
		attempt, err := a.begin(ctx, r)
		if err != nil || attempt.Fence == 0 {
			return err
		}
		// The attempt is announced: from here on it is carried through,
		// whoever goes away. A token that is issued and never stored is the
		// worst outcome.
		stopping := ctx
		ctx = context.WithoutCancel(ctx)
		issue, sent, err := a.fetch(ctx, lock, began, attempt, r)
		took := time.Duration(a.c.now() - sent)
		if err != nil {
			return a.fail(ctx, attempt, r, err, took)
		}
		if issue.Doubt != "" {
			a.c.log.Warn("the issuer's answer is odd: its token is used with care", "account", a.name, "odd", issue.Doubt, "life", issue.Lifetime)
		}
		a.c.observe(Observation{Kind: Fetched, Account: a.name, Reason: r.reason, Took: took})
		return a.commit(ctx, stopping, CommitRequest{
			Attempt: attempt, Reason: r.reason, AskedBy: r.askedBy, Token: issue.Token, Lifetime: issue.Lifetime,
			RefreshIn: a.refreshIn(issue), Took: took, Calls: issue.Calls,
		}, sent)
	})
}

// refreshIn is when the token is to be replaced: when the source asked for it,
// else by the schedule of this process, unless many accounts come at once. It is
// stored, so that readers, whose configuration may say something else, tell
// their callers the same.
func (a *Account) refreshIn(issue FetchResult) time.Duration {
	a.mu.Lock()
	every := min(a.everyLocked(), issue.Lifetime/2)
	a.mu.Unlock()
	switch crowded := a.c.crowd.join(a, time.Now(), int(a.c.count.Load()), every); {
	case issue.RefreshIn > 0:
		return issue.RefreshIn
	case crowded:
		return apart(every)
	}
	return every
}

// restore puts back what the store lost.
func (a *Account) restore(ctx context.Context, r Record) error {
	return a.locked(ctx, func(Lock) error {
		a.c.wakeUp()
		a.mu.Lock()
		usable := a.usableLocked(time.Now())
		r.TTL = a.recordLocked().TTL
		a.mu.Unlock()
		if !usable {
			return nil // it ended while this machine slept
		}
		stored, err := a.c.store.Restore(ctx, a.name, r)
		if err != nil {
			return fmt.Errorf("restore %q: %w", a.name, err)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.known.restore = false
		if stored.Generation == r.Generation {
			a.c.observe(Observation{Kind: Restored, Account: a.name})
			a.c.log.Info("token restored: the store had lost it", "account", a.name, "generation", r.Generation, "ttl", r.TTL)
			return nil
		}
		a.known.readAgain() // something newer is there, or on its way
		a.known.notBefore = a.c.instant(time.Now().Add(takeOverSpread))
		return nil
	})
}

// locked calls do with the account's lock held. The lock is given up also when
// ctx has ended, within the time it would end by itself.
func (a *Account) locked(ctx context.Context, do func(Lock) error) error {
	life := a.c.cfg.LockTTL
	lock, err := a.c.store.Lock(ctx, a.name, life)
	if err != nil {
		var taken *LockedError
		if errors.As(err, &taken) {
			a.c.observe(Observation{Kind: LockTaken, Account: a.name})
		}
		a.c.tookRefresh(a.name, err)
		return fmt.Errorf("lock %q: %w", a.name, err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), life)
		defer cancel()
		if err := lock.Unlock(ctx); err != nil {
			a.c.reached(err)
			a.c.log.Warn("lock not given up: it ends by itself", "account", a.name, "within", life, "error", err)
		}
	}()
	err = do(lock)
	a.c.tookRefresh(a.name, err)
	return err
}

// begin announces the attempt. A Fence of 0: it is not needed.
func (a *Account) begin(ctx context.Context, r refreshing) (Attempt, error) {
	a.mu.Lock()
	limits, every := a.limitsLocked(), a.everyLocked()
	a.mu.Unlock()
	attempt, err := a.c.store.Begin(ctx, a.name, BeginRequest{
		Seen: r.seen, Reason: r.reason, AskedBy: r.askedBy, TTL: a.c.cfg.LockTTL, Credential: credential(r.source), Limits: limits,
		Pace: pace(limits.PerDay, every),
	})
	if err != nil {
		var throttled *ThrottledError
		if errors.As(err, &throttled) {
			a.c.observe(Observation{Kind: Throttled, Account: a.name, Reason: r.reason, Err: err})
			a.logThrottled(throttled, r.reason)
			a.mu.Lock()
			a.throttledLocked(throttled, r.reason, time.Now())
			a.mu.Unlock()
			return attempt, errRecorded
		}
		return attempt, fmt.Errorf("begin %q: %w", a.name, err)
	}
	if attempt.Fence == 0 {
		a.c.observe(Observation{Kind: Current, Account: a.name, Reason: r.reason})
		a.mu.Lock()
		a.installLocked(attempt.Record, time.Now())
		a.known.readAgain() // the rest of the state changed with it
		a.mu.Unlock()
		return attempt, nil
	}
	a.mu.Lock()
	now := a.c.instant(time.Now())
	k := &a.known
	k.callsToday = int32(attempt.CallsToday)
	k.open.begun(attempt.Fence, now+instant(a.c.cfg.LockTTL), now)
	if k.err != nil {
		k.replaces = attempt.Fence
	}
	a.mu.Unlock()
	if attempt.Conflict {
		a.c.observe(Observation{Kind: Conflicted, Account: a.name})
		a.c.log.Error("CONFLICT: the issuer rejects a token that none of our calls replaced: "+
			"somebody else fetches tokens with the same secret. Find and stop it; every fetch of theirs kills our token",
			"account", a.name, "generation", r.seen)
	}
	return attempt, nil
}

func (a *Account) logThrottled(t *ThrottledError, reason Reason) {
	args := []any{"account", a.name, "reason", reason, "limit", t.Limit, "retry_in", t.RetryIn}
	if t.Limit == LimitLoop {
		a.c.log.Error("refreshes that nobody asked for follow each other too fast: they are slowed down. "+
			"See the account's history for their reasons", args...)
		return
	}
	a.c.log.Warn("refresh throttled", args...)
}

// errDeadline is why a call is given up whose attempt could not be extended.
var errDeadline = errors.New("the attempt's deadline passed: the store could not be asked to extend it")

// fetch calls the source within the attempt's deadline, which is extended
// together with the lock while the call is under way. sent is when the call
// began.
func (a *Account) fetch(ctx context.Context, lock Lock, began instant, attempt Attempt, r refreshing) (issue FetchResult, sent instant, err error) {
	ctx, stop := a.extend(ctx, lock, began, attempt.Fence)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, a.c.cfg.FetchTimeout)
	defer cancel()

	sent = a.c.now()
	if sent-began >= instant(a.c.cfg.LockTTL) { // paused since: another process may be at it
		return issue, sent, &FetchError{Kind: FailedBusy, Message: "not called: " + errDeadline.Error()}
	}
	issue, err = r.source.Fetch(ctx, FetchRequest{Reason: r.reason, Current: r.current})
	switch {
	case err != nil && context.Cause(ctx) != nil && !isFetchError(err):
		err = &FetchError{Kind: FailedUnknown, Message: "the source did not answer in time: " + context.Cause(ctx).Error(), Err: err, Calls: 1}
	case err == nil && (issue.Token.IsZero() || issue.Lifetime <= 0):
		err = &FetchError{Kind: FailedUnknown, Message: fmt.Sprintf("the source answered without a usable token (life %v)", issue.Lifetime), Calls: max(issue.Calls, 1)}
	}
	return issue, sent, err
}

// extend keeps lock and attempt alive until stop is called, and ends the
// context it returns when the deadline passes all the same. stop waits: after
// it nobody uses lock.
func (a *Account) extend(ctx context.Context, lock Lock, began instant, fence Fence) (_ context.Context, stop func()) {
	life := a.c.cfg.LockTTL
	ctx, cancel := context.WithCancelCause(ctx)
	expiry := time.AfterFunc(time.Until(a.c.time(began).Add(life)), func() { cancel(errDeadline) })
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
				a.c.log.Warn("lock lost while fetching: the fence decides", "account", a.name, "fence", fence)
				return
			default:
				a.c.reached(err)
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
// for as long as the token lives: it exists, and nobody else has it. While the
// store is away this process serves it.
func (a *Account) commit(ctx, stopping context.Context, c CommitRequest, sent instant) error {
	var giveUp time.Time
	for wait := storeRetryFirst; ; wait = min(2*wait, storeRetryMost) {
		c.Age = time.Duration(a.c.now() - sent)
		record, err := a.storeOnce(ctx, c)
		switch {
		case err == nil:
			a.committed(record, c)
			return nil
		case errors.Is(err, ErrSuperseded):
			a.c.observe(Observation{Kind: Superseded, Account: a.name, Reason: c.Reason})
			a.c.log.Warn("token not stored: a newer attempt had begun; one more refresh follows",
				"account", a.name, "fence", c.Attempt.Fence)
			return fmt.Errorf("commit %q: %w", a.name, err)
		}
		a.c.reached(err)
		a.keep(c)
		if giveUp.IsZero() && (stopping.Err() != nil || !errors.Is(err, ErrUnreachable)) {
			giveUp = time.Now().Add(drainFor)
		}
		if c.Age >= c.Lifetime-Margin(c.Lifetime) || !giveUp.IsZero() && time.Now().After(giveUp) {
			a.c.log.Error("token lost: it could not be stored", "account", a.name, "fence", c.Attempt.Fence, "error", err)
			return fmt.Errorf("commit %q: %w", a.name, err)
		}
		a.c.log.Warn("token not stored yet: trying again", "account", a.name, "fence", c.Attempt.Fence, "error", err)
		time.Sleep(wait)
	}
}

// storeOnce is one try of a commit, bounded also where the store's own
// time-outs are long.
func (a *Account) storeOnce(ctx context.Context, c CommitRequest) (Record, error) {
	ctx, cancel := context.WithTimeout(ctx, a.c.cfg.LockTTL)
	defer cancel()
	return a.c.store.Commit(ctx, a.name, c)
}

// keep takes over a token that the store does not have yet.
func (a *Account) keep(c CommitRequest) {
	now := time.Now()
	issued := now.Add(-c.Age).Round(0)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.installLocked(Record{
		Token: c.Token, Generation: c.Attempt.Fence,
		IssuedAt: issued, ExpiresAt: issued.Add(c.Lifetime),
		TTL: c.Lifetime - c.Age - Margin(c.Lifetime),
	}, now)
	a.settledLocked(now)
}

func (a *Account) committed(r Record, c CommitRequest) {
	a.c.observe(Observation{Kind: Committed, Account: a.name, Reason: c.Reason})
	a.c.log.Info("token refreshed", "account", a.name, "reason", c.Reason, "generation", r.Generation,
		"ttl", r.TTL, "took", c.Took, "calls_today", c.Attempt.CallsToday)
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.installLocked(r, now)
	k := &a.known
	if k.replaces == c.Attempt.Fence { // known.err may be gone: our own notification was faster
		k.replaceAt = a.c.instant(now) + instant(jitter(replaceEvery))
	}
	k.err, k.barred = nil, 0
	k.open.committed(c.Attempt.Fence)
	k.retryAt, k.notBefore, k.throttled = 0, 0, 0
	k.restore = false
	a.settledLocked(now)
}

// fail records how an attempt ended without a token.
func (a *Account) fail(ctx context.Context, attempt Attempt, r refreshing, cause error, took time.Duration) error {
	fetch := asFetchError(cause)
	a.mu.Lock()
	left := a.recordLocked().TTL
	a.mu.Unlock()
	f := FailRequest{
		Attempt: attempt, Reason: r.reason, AskedBy: r.askedBy, Took: took, Calls: fetch.Calls,
		RetryIn: backoff(fetch.Kind, attempt.Failures+1, fetch.RetryIn, left),
		Failure: Failure{Kind: fetch.Kind, Code: fetch.Code, Message: fetch.Message, InARow: attempt.Failures + 1, Credential: credential(r.source)},
	}
	a.c.observe(Observation{Kind: Fetched, Account: a.name, Reason: r.reason, Took: took, Failure: &f.Failure, Err: cause})
	a.logFailure(f)
	err := a.recordFailure(ctx, f)
	if err != nil { // the attempt is open: it gets overdue by itself
		a.c.log.Warn("failure not recorded", "account", a.name, "error", err)
	}

	now := time.Now()
	f.Failure.At, f.Failure.RetryAt = now, now.Add(f.RetryIn)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setFailureLocked(&f.Failure, now, now)
	a.endLocked(failureError(a.name, &f.Failure, f.RetryIn), attempt.Fence)
	if f.Failure.Kind == FailedUnknown || err != nil {
		a.known.readAgain()
	} else {
		a.known.open.closed(attempt.Fence)
	}
	return errRecorded
}

// errRecorded is how a flight ends whose failure the callers know already.
var errRecorded = errors.New("failure recorded")

func asFetchError(err error) *FetchError {
	var fetch *FetchError
	if errors.As(err, &fetch) {
		return fetch
	}
	return &FetchError{Kind: FailedUnknown, Message: err.Error(), Calls: 1}
}

// recordFailure tries a few times: the others wait for the word.
func (a *Account) recordFailure(ctx context.Context, f FailRequest) error {
	var err error
	for wait := storeRetryFirst; wait < time.Second; wait *= 3 {
		tryCtx, cancel := context.WithTimeout(ctx, a.c.cfg.LockTTL)
		err = a.c.store.Fail(tryCtx, a.name, f)
		cancel()
		if err == nil || !errors.Is(err, ErrUnreachable) {
			return err
		}
		time.Sleep(wait)
	}
	return err
}

func (a *Account) logFailure(f FailRequest) {
	args := []any{"account", a.name, "reason", f.Reason, "kind", f.Failure.Kind, "code", f.Failure.Code,
		"error", f.Failure.Message, "failures", f.Failure.InARow, "retry_in", f.RetryIn, "took", f.Took}
	if f.Failure.Kind == FailedRefused {
		a.c.log.Error("the issuer refuses: somebody has to mend it", args...)
		return
	}
	a.c.log.Warn("no token from the source", args...)
}
