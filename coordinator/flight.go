package coordinator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// need is what a caller waits for.
type need struct {
	after   Fence  // a usable record newer than this
	reason  Reason // ReasonMissing: any; a demanded one: have it fetched
	askedBy string // see WithCaller

	began time.Time
	looks uint32 // readings of the store when the wait began
	seq   uint32 // outcomes when the wait began
	held  Fence  // what was held when the wait began
}

// demand is what n has to be done. Its reason is a demanded one.
func (n need) demand() demand { return demand{reason: n.reason, seen: n.after, askedBy: n.askedBy} }

// outcome is how the last flight, or an attempt heard of, ended.
type outcome struct {
	seq   uint32
	err   error
	fence Fence // of the attempt; 0: it did not come to one
}

// flights counts goroutines that are under way. Unlike a WaitGroup it may be
// waited for while others take off.
type flights struct {
	mu   sync.Mutex // guards what follows
	n    int
	idle chan struct{} // closed when n gets 0; nil: nobody waits
}

// start runs fly in a goroutine.
func (f *flights) start(fly func()) {
	f.mu.Lock()
	f.n++
	f.mu.Unlock()
	go func() {
		defer f.land()
		fly()
	}()
}

func (f *flights) land() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n--; f.n == 0 && f.idle != nil {
		close(f.idle)
		f.idle = nil
	}
}

// none returns a channel that is closed once no flight is under way.
func (f *flights) none() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n == 0 {
		none := make(chan struct{})
		close(none)
		return none
	}
	if f.idle == nil {
		f.idle = make(chan struct{})
	}
	return f.idle
}

const (
	// subscribeGrace is how long a caller waits for the first subscription
	// before it reads the store without: one reading instead of two.
	subscribeGrace = 300 * time.Millisecond
	// subscribeGraceEach is how much longer the schedule waits for each
	// account there is: to read 100,000 before and again after they are
	// subscribed keeps the store from subscribing them.
	subscribeGraceEach = 50 * time.Microsecond
	// waitingPoll is how often a waiter has the store read again although
	// nothing was heard.
	waitingPoll = 2 * time.Second
	// wantEvery is how often a waiting reader calls for a refresher.
	wantEvery = time.Second
)

// await waits for what n describes, and sees to it that somebody is at it:
// one flight an account serves all who wait, each under its own ctx.
func (a *Account) await(ctx context.Context, n need) (*held, error) {
	a.c.counters.waiters.Add(1)
	defer a.c.counters.waiters.Add(-1)
	release := func() {}
	defer func() { release() }()
	following := false

	a.mu.Lock()
	a.beginLocked(&n)
	if n.reason == ReasonMissing && n.after == 0 && !a.led {
		a.led = true
		defer a.leave()
	}
	if n.reason.Demanded() {
		a.demandLocked(n.demand(), n.began)
	}
	for {
		now := time.Now()
		if h, err := a.answerLocked(n, now); h != nil || err != nil {
			a.mu.Unlock()
			return h, err
		}
		if n.reason.Demanded() {
			a.demandLocked(n.demand(), now)
		}
		wait := a.pursueLocked(&n, now)
		if !following && !a.c.running.Load() && a.looks > n.looks && !a.flight {
			following = true
			a.mu.Unlock()
			release = a.c.borrow(a)
			a.mu.Lock()
			continue
		}
		changed := a.changedLocked()
		a.mu.Unlock()

		if err := waitFor(ctx, changed, wait); err != nil {
			return nil, a.gaveUp(n, err)
		}
		if h := a.hot.Load(); h != nil && h.Generation > n.after {
			return h, nil // what most wait for, without a queue for the lock
		}
		a.mu.Lock()
	}
}

// beginLocked notes when a wait begins, unless it has begun already.
func (a *Account) beginLocked(n *need) {
	if n.began.IsZero() {
		n.began, n.looks, n.seq, n.held = time.Now(), a.looks, a.outcome.seq, a.generationLocked()
	}
}

