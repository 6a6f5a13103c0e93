package wechat

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// This file keeps the authorizations of which no account here takes care: of authorizers
// that get none, and of those whose events the store could not take.

const (
	// settleEvery is how often the grant of an authorizer without an account is looked at.
	settleEvery = 5 * time.Minute

	// settleAfter is how old its code is then at least: a process in which the authorizer
	// is an account exchanges it sooner.
	settleAfter = time.Minute

	// authCodeLife is how long a code is good.
	authCodeLife = time.Hour

	// storeWithin is how long one authorization is tried to be stored.
	storeWithin = 10 * time.Second
)

// settle exchanges the codes of authorizers that have no accounts here. A code ends, and of
// an authorization whose code was never exchanged WeChat's list has no refresh token: the
// authorizer could not become an account later. Run calls it.
func (p *Platform) settle(ctx context.Context, appIDs []string) {
	rests := make(map[string]time.Time, len(appIDs))
	for _, appID := range appIDs {
		rests[appID] = p.rests[appID]
		if now := time.Now(); ctx.Err() == nil && !now.Before(rests[appID]) {
			rests[appID] = now.Add(p.exchange(ctx, appID))
		}
	}
	p.rests = rests
}

// exchange puts a refresh token in the place of the code that the grant of an authorizer may
// be, and returns when to look at it again. It marks nothing: of two processes that exchange
// a code at once, one finds the refresh token in WeChat's list.
func (p *Platform) exchange(ctx context.Context, appID string) (again time.Duration) {
	var now time.Time
	g, _, err := p.changeGrant(ctx, appID, func(g coordinator.Grant, at time.Time) coordinator.Grant {
		now = at
		return g
	})
	if err != nil || len(g.Tokens) == 0 {
		return settleEvery
	}
	code := g.Tokens[len(g.Tokens)-1]
	component, ok := p.config.Account.Peek()
	switch {
	case code.Form != AuthorizationCode, code.Refused:
		return settleEvery
	case !ok, now.Sub(g.ObtainedAt) < settleAfter:
		return 0
	}
	fence := max(coordinator.Fence(now.UnixMicro()), g.Newest()+1, g.Consent+1)
	result, err := p.source(appID).Fetch(ctx, coordinator.FetchRequest{Parent: component.Record, Grant: code})
	failure, _ := errors.AsType[*coordinator.FetchError](err)
	switch {
	case !result.Grant.IsZero(): // also without a token
		answer := coordinator.GrantAnswer{Account: appID, Fence: fence, Parent: code.Fence, Consent: g.Consent, Token: result.Grant}
		if _, _, err = p.changeGrant(ctx, appID, func(g coordinator.Grant, now time.Time) coordinator.Grant {
			g, _ = g.Keep(answer, now)
			return g
		}); err != nil {
			break // the list has the refresh token now
		}
		p.log.Info("the code of an authorizer that is no account here is exchanged for its refresh token", "authorizer", appID)
		return settleEvery
	case failure.Kind == coordinator.FailedParent:
		_, _ = p.config.Account.Invalidate(ctx, component.Token) // the next try has another
		return 0
	case failure.Kind == coordinator.FailedGrant:
		_, _, err = p.changeGrant(ctx, appID, func(g coordinator.Grant, _ time.Time) coordinator.Grant {
			g, _ = g.Refuse(fence, code.Fence, "")
			return g
		})
		err = errors.Join(failure, err)
	case failure.RetryIn > settleEvery:
		again = failure.RetryIn
	}
	p.log.Warn("the code of an authorizer that is no account here cannot be exchanged", "authorizer", appID, "error", err)
	return max(again, settleEvery)
}

// unstored is what an event has told of an authorization, and when it came.
type unstored struct {
	code    string
	created time.Time
	came    time.Time
}

// keepUnstored keeps in memory what the store could not take, if nothing newer is there:
// WeChat pushes again only for a few seconds.
func (p *Platform) keepUnstored(appID, code string, created time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u, ok := p.unstored[appID]; !ok || !created.Before(u.created) {
		p.unstored[appID] = unstored{code, created, time.Now()}
	}
}

// storeUnstored stores what the store could not take when it came. Run calls it.
func (p *Platform) storeUnstored(ctx context.Context) {
	p.mu.Lock()
	waiting := maps.Clone(p.unstored)
	p.mu.Unlock()
	for appID, u := range waiting {
		storing, cancel := context.WithTimeout(ctx, storeWithin)
		err := p.takeConsent(storing, appID, u.code, u.created)
		cancel()
		ended := err != nil && time.Since(u.came) > authCodeLife
		if ended {
			p.log.Error("an event of an authorizer could not be stored for an hour", "authorizer", appID, "authorized", u.code != "", "error", err)
		}
		if err != nil && !ended {
			return // the others would fail, too
		}
		p.mu.Lock()
		if p.unstored[appID] == u {
			delete(p.unstored, appID)
		}
		p.mu.Unlock()
	}
}

// TakeAuthCode stores the authorization whose authorization_code came with a redirect of the
// browser. WeChat pushes the codes, too: call it if the push may have been missed. The code
// does not say whose it is, so it is exchanged at once. If WeChat says that the code was
// exchanged before, as it is when the push has come, its list of authorizers is read within
// minutes, and the error is nil.
func (p *Platform) TakeAuthCode(ctx context.Context, code string) error {
	component, ok := p.config.Account.Peek()
	if !ok {
		return errNoComponentToken
	}
	f := p.config.Component.service.fetch(ClassifyAuthorizer, coordinator.FetchRequest{
		Parent: component.Record, Grant: coordinator.GrantToken{Token: coordinator.NewToken(code)},
	}, "")
	g, failure := f.call(ctx, queryAuth(p.config.Component.appID, component.Token, code))
	switch {
	case failure != nil && failure.Code == coordinator.NumericCode(codeBadAuthCode):
		p.log.InfoContext(ctx, "an authorization_code that was put in is invalid or was used: WeChat's list of authorizers is read")
		p.list.want()
		p.wake()
		return nil
	case failure != nil && g.refresh == "":
		if failure.Kind == coordinator.FailedParent {
			_, _ = p.config.Account.Invalidate(ctx, component.Token)
		}
		return failure
	case g.refresh == "" || coordinator.ValidateName(g.owner) != nil:
		p.list.want()
		return f.failed(&coordinator.FetchError{Kind: coordinator.FailedBusy, Message: "api_query_auth answered no refresh token, or no AppID"})
	}
	_, changed, err := p.changeGrant(ctx, g.owner, func(before coordinator.Grant, now time.Time) coordinator.Grant {
		// The event of the authorization is older, also if it is of this second.
		at := now.Truncate(time.Second).Add(time.Second - 1)
		return before.Consented(coordinator.Consent{Token: coordinator.NewToken(g.refresh), At: at}, now)
	})
	if err == nil {
		err = p.setMember(ctx, g.owner, true)
	}
	if err != nil {
		p.list.want() // which has the refresh token
		return err
	}
	if changed {
		p.log.InfoContext(ctx, "an account has authorized the platform", "authorizer", g.owner)
	}
	return nil
}
