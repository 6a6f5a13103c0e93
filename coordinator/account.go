package coordinator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
	"unique"
)

// Account is one account of a Coordinator. Its methods are safe for concurrent
// use.
type Account struct {
	// token and served are what Token and Current return at once: set only
	// while Run keeps them right, withdrawn by the schedule at the record's
	// end. token is at offset 0, where the load is cheap enough for Token to
	// stay within the inlining budget (see BenchmarkToken).
	token  atomic.Pointer[string]
	served atomic.Pointer[held]

	c    *Coordinator
	name string

	mu      sync.Mutex // guards what follows; never held over Store, or Source but for its Credential
	view    view
	source  Source
	rules   unique.Handle[rules]
	family  *family       // nil, mostly: neither parent nor children
	changed chan struct{} // closed at the next change; nil: nothing waits
	grant   *grantMemory  // nil, mostly: the account needs no grant

	needless context.CancelFunc // guarded by mu: gives the lock up that is asked for; nil: none is

	index  int32           // guarded by scheduler.mu: in its heap; -1: not there
	ready  [slotKinds]bool // guarded by scheduler.mu: it waits for a slot of the kind
	unread bool            // guarded by scheduler.mu: it waits to be read, or is being read
}

func newAccount(c *Coordinator, cfg AccountConfig) (*Account, error) {
	r, err := c.cfg.account(cfg)
	a := &Account{c: c, name: cfg.Name, index: -1}
	a.set(cfg.Source, r)
	return a, err
}

// set replaces what a configuration says. mu is held, or nothing else has the account yet.
func (a *Account) set(s Source, r rules) {
	a.source, a.rules = s, unique.Make(r)
	if r.grant.Needed && a.grant == nil {
		a.grant = new(grantMemory)
	}
}

// Name returns the account's name.
func (a *Account) Name() string { return a.name }

// Role says whether this process can refresh the account.
func (a *Account) Role() Role { return a.Status().Role }

// Token returns the current token. While the coordinator Runs and holds a
// token that is a read from memory, which asks neither ctx nor the store.
//
// Otherwise it reads the store and, if there is no token, waits: as a
// refresher for its own or another's call to the source, as a reader for the
// notification of one. When ctx ends first the error wraps ErrNoToken, ctx's error and
// what is known of the cause. Token returns at once when waiting is pointless:
//
//   - a *RefusedError: the issuer refuses the account, or its grant, which needs a person
//   - a *QuotaError: the issuer answers again only after more than a minute
//   - a *ThrottledError: the calls of the day, or of Limits.Window, are used up, or
//     refreshes without a demand follow each other too fast (LimitLoop)
//   - a *GrantError: the issuer has to push a token of the grant first
//   - a *ParentError: the parent has no token, for one of these reasons
//   - Status.Err: the stored record cannot be used, and this process cannot replace it
//     now: as a reader, or because it has done so in the last minutes
//   - ErrDenied, ErrUnknownAccount when the account was removed, and errors of the
//     store that are not ErrUnreachable; without Run that one as well
func (a *Account) Token(ctx context.Context) (t Token, err error) {
	t.value = a.token.Load()
	if t.value == nil {
		t, err = a.waitForToken(ctx)
	}
	return // bare, and token is the first field: so it is just small enough to be inlined
}

// waitForToken is a separate function to keep Token's stack frame small; inlined,
// it costs Token a third.
func (a *Account) waitForToken(ctx context.Context) (Token, error) {
	h, err := a.wait(ctx, waiter{reason: ReasonMissing})
	if err != nil {
		return Token{}, err
	}
	return h.token(), nil
}

// Current is Token with everything that is known of it.
func (a *Account) Current(ctx context.Context) (Snapshot, error) { return a.Next(ctx, 0) }

// Next waits for a record whose generation is newer than after and returns
// it, at once if there is one. An after that is not Credible by the store's clock counts
// as 0 if it is newer than what is there. It causes no refresh as long as there is a
// token. Errors as for Token; if ctx ends and a token is there that is not
// newer, the error is ctx's alone.
func (a *Account) Next(ctx context.Context, after Fence) (Snapshot, error) {
	return a.snapshotOf(a.wait(ctx, waiter{after: after, reason: ReasonMissing}))
}

// Peek is Current for callers that must not wait: it returns what this process
// holds, from memory, and false if that is nothing it may serve. Without Run
// nothing is held.
func (a *Account) Peek() (Snapshot, bool) {
	h := a.served.Load()
	if h == nil {
		return Snapshot{}, false
	}
	return a.snapshot(h), true
}