// leave ends the wait of the one who led: the next of those behind does.
func (a *Account) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.led = false
	a.broadcastLocked()
}

// waitBehind waits while somebody else in await sees to a token, and returns it.
// Nil: there is nobody, or something else has happened, and the caller has to
// await it. This is what a crowd does in a process that has no token yet: a
// channel is all that each of them needs, and no more stack than a goroutine
// begins with.
func (a *Account) waitBehind(ctx context.Context, n *need) *held {
	a.mu.Lock()
	if h := a.hot.Load(); h != nil || !a.led {
		a.mu.Unlock()
		return h
	}
	a.beginLocked(n)
	changed := a.changedLocked()
	a.mu.Unlock()
	a.c.counters.waiters.Add(1)
	select {
	case <-changed:
	case <-ctx.Done():
	}
	a.c.counters.waiters.Add(-1)
	return a.hot.Load()
}

// waitFor waits for a change, for d, or for the end of ctx, which it returns.
func waitFor(ctx context.Context, changed <-chan struct{}, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// answerLocked returns the end of the wait, or nothing.
func (a *Account) answerLocked(n need, now time.Time) (*held, error) {
	if a.removed {
		return nil, fmt.Errorf("%w: %q was removed", ErrUnknownAccount, a.name)
	}
	running := a.c.running.Load()
	if down := a.c.down.Load(); running && down != nil && errors.Is(down.err, ErrDenied) && !a.usableLocked(now) {
		return nil, down.err // only a person can mend it
	}
	looked := a.looks > n.looks && !a.flight || a.generationLocked() > n.held
	if (running || looked) && a.usableLocked(now) && a.held.Generation > n.after {
		return a.held, nil
	}
	err := a.outcome.err
	if a.outcome.seq == n.seq {
		err = nil // somebody else's
	}
	if n.reason == ReasonRejected && (running || looked) {
		if refused := a.refusedLocked(now); refused != nil {
			return nil, refused
		}
	}
	if n.reason.Demanded() { // what is forced passes over a refusal
		return nil, err
	}
	if a.usableLocked(now) {
		if !running && errors.Is(err, ErrUnreachable) && a.held.Generation > n.after {
			return a.held, nil // better an old token than none
		}
		return nil, nil
	}
	if running || looked {
		if unusable := a.unusableLocked(now); unusable != nil {
			return nil, unusable
		}
		if refused := a.refusedLocked(now); refused != nil {
			return nil, refused
		}
	}
	if errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrDenied) && running || isFetchError(err) {
		return nil, nil // tried again by and by
	}
	return nil, err
}

func isFetchError(err error) bool {
	var fetch *FetchError
	return errors.As(err, &fetch)
}

// pursueLocked starts a flight if n needs one now, and returns how long to
// wait before asking again, changes apart.
func (a *Account) pursueLocked(n *need, now time.Time) time.Duration {
	if a.flight || a.c.life().Err() != nil { // Run is ending, and wakes whoever still waits when it has
		return waitingPoll
	}
	if down := a.c.down.Load(); down != nil && now.Before(down.until) {
		return down.until.Sub(now)
	}
	running, connected := a.c.running.Load(), a.c.connected.Load()
	if running && !connected && a.looks == n.looks {
		if left := n.began.Add(subscribeGrace).Sub(now); left > 0 {
			return left
		}
	}
	trusted := running && connected && a.looks > 0
	reason := a.dueLocked(now)
	allowed := a.allowedLocked(reason)
	switch {
	case !trusted && a.looks == n.looks, a.known.lookDue:
	case !running && a.c.instant(now) >= max(a.polled, a.c.instant(n.began))+instant(waitingPoll):
		a.polled = a.c.instant(now)
	case reason == "":
		return waitingPoll
	case now.Before(allowed):
		return min(allowed.Sub(now), waitingPoll)
	}
	a.takeOffLocked()
	return waitingPoll
}

