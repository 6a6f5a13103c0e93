package wechat

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// sync compares the members with WeChat's list: it adds authorizers that are missing, with
// their refresh tokens, and removes those whose authorization has ended though no event
// said so. Run calls it when it starts, daily, and after an authorization was found to
// have ended. It makes one request for each 500 authorizers.
func (p *Platform) sync(ctx context.Context) error {
	component, ok := p.config.Account.Peek()
	if !ok {
		return errNoComponentToken
	}
	f := p.config.Component.service.fetch(ClassifyAuthorizer, coordinator.FetchRequest{Parent: component.Record}, "")
	all, _, _, failure := p.list.read(ctx, f, component.Token)
	if failure != nil {
		if failure.Kind == coordinator.FailedParent {
			_, _ = p.config.Account.Invalidate(ctx, component.Token) // the next try has another
		}
		return failure
	}
	var unreadable []string
	for _, a := range all {
		switch {
		case p.holdsGood(a.appID):
		case a.refresh == "":
			if p.wants(a.appID) && p.followed[a.appID] == nil && time.Since(coordinator.CredibleTime(a.at, time.Now())) > pushInterval { // else its code may be about to be exchanged
				unreadable = append(unreadable, a.appID)
			}
		default:
			if err := p.adopt(ctx, a); err != nil {
				return err
			}
		}
	}
	p.reportUnreadable(unreadable)
	for appID := range p.followed {
		if _, stays := all[appID]; !stays && !p.holdsGood(appID) {
			if err := p.abandon(ctx, appID); err != nil {
				return err
			}
		}
	}
	return nil
}

var errNoComponentToken = fmt.Errorf("%w: the platform has no component_access_token yet", coordinator.ErrNoToken)

// holdsGood reports whether an authorizer is an account with a grant that works, as far
// as is known here.
func (p *Platform) holdsGood(appID string) bool {
	a := p.followed[appID]
	if a == nil {
		return false
	}
	grant := a.Status().Grant
	return grant != nil && grant.Condition == coordinator.GrantGood
}

// adopt makes a listed authorizer a member with the refresh token in the list.
func (p *Platform) adopt(ctx context.Context, a listed) error {
	refresh := coordinator.NewToken(a.refresh)
	after, changed, err := p.changeGrant(ctx, a.appID, func(g coordinator.Grant, now time.Time) coordinator.Grant {
		if slices.ContainsFunc(g.Tokens, func(t coordinator.GrantToken) bool { return !t.Refused || t.Token.Equal(refresh) }) {
			return g
		}
		return g.Consented(coordinator.Consent{Token: refresh, At: eventTime(a.at, a.refresh, g.ConsentedAt)}, now)
	})
	if err != nil {
		return err
	}
	if changed {
		p.log.Info("WeChat lists an authorizer whose authorization was not known", "authorizer", a.appID)
	}
	if len(after.Tokens) == 0 {
		return nil // it has been withdrawn since
	}
	return p.setMember(ctx, a.appID, true)
}

// abandon removes an authorizer whose tokens are refused and that WeChat does not list.
func (p *Platform) abandon(ctx context.Context, appID string) error {
	after, changed, err := p.changeGrant(ctx, appID, func(g coordinator.Grant, now time.Time) coordinator.Grant {
		if len(g.Tokens) == 0 || slices.ContainsFunc(g.Tokens, func(t coordinator.GrantToken) bool { return !t.Refused }) {
			return g
		}
		return g.Consented(coordinator.Consent{At: g.ConsentedAt.Add(time.Millisecond)}, now) // older than any later event
	})
	if err != nil || len(after.Tokens) > 0 {
		return err
	}
	if changed {
		p.log.Warn("an account no longer authorizes the platform, and no event has said so", "authorizer", appID)
	}
	return p.setMember(ctx, appID, false)
}

// setMember adds an authorizer to the members, or removes it.
func (p *Platform) setMember(ctx context.Context, appID string, present bool) error {
	if err := p.config.Account.SetMember(ctx, appID, present); err != nil {
		return err
	}
	p.wake()
	return nil
}

// reportUnreadable logs the authorizers that WeChat lists without a refresh token, each
// once.
func (p *Platform) reportUnreadable(now []string) {
	slices.Sort(now)
	for _, appID := range now {
		if !slices.Contains(p.unreadable, appID) {
			p.log.Error("WeChat lists an authorizer without its refresh token, because the code of its authorization was never exchanged: "+
				"its administrator must authorize the platform again, with another set of permissions", "authorizer", appID)
		}
	}
	p.unreadable = now
}
