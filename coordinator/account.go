package coordinator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Account is one account of a Coordinator. Its methods are safe for concurrent
// use.
type Account struct {
	// token and hot are what Token and Current return without looking further:
	// set only while Run keeps them right, removed by the schedule at the
	// token's end. showLocked writes both. token comes first because that is
	// cheaper in the compiler's accounts: else Token would not be inlined.
	token atomic.Pointer[string]
	hot   atomic.Pointer[held]

	c    *Coordinator
	name string

	mu      sync.Mutex // guards what follows; never held over Store or Source
	cfg     ownConfig
	held    *held         // the newest known, kept beyond hot to restore it
	known   known         // what else is known of the store
	demand  demand        // what somebody asked for
	outcome outcome       // of the last flight or failed event
	told    uint32        // outcome.seq that those who wait know
	looks   uint32        // readings of the store so far
	polled  instant       // the last time that those who wait had the store read
	changed chan struct{} // closed at the next change; nil: nobody waits
	wake    instant       // the schedule's: guarded by scheduler.mu
	index   int32         // likewise: in the heap; -1: not there
	flight  bool          // a goroutine looks after the account right now
	led     bool          // somebody in await sees to a token: others may waitBehind
	removed bool
}

// ownConfig is an AccountConfig as it is kept.
type ownConfig struct {
	Source  Source
	differs *AccountConfig // nil, mostly: everything else is as in the Config
}

// held is a record with what follows from it on this machine's clock.
type held struct {
	Record
	slept     int64   // the clock's account of sleep when it was read
	until     instant // withdrawn then
	refreshAt instant // scheduled then
}

// Snapshot is a record as this process can serve it.
type Snapshot struct {
	Record

	// Stale says that the record may have been replaced: the store cannot be
	// reached. It was current when it was last reached and has not expired.
	Stale bool
}

func newAccount(c *Coordinator, cfg AccountConfig) *Account {
	a := &Account{c: c, name: cfg.Name, cfg: ownConfig{Source: cfg.Source}, index: -1}
	if cfg.RefreshEvery != 0 || cfg.Limits != (Limits{}) {
		a.cfg.differs = &cfg
	}
	return a
}

// Name returns the account's name.
func (a *Account) Name() string { return a.name }

// Role says whether this process can refresh the account.
func (a *Account) Role() Role {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.roleLocked()
}

func (a *Account) roleLocked() Role {
	if a.cfg.Source == nil {
		return Reader
	}
	return Refresher
}

// Token returns the current token. While the coordinator Runs and holds a
// token that is a read from memory, which asks neither ctx nor the store.
//
// Otherwise it reads the store and, if there is no token, waits: as a
// refresher for its own or another's call to the source, as a reader for the
// notification of one. It returns at once when waiting is pointless: a
// *RefusedError when the issuer refuses the account, a *QuotaError when it
// answers again only after more than a minute, a *ThrottledError when the daily
// budget is used up. When ctx ends first the error wraps ErrNoToken,
// ctx's error and what is known of the cause. Without Run an unreachable store
// (ErrUnreachable) is not waited for either.
func (a *Account) Token(ctx context.Context) (t Token, err error) {
	t.value = a.token.Load()
	if t.value == nil {
		t, err = a.waitForToken(ctx)
	}
	return // bare, and token is the first field: so it is just small enough to be inlined
}

// waitForToken is apart so that Token gets along with a small stack frame,
// which is a third of its time.
func (a *Account) waitForToken(ctx context.Context) (Token, error) {
	n := need{reason: ReasonMissing}
	if h := a.waitBehind(ctx, &n); h != nil {
		return h.Token, nil
	}
	h, err := a.await(ctx, n)
	if err != nil {
		return Token{}, err
	}
	return h.Token, nil
}

// Current is Token with everything that is known of it.
func (a *Account) Current(ctx context.Context) (Snapshot, error) {
	if h := a.hot.Load(); h != nil {
		return a.snapshot(h), nil
	}
	h, err := a.await(ctx, need{reason: ReasonMissing})
	if err != nil {
		return Snapshot{}, err
	}
	return a.snapshot(h), nil
}

// Next waits for a record whose generation is newer than after and returns
// it, at once if there is one. It causes no refresh as long as there is a
// token. Errors as for Token; if ctx ends and a token is there that is not
// newer, the error is ctx's alone.
func (a *Account) Next(ctx context.Context, after Fence) (Snapshot, error) {
	if h := a.hot.Load(); h != nil && h.Generation > after {
		return a.snapshot(h), nil
	}
	h, err := a.await(ctx, need{after: after, reason: ReasonMissing})
	if err != nil {
		return Snapshot{}, err
	}
	return a.snapshot(h), nil
}