// takeOffLocked starts a flight: one round of looking at the store and doing
// what is due.
func (a *Account) takeOffLocked() {
	a.flight = true
	a.c.flights.start(func() { a.fly(false) })
}

// fly is one round. The caller holds a slot already if holdsSlot.
func (a *Account) fly(holdsSlot bool) {
	life := a.c.life()
	err := a.round(life, holdsSlot)
	if !errors.Is(err, ErrDenied) {
		a.c.reached(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flight = false
	now := time.Now()
	var locked *LockedError
	switch {
	case err == nil, errors.Is(err, errRecorded):
	case life.Err() != nil && errors.Is(err, life.Err()): // Run ends; whoever waits need not
	case errors.As(err, &locked):
		a.known.notBefore = a.c.instant(now.Add(locked.RetryIn + randUpTo(takeOverSpread)))
	case errors.Is(err, ErrSuperseded):
		a.known.readAgain()
	default:
		if !errors.Is(err, ErrUnreachable) { // for which the whole schedule pauses
			a.known.notBefore = a.oddLocked(now)
			if !errors.Is(err, ErrDenied) { // which is said for all accounts
				a.complainLocked(err, now)
			}
		}
		a.endLocked(err, 0)
	}
	a.settledLocked(now)
}

// oddLocked returns when the schedule comes back to an account after an error
// of the store that concerns this account alone, and that a person has to mend.
func (a *Account) oddLocked(now time.Time) instant {
	return a.c.instant(now.Add(jitter(a.c.cfg.PollEvery / 10)))
}

// throttledLocked takes in that a limit forbade a refresh for the reason. A
// demand ends, or waits for the minimum interval; a back-off that nobody had told
// of is looked up, so that it is waited out, or its refusal said, as any other.
func (a *Account) throttledLocked(t *ThrottledError, reason Reason, now time.Time) {
	until := a.c.instant(now.Add(t.RetryIn))
	switch {
	case !reason.Demanded():
		// Asked again now and then: somebody may have mended what it counts.
		a.known.throttled = a.c.instant(now.Add(min(t.RetryIn, jitter(a.c.cfg.PollEvery))))
		if t.Limit == LimitBackOff {
			a.known.readAgain()
			return
		}
	case t.RetryIn <= a.limitsLocked().MinInterval && a.demandedLocked(now):
		a.demand.notBefore = until
		return
	}
	a.endLocked(t, 0)
}

// endLocked tells whoever waits how it ended.
func (a *Account) endLocked(err error, attempt Fence) {
	a.demand = demand{}
	a.outcome = outcome{seq: a.outcome.seq + 1, err: err, fence: attempt}
}

// round looks at the store, unless the notifications make that needless, and
// does what is due.
func (a *Account) round(ctx context.Context, holdsSlot bool) error {
	if holdsSlot {
		defer a.c.releaseSlot()
	}
	if !a.trusted() {
		if err := a.look(ctx); err != nil {
			return err
		}
	}
	a.mu.Lock()
	now := time.Now()
	reason, restore := a.dueLocked(now), a.known.restore
	allowed := a.allowedLocked(reason)
	cfg, record, seen := a.cfg, a.recordLocked(), a.seenLocked()
	askedBy := a.askedByLocked(reason)
	a.mu.Unlock()

	switch {
	case cfg.Source == nil:
		return a.want(ctx, WantRequest{Reason: reason, Seen: seen, AskedBy: askedBy})
	case !restore && (reason == "" || now.Before(allowed)):
		return nil
	}
	if !holdsSlot {
		if err := a.c.acquireSlot(ctx); err != nil {
			return err
		}
		defer a.c.releaseSlot()
	}
	if restore && !reason.Demanded() {
		return a.restore(ctx, record)
	}
	return a.refresh(ctx, refreshing{reason: reason, seen: seen, askedBy: askedBy, source: cfg.Source, current: record.Token})
}

// trusted reports whether what is known is as good as a reading of the store.
// A reader without a token reads: the key is the truth, and nobody else may
// ever notify it.
func (a *Account) trusted() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	return a.c.running.Load() && a.c.connected.Load() && a.looks > 0 && !a.known.lookDue &&
		!a.known.open.overdue(a.c.instant(now)) && (a.cfg.Source != nil || a.usableLocked(now))
}

// look reads the store.
func (a *Account) look(ctx context.Context) error {
	asked := a.asked()
	states, err := a.c.store.Load(ctx, a.name)
	if err != nil {
		if ctx.Err() == nil {
			a.c.reached(err)
		}
		return fmt.Errorf("read %q: %w", a.name, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.absorbLocked(states[0], asked)
	return nil
}

// want calls for a refresher on behalf of a process that is none.
func (a *Account) want(ctx context.Context, w WantRequest) error {
	if w.Reason == "" {
		return nil
	}
	a.mu.Lock()
	a.known.notBefore = a.c.instant(time.Now().Add(jitter(wantEvery)))
	a.mu.Unlock()
	err := a.c.store.Want(ctx, a.name, w)
	if errors.Is(err, ErrDenied) && !w.Reason.Demanded() {
		// A reader need not have the right to call for a refresher: those there
		// are see by themselves that the token is missing.
		return nil
	}
	return err
}

// recordLocked returns what is held with the TTL it has now.
func (a *Account) recordLocked() Record {
	if a.held == nil {
		return Record{}
	}
	r := a.held.Record
	r.TTL = time.Until(a.c.time(a.held.until))
	return r
}

func (a *Account) generationLocked() Fence {
	if a.held == nil {
		return 0
	}
	return a.held.Generation
}

// seenLocked returns the generation that a refresh replaces.
func (a *Account) seenLocked() Fence {
	return max(a.generationLocked(), a.demand.seen, a.known.barred)
}

// gaveUp words the end of a wait whose ctx ended.
func (a *Account) gaveUp(n need, ended error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n.reason == ReasonMissing && a.usableLocked(time.Now()) {
		return ended
	}
	cause := a.outcome.err
	if down := a.c.down.Load(); down != nil {
		cause = down.err
	} else if a.known.failure != nil && a.known.failure.InARow > 0 {
		cause = failureError(a.name, a.known.failure, time.Until(a.c.time(a.known.retryAt)))
	}
	return &noTokenError{account: a.name, cause: cause, ended: ended, role: a.roleLocked()}
}

// noTokenError is ErrNoToken with its circumstances, on one line.
type noTokenError struct {
	account string
	role    Role
	cause   error // may be nil
	ended   error
}

func (e *noTokenError) Error() string {
	switch {
	case e.cause != nil:
		return fmt.Sprintf("no token for %q: %v: %v", e.account, e.ended, e.cause)
	case e.role == Reader:
		return fmt.Sprintf("no token for %q: %v: no process with the account's secret answered", e.account, e.ended)
	}
	return fmt.Sprintf("no token for %q: %v", e.account, e.ended)
}

func (e *noTokenError) Unwrap() []error {
	if e.cause == nil {
		return []error{ErrNoToken, e.ended}
	}
	return []error{ErrNoToken, e.cause, e.ended}
}

// failureError returns a failure as the callers of an account see it. retryIn is
// how long its back-off still lasts.
func failureError(account string, f *Failure, retryIn time.Duration) error {
	switch f.Kind {
	case FailedRefused:
		return &RefusedError{Account: account, Code: f.Code, Message: f.Message}
	case FailedLater:
		return &QuotaError{Account: account, Code: f.Code, Message: f.Message, RetryIn: max(retryIn, 0)}
	}
	return &FetchError{Kind: f.Kind, Code: f.Code, Message: f.Message}
}

func (c *Coordinator) acquireSlot(ctx context.Context) error {
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Coordinator) releaseSlot() {
	<-c.slots
	c.schedule.poke()
}