// Refresh forces a new token and returns it. Callers that come while a
// refresh is under way share its result. It passes over the back-off after a
// failure, but not over the daily budget (minus its reserve) and the minimum
// interval: *ThrottledError. What went wrong at the source is returned: a
// *RefusedError, *QuotaError or *FetchError; the current token stays in use then.
// If ctx ends first the error wraps ErrNoToken, ctx's error and what is known of the
// cause, also while an older token is in use.
//
// A reader's Refresh is done by a refresher that hears of it.
func (a *Account) Refresh(ctx context.Context) (Snapshot, error) {
	seen := Fence(0)
	if h := a.served.Load(); h != nil {
		seen = h.Generation
	} else {
		s, err := a.read(ctx)
		if ended := ctx.Err(); err != nil && ended != nil {
			return Snapshot{}, &noTokenError{account: a.name, cause: err, ended: ended, unread: !a.c.running.Load()}
		}
		if err != nil {
			return Snapshot{}, err
		}
		a.update(func(v *view, _ env) { seen = max(s.Record.Generation, v.generation()) })
	}
	return a.replace(ctx, ReasonForced, seen)
}

// Invalidate reports that the issuer rejected a token (WeChat: 40001, 40014,
// 42001) and returns the one to use instead. A report of a token that is
// not the current one is answered with the current one; only a report of the
// current token leads to a refresh, one for all who report it. Errors as for
// Refresh.
func (a *Account) Invalidate(ctx context.Context, rejected Token) (Snapshot, error) {
	h, err := a.wait(ctx, waiter{reason: ReasonMissing})
	switch {
	case err != nil:
		// What is stored may be unusable, and left so for a while. If the report
		// is of the newest token that could be used, nothing else is left.
		var barred Fence
		var rejectable bool
		a.update(func(v *view, _ env) { barred, rejectable = v.rejectable(rejected) })
		if !rejectable || ctx.Err() != nil {
			return Snapshot{}, err
		}
		return a.replace(ctx, ReasonForced, barred)
	case !h.token().Equal(rejected):
		return a.snapshot(h), nil
	}
	return a.replace(ctx, ReasonRejected, h.Generation)
}

