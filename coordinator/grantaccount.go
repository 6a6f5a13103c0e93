package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// This file is what a caller can do with an account's grant.

// Consent puts in a new grant, of a person or of an event of the issuer, in place of
// the one there is; with the zero Token it withdraws it. It returns nil when the store
// has confirmed that the grant is durable and the copy has it, or if it is not newer than
// the one there is (see Consent.At). The confirmation is asked for until ctx ends. The
// account is refreshed at once, in whichever process can, unless its token came by the new
// grant. A process without the Source stores it like the grant that it replaces.
func (a *Account) Consent(ctx context.Context, c Consent) error {
	if a.removed() {
		return fmt.Errorf("%w: %q", ErrUnknownAccount, a.name)
	}
	rules, err := a.rulesOfStored(ctx)
	if err != nil {
		return err
	}
	return a.consented(ctx, rules, func(g Grant, now time.Time) (Grant, bool) {
		next := g.Consented(c, now)
		return next, next.Version != g.Version
	})
}

// Receive keeps a token that the issuer has pushed. It returns nil when the store has
// confirmed that it is durable and the copy has it, or has had it before. The account is
// refreshed at once if it has no token. A process need not have the Source for it; if it
// has, and GrantRules.Received of that is false, the push is refused.
func (a *Account) Receive(ctx context.Context, r Received) error {
	rules := a.grantRules()
	switch {
	case a.removed():
		return fmt.Errorf("%w: %q", ErrUnknownAccount, a.name)
	case rules.Needed && !rules.Received:
		return fmt.Errorf("coordinator: account %q takes no pushed token: GrantRules.Received of its source is false", a.name)
	case !rules.Needed:
		rules = pushedRules
	}
	return a.consented(ctx, rules, func(g Grant, now time.Time) (Grant, bool) { return g.WithReceived(r, now) })
}

// pushedRules are those of an issuer that pushes its tokens.
var pushedRules = GrantRules{Needed: true, Replay: ReplayFree, Received: true}

// rulesOfStored returns the account's rules. If only its source would tell them, and this
// process has none, it returns what matters to a new grant: whether the one that is stored
// was pushed.
func (a *Account) rulesOfStored(ctx context.Context) (GrantRules, error) {
	rules := a.grantRules()
	if rules.Needed {
		return rules, nil
	}
	s, err := a.read(ctx)
	if err == nil && s.Grant != nil && s.Grant.Received {
		rules = pushedRules
	}
	return rules, err
}

func (a *Account) consented(ctx context.Context, rules GrantRules, transition func(g Grant, now time.Time) (Grant, bool)) error {
	changed := false
	err := a.c.ChangeGrant(ctx, a.name, rules, func(g Grant, now time.Time) (next Grant, ok bool) {
		next, ok = transition(g, now)
		changed = changed || ok
		return next, ok
	})
	if changed && (err == nil || errors.Is(err, ErrNotCopied)) {
		a.c.observe(Observation{Kind: ConsentedGrant, Account: a.name})
		a.c.log.InfoContext(ctx, "a new grant is stored", "account", a.name)
	}
	return err
}

// Members returns the accounts that live on this one's grant; see
// GrantStore.GrantMembers.
func (a *Account) Members(ctx context.Context) ([]string, error) {
	grants, err := a.c.grants()
	if err != nil {
		return nil, err
	}
	return grants.GrantMembers(ctx, a.name)
}

// SetMember adds an account to Members, or removes it.
func (a *Account) SetMember(ctx context.Context, member string, present bool) error {
	grants, err := a.c.grants()
	if err != nil {
		return err
	}
	return grants.SetGrantMember(ctx, a.name, member, present)
}

// grants returns the store as one that keeps grants.
func (c *Coordinator) grants() (GrantStore, error) {
	grants, ok := c.store.(GrantStore)
	if !ok {
		return nil, ErrNoGrants
	}
	return grants, nil
}
