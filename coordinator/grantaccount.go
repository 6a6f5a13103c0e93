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
// has confirmed that the grant is durable. The account is refreshed at once if it has
// no token.
func (a *Account) Consent(ctx context.Context, c Consent) error {
	return a.changeGrant(ctx, func(g Grant, now time.Time) (Grant, bool) { return g.Consented(c, now), true })
}

// Receive keeps a token that the issuer has pushed. It returns nil when the store has
// confirmed that it is durable, or has had it before.
func (a *Account) Receive(ctx context.Context, r Received) error {
	return a.changeGrant(ctx, func(g Grant, now time.Time) (Grant, bool) { return g.WithReceived(r, now) })
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

// changeGrant makes a transition of the stored grant, until no other process comes
// between.
func (a *Account) changeGrant(ctx context.Context, transition func(g Grant, now time.Time) (Grant, bool)) error {
	grants, err := a.c.grants()
	if err != nil {
		return err
	}
	for {
		r, err := grants.LoadGrant(ctx, a.name)
		if err != nil {
			return fmt.Errorf("read the grant of %q: %w", a.name, err)
		}
		g, changed := transition(r.Grant, r.Now)
		if !changed {
			return nil
		}
		err = grants.SaveGrant(ctx, a.name, g, g.Summary(a.rules.Value().grant, r.Now))
		if !errors.Is(err, ErrGrantChanged) {
			return err
		}
	}
}