// Watch returns a channel that receives the newest record after each change,
// beginning with the current one if there is one. A slow receiver misses
// records but never the newest. The channel is closed when ctx ends or the
// account is removed: errors that Token returns at once do not end it, and the next
// token is received as soon as there is one. Without Run the account is followed by
// a subscription of its own and by reading the store every 2 s.
func (a *Account) Watch(ctx context.Context) <-chan Snapshot {
	snapshots := make(chan Snapshot, 1)
	go func() { // ends with ctx or the account
		defer close(snapshots)
		var after Fence
		for {
			s, err := a.snapshotOf(a.wait(ctx, waiter{after: after, reason: ReasonMissing, patient: true}))
			if err != nil {
				return
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

// Configure replaces the account's Source, RefreshEvery and Limits; without Source this
// process is a reader from then on. Calls that wait go on waiting, Watch goes on, and the
// token stays in use. The new Limits bind the next call to the source, and what was used of
// the window counts. When a token is replaced is stored with it, for all processes: the new
// RefreshEvery holds from the next token on.
//
// Name and Parent must be those that the account was added with: to change them, remove
// the account and add another. The error names the field that is wrong; the account
// stays as it was then. Of an account that was removed it is ErrUnknownAccount. Configure
// does not wait for the store.
func (a *Account) Configure(cfg AccountConfig) error {
	a.c.membership.Lock()
	defer a.c.membership.Unlock()
	parent := ""
	if p := a.parent(); p != nil {
		parent = p.name
	}
	fixed := func(field, given, is string) error {
		return fmt.Errorf("coordinator: account %q: %s is %q, not %q: it cannot be changed", a.name, field, given, is)
	}
	switch {
	case a.removed():
		return fmt.Errorf("%w: %q", ErrUnknownAccount, a.name)
	case cfg.Name != a.name:
		return fixed("Name", cfg.Name, a.name)
	case cfg.Parent != parent:
		return fixed("Parent", cfg.Parent, parent)
	}
	r, err := a.c.cfg.rules(cfg)
	if err != nil {
		return fmt.Errorf("coordinator: account %q: %w", a.name, err)
	}
	a.mu.Lock()
	a.set(cfg.Source, r)
	a.mu.Unlock()
	a.c.sub.Add(a.Role(), a.name)
	a.apply((*view).reconfigured)
	return nil
}

// removed reports whether the account was removed. While membership is held that does not
// change.
func (a *Account) removed() (removed bool) {
	a.update(func(v *view, _ env) { removed = v.removed })
	return removed
}

// Status returns what is known without asking the store.
func (a *Account) Status() (s Status) {
	a.update(func(v *view, e env) { s = v.status(e) })
	s.Stale = a.c.stale()
	return s
}

// replace waits for a record newer than seen and has one fetched.
func (a *Account) replace(ctx context.Context, reason Reason, seen Fence) (Snapshot, error) {
	return a.snapshotOf(a.wait(ctx, waiter{after: seen, reason: reason, askedBy: Caller(ctx), log: logContext(ctx)}))
}

func (a *Account) snapshotOf(h *held, err error) (Snapshot, error) {
	if err != nil {
		return Snapshot{}, err
	}
	return a.snapshot(h), nil
}

// snapshot returns h with its TTL as it is now.
func (a *Account) snapshot(h *held) (s Snapshot) {
	h.fill(&s.Record) // in place: a process may keep the stacks of ten thousand callers
	s.TTL, s.Stale = time.Until(a.c.time(h.until)), a.c.stale()
	return s
}

// apply makes a transition and carries its effects out.
func (a *Account) apply(transition func(*view, env) effects) effects {
	a.mu.Lock()
	e := a.env()
	fx := transition(&a.view, e)
	woken := a.carryOut(fx)
	a.awaitParent(e)
	if a.needless != nil && !a.view.locksNow(e) {
		a.needless()
	}
	a.mu.Unlock()
	a.report(fx)
	for child := range woken {
		child.apply((*view).parentServed)
	}
	return fx
}

// update makes a transition without effects, or looks at the view.
func (a *Account) update(do func(*view, env)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	do(&a.view, a.env())
}

// env returns the view's surroundings now. mu is held.
func (a *Account) env() env {
	c, running := a.c, a.c.running.Load()
	if !running { // else the schedule looks
		c.wakeUp()
	}
	wall := time.Now()
	e := env{
		cfg: &c.cfg, account: a.name, host: c.host, rules: a.rules.Value(), source: a.source,
		wall: wall, now: c.instant(wall), slept: c.slept.Load(), roll: rand.Float64(),
		running: running, connected: c.connected.Load(), stopping: c.lifetime().Err() != nil, down: c.down.Load(),
		fed: c.feed.covering(),
	}
	e.storeNow, e.storeKnown = c.storeClock.at(e.now)
	if a.family != nil {
		a.family.environ(a, &e)
	}
	return e
}

// carryOut does what has to be done in the order of the transitions. It returns the
// children that have waited for the token that is served now. mu is held.
func (a *Account) carryOut(fx effects) (woken map[*Account]struct{}) {
	if fx.serve {
		var token *string
		if fx.served != nil {
			token = fx.served.token().value
		}
		if fx.served == nil && a.served.Load() != nil {
			fx.broadcast = true // also those wait who have a token: see waiter.isWoken
		}
		a.served.Store(fx.served)
		a.token.Store(token)
		if fx.served != nil && a.family != nil {
			woken, a.family.waiting = a.family.waiting, nil
		}
	}
	if fx.broadcast && a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
	if fx.reschedule {
		if served := a.served.Load(); served != nil {
			fx.wake = min(fx.wake, served.until) // however long something else is put off
		}
		a.c.schedule.at(a, fx.wake)
	}
	return woken
}

// report tells the log, the observer and the process' health of what happened.
func (a *Account) report(fx effects) {
	if fx.missed {
		a.c.observe(Observation{Kind: Missed, Account: a.name})
	}
	if fx.refreshed {
		a.c.refreshedElsewhere()
	}
	if fx.astray {
		a.syncGrant()
	}
	if fx.alarm != nil {
		fx.alarm.sound(a)
	}
	if fx.expired != 0 {
		a.c.log.Warn("token expired", "account", a.name, "generation", fx.expired)
	}
	if fx.disowned != nil {
		a.c.log.Error("the store's clock has gone back by more than a day: the token in memory is given up",
			"account", a.name, "store_clock", fx.disowned.Now)
	}
	if fx.complaint != nil {
		a.c.log.Error("the account's data in the store cannot be used", "account", a.name, "error", fx.complaint)
	}
}