// Refresh forces a new token and returns it. Callers that come while a
// refresh is under way share its result. It passes over the back-off after a
// failure, but not over the daily budget (minus its reserve) and the minimum
// interval: *ThrottledError. What went wrong at the source is returned: a
// *RefusedError, *QuotaError or *FetchError; the current token stays in use then.
//
// A reader's Refresh is done by a refresher that hears of it; if none does
// before ctx ends, the error wraps ErrNoToken.
func (a *Account) Refresh(ctx context.Context) (Snapshot, error) {
	seen, err := a.seen(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	return a.replace(ctx, ReasonForced, seen)
}

// Invalidate reports that the issuer rejected a token (WeChat: 40001, 40014,
// 42001) and returns the one to use instead. A report of a token that is
// not the current one is answered with the current one; only a report of the
// current token leads to a refresh, one for all who report it. Errors as for
// Refresh.
func (a *Account) Invalidate(ctx context.Context, rejected Token) (Snapshot, error) {
	h := a.hot.Load()
	if h == nil {
		var err error
		if h, err = a.await(ctx, need{reason: ReasonMissing}); err != nil {
			return Snapshot{}, err
		}
	}
	if !h.Token.Equal(rejected) {
		return a.snapshot(h), nil
	}
	return a.replace(ctx, ReasonRejected, h.Generation)
}

// Watch returns a channel that receives the newest record after each change,
// beginning with the current one if there is one. A slow receiver misses
// records but never the newest. The channel is closed when ctx ends or the
// account is removed. Without Run the account is followed by a subscription of
// its own and by reading the store every 2 s.
func (a *Account) Watch(ctx context.Context) <-chan Snapshot {
	snapshots := make(chan Snapshot, 1)
	go func() { // ends with ctx or the account
		defer close(snapshots)
		var after Fence
		for {
			s, err := a.Next(ctx, after)
			switch {
			case err == nil:
			case ctx.Err() != nil, errors.Is(err, ErrUnknownAccount):
				return
			default: // said at once, nothing to wait for: come back later
				if !sleep(ctx, a.c.cfg.LockTTL) {
					return
				}
				continue
			}
			after = s.Generation
			select {
			case <-snapshots: // a slow receiver loses the older one
			default:
			}
			snapshots <- s
		}
	}()
	return snapshots
}

// SetSource replaces the account's source, for example because its secret
// changed. Nil makes this process a reader.
func (a *Account) SetSource(s Source) {
	a.c.membership.Lock()
	defer a.c.membership.Unlock()
	a.mu.Lock()
	a.cfg.Source = s
	a.known.throttled = 0 // another credential may be free of it
	a.known.readAgain()
	role, removed := a.roleLocked(), a.removed
	a.broadcastLocked()
	a.mu.Unlock()
	if removed {
		return
	}
	a.c.sub.Add(role, a.name)
	a.c.schedule.at(a, time.Now())
}

// seen returns the generation that a forced refresh is to replace, 0 if there
// is no token yet.
func (a *Account) seen(ctx context.Context) (Fence, error) {
	if h := a.hot.Load(); h != nil {
		return h.Generation, nil
	}
	asked := a.asked()
	states, err := a.c.store.Load(ctx, a.name)
	if ctx.Err() == nil { // else it may be the caller who gave up, not the store
		a.c.reached(err)
	}
	if err != nil {
		return 0, fmt.Errorf("refresh %q: %w", a.name, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.absorbLocked(states[0], asked)
	return max(states[0].Record.Generation, a.generationLocked()), nil
}

// replace waits for a record newer than seen and sees to it that one is
// fetched.
func (a *Account) replace(ctx context.Context, reason Reason, seen Fence) (Snapshot, error) {
	h, err := a.await(ctx, need{after: seen, reason: reason, askedBy: callerOf(ctx)})
	if err != nil {
		return Snapshot{}, err
	}
	return a.snapshot(h), nil
}

// snapshot returns h with its TTL as it is now.
func (a *Account) snapshot(h *held) Snapshot {
	s := Snapshot{Record: h.Record, Stale: a.c.stale()}
	s.TTL = time.Until(a.c.time(h.until))
	return s
}

// broadcastLocked wakes everyone who waits for a change.
func (a *Account) broadcastLocked() {
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}

// changedLocked returns a channel that the next broadcast closes.
func (a *Account) changedLocked() <-chan struct{} {
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	return a.changed
}

func (a *Account) remove() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.removed = true
	a.showLocked(nil)
	a.broadcastLocked()
}

// follow has the account read once Run is under way, at the latest when the
// subscription should have said so.
func (a *Account) follow() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known.readAgain()
	a.c.schedule.at(a, time.Now().Add(subscribeGrace+time.Duration(a.c.count.Load())*subscribeGraceEach))
}

// unfollow ends the trust in memory when Run ends.
func (a *Account) unfollow() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.showLocked(nil)
	a.broadcastLocked()
}

// rouse has everyone who waits look again.
func (a *Account) rouse() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.broadcastLocked()
}

// showLocked makes h what is returned without looking further; nil: nothing.
func (a *Account) showLocked(h *held) {
	a.hot.Store(h)
	if h == nil {
		a.token.Store(nil)
		return
	}
	a.token.Store(h.Token.value)
}

// sleep waits for d and reports whether ctx still lives.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
