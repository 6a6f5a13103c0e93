package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// grantChange is a transition of an account's stored grant on its way.
type grantChange struct {
	c       *Coordinator
	account string
	rules   GrantRules
	memory  *grantMemory // nil: this process remembers nothing of the account

	// transition returns the next version, or false. If it leaves the record as it is,
	// that is the result; with confirm it is confirmed all the same, because the version
	// may be this change's own, of a save whose answer was lost.
	transition func(GrantReading) (Grant, bool)
	confirm    bool

	next    Grant // what may be stored already; Version 0: nothing
	summary GrantSummary
	read    GrantReading // the last one
	asked   instant      // before it
}

// make makes the change and has it confirmed, until ctx ends. The errors of a reading,
// and those that a repetition does not end, are returned at once.
func (g *grantChange) make(ctx context.Context) (Grant, error) {
	grants, err := g.c.grants()
	if err != nil {
		return Grant{}, err
	}
	for wait := storeRetryFirst; ; wait = min(2*wait, storeRetryMost) {
		err := g.once(ctx, grants)
		switch {
		case err == nil:
			return g.next, nil
		case errors.Is(err, ErrGrantChanged):
			g.next, wait = Grant{}, storeRetryFirst
			continue
		case errors.Is(err, ErrUnconfirmed):
			g.c.observe(Observation{Kind: UnconfirmedGrant, Account: g.account, Err: err})
			g.c.log.Warn("the store has not confirmed that the grant is durable: asking again", "account", g.account, "error", err)
		case g.next.Version == 0 || !errors.Is(err, ErrUnreachable) && !errors.Is(err, context.DeadlineExceeded):
			return Grant{}, err
		}
		if !sleep(ctx, wait) {
			return Grant{}, fmt.Errorf("save the grant of %q: %w: %w", g.account, ctx.Err(), err)
		}
	}
}

// once is one try.
func (g *grantChange) once(ctx context.Context, grants GrantStore) error {
	ctx, cancel := context.WithTimeout(ctx, g.c.cfg.LockTTL)
	defer cancel()
	if g.next.Version == 0 {
		changed, err := g.begin(ctx, grants)
		if err != nil || !changed && !g.confirm || g.next.Version == 0 {
			return err
		}
	}
	err := grants.SaveGrant(ctx, g.account, g.next, g.summary)
	g.c.reachedGrant(ctx, err)
	var unsettled *UnsettledError
	switch {
	case err == nil:
		g.memory.remember(g.next)
	case errors.As(err, &unsettled): // what was stored is lost
		g.next = Grant{}
	}
	return err
}

// begin reads the grant and makes the transition.
func (g *grantChange) begin(ctx context.Context, grants GrantStore) (changed bool, err error) {
	g.asked = g.c.now()
	if g.read, err = g.c.loadGrant(ctx, grants, g.account, g.rules, g.memory); err != nil {
		return false, err
	}
	g.next, changed = g.transition(g.read)
	g.summary = g.next.Summary(g.rules, g.read.Now)
	return changed, nil
}

// loadGrant reads a grant. What the store has lost and this process remembers is put
// back first.
func (c *Coordinator) loadGrant(ctx context.Context, grants GrantStore, account string, rules GrantRules, m *grantMemory) (GrantReading, error) {
	for restored := false; ; restored = true {
		r, err := grants.LoadGrant(ctx, account)
		c.reachedGrant(ctx, err)
		if err != nil {
			return GrantReading{}, fmt.Errorf("read the grant of %q: %w", account, err)
		}
		mine := m.recall()
		switch {
		case restored && !r.Grant.follows(mine):
			return GrantReading{}, fmt.Errorf("put back the grant of %q: the store has not taken version %d: %w", account, mine.Version, ErrUnconfirmed)
		case r.Grant.follows(mine):
			m.remember(r.Grant)
			return r, nil
		}
		mine = mine.merge(r.Grant)
		err = grants.RestoreGrant(ctx, account, mine, mine.Summary(rules, r.Now))
		c.reachedGrant(ctx, err)
		if err != nil {
			return GrantReading{}, fmt.Errorf("put back the grant of %q: %w", account, err)
		}
		m.remember(mine)
		c.observe(Observation{Kind: RestoredGrant, Account: account})
		c.log.Warn("grant restored: the store had lost its newest version", "account", account, "grant_version", mine.Version, "stored_grant_version", r.Grant.Version)
	}
}

// ChangeGrant makes a transition of a grant, also of a name that is no account of this
// coordinator, and returns nil when the store has confirmed it, and the Copy has it. An
// error that wraps [ErrNotCopied] says that only the Copy lacks it; after one that wraps
// [ErrUnconfirmed], or ctx.Err(), the store may have it. transition may be called again, if
// another process has changed the grant meanwhile; false: there is nothing to change.
func (c *Coordinator) ChangeGrant(
	ctx context.Context, account string, rules GrantRules, transition func(g Grant, now time.Time) (_ Grant, changed bool),
) error {
	var m *grantMemory
	var unread error
	a, known := c.Account(account)
	if known {
		m = a.grantMemory()
		unread = a.primeChange(ctx, m)
	}
	change := grantChange{
		c: c, account: account, rules: rules, memory: m,
		transition: func(r GrantReading) (Grant, bool) { return transition(r.Grant, r.Now) },
	}
	g, err := change.make(ctx)
	if err != nil {
		return err
	}
	if known {
		a.apply(func(v *view, e env) effects { return v.grantHeard(change.summary, e) })
	}
	err = c.copyGrant(ctx, account, g, m)
	if err == nil && unread != nil && g.Consent < m.recall().Consent {
		err = errNotFollowed
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotCopied, err)
	}
	return nil
}

// primeChange reads the copy before a change. The store may have lost a consent that the copy
// has, and its clock may be behind that one's: a consent of now would count as the older one,
// and be lost when the copy's is put back. What only the caller has does not wait for long.
func (a *Account) primeChange(ctx context.Context, m *grantMemory) error {
	if m == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, a.c.cfg.LockTTL/4)
	defer cancel()
	m.unprime()
	return a.primeGrant(ctx, m)
}

// errNotFollowed says that the copy has a version that the store has lost, and that it has
// gone on from an older one. Once the store has both, the copy can be made.
var errNotFollowed = errors.New("the copy has a version that the store has lost")

// copyGrant puts a grant to the Copy, if there is one. What the copy has and the grant
// was not made of is remembered, and nothing is put.
func (c *Coordinator) copyGrant(ctx context.Context, account string, g Grant, m *grantMemory) error {
	if c.cfg.Copy == nil || g.Version == 0 {
		return nil
	}
	before, err := c.cfg.Copy.Get(ctx, account)
	if err == nil && !g.follows(before) && m != nil {
		m.remember(before)
		if !before.follows(g) {
			err = errNotFollowed
		}
	}
	if err == nil {
		err = c.cfg.Copy.Put(ctx, account, g)
	}
	if err != nil {
		return fmt.Errorf("copy the grant of %q: %w", account, err)
	}
	return nil
}
