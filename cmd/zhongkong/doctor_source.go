package main

import (
	"cmp"
	"context"
	"errors"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/coordinator/wecom"
)

// parent reports whether the account has what it needs of its parent.
func (x checks) parent(ctx context.Context, a config.Account) bool {
	if a.Of == "" {
		return true
	}
	states, err := x.store.Load(ctx, a.Of)
	switch {
	case err != nil:
		x.fail("parent", "", "%v", err)
		return false
	case !states[0].Record.Usable():
		x.fail("parent", "zhongkong doctor "+a.Of, "the account needs a token of %s, which has none: %s", a.Of, lacks(states[0]))
		return false
	}
	x.ok("parent", "%s has a token", a.Of)
	return true
}

// credential tries the account's secret, and with it whether the issuer accepts this
// machine, by a call that ends no token.
func (x checks) credential(ctx context.Context, a config.Account, state coordinator.State) bool {
	check, tried := "secret", "the secret"
	if a.Of != "" {
		check, tried = "source", "the token of "+a.Of
	}
	kind := a.Kind()
	trial := kind.Trial
	if a.Grant.Needed && trial == nil {
		x.ok(check, "not tried: a call would present the grant")
		return true
	}
	if trial == nil {
		trial = kind.Make
	}
	source, err := trial(a.Values())
	if err != nil {
		x.fail(check, "", "%v", err)
		return false
	}
	if kind.Trial == nil { // the call would be the very one that the coordinator makes
		if f := inForce(source, state); f != nil && f.Kind == coordinator.FailedRefused {
			x.fail(check, sources.Hint(a.Source, f.Code), "the issuer refused %s %s ago and may block who asks again: %s",
				tried, brief(state.Now.Sub(f.At)), failureWords(f.Code, f.Message))
			return false
		} else if f != nil {
			x.warn(check, sources.Hint(a.Source, f.Code), "not tried: the issuer demands to wait for %s: %s", brief(f.RetryAt.Sub(state.Now)), failureWords(f.Code, f.Message))
			return false
		}
		if repeats(a) == coordinator.RepeatKills {
			x.ok(check, "not tried: a call would end the current token")
			return true
		}
	}
	_, err = source.Fetch(ctx, coordinator.FetchRequest{Reason: coordinator.ReasonSchedule, Current: state.Record.Token, Parent: x.parentOf(ctx, a)})
	if err == nil {
		x.ok(check, "%s accepts %s and this address (tried by a call that ends no token)", place(a), tried)
		return true
	}
	return x.refusal(check, a, err)
}

// inForce returns the failure after which the issuer wants no call yet: it demanded a
// wait, or refused the source's credential.
func inForce(source coordinator.Source, state coordinator.State) *coordinator.Failure {
	f := state.Failure
	if f == nil || f.InARow == 0 || !f.RetryAt.After(state.Now) {
		return nil
	}
	c, ok := source.(coordinator.Credentialed)
	if f.Kind == coordinator.FailedLater || f.Kind == coordinator.FailedRefused && ok && f.Credential == c.Credential() {
		return f
	}
	return nil
}

// refusal reports a call that brought no token, and whether a first token may be fetched
// all the same.
func (x checks) refusal(check string, a config.Account, err error) bool {
	var fetch *coordinator.FetchError
	isFetch := errors.As(err, &fetch)
	switch {
	case isFetch && fetch.Kind == coordinator.FailedRefused:
		if address, ok := wechat.SeenAddress(err); ok {
			x.fail("whitelist", "add "+address+" to the IP whitelist in the WeChat console; it takes effect within 10 minutes",
				"the issuer sees this machine as %s, which is not on the account's whitelist (code %s)", address, fetch.Code)
			return false
		}
		if address, ok := wecom.SeenAddress(err); ok {
			x.fail("whitelist", sources.Hint(a.Source, fetch.Code), "the issuer sees this machine as %s, which is not among the app's trusted IPs (code %s)", address, fetch.Code)
			return false
		}
		x.fail(check, sources.Hint(a.Source, fetch.Code), "the issuer refuses: %v", fetch)
		return false
	case isFetch && fetch.Kind == coordinator.FailedParent:
		x.fail(check, "zhongkong refresh "+a.Of, "the issuer rejects the token of %s: %v", a.Of, fetch)
		return false
	case isFetch && fetch.Kind == coordinator.FailedLater:
		x.warn(check, sources.Hint(a.Source, fetch.Code), "could not be tried: %v", err)
		return true
	}
	x.fail(check, "check that this machine reaches "+place(a)+": it refreshes the account", "could not be tried: %v", err)
	return true
}

// parentOf returns the record of the account's parent; the zero Record if it has none.
func (x checks) parentOf(ctx context.Context, a config.Account) coordinator.Record {
	if a.Of == "" {
		return coordinator.Record{}
	}
	states, err := x.store.Load(ctx, a.Of)
	if err != nil {
		return coordinator.Record{}
	}
	return states[0].Record
}

// probe asks the issuer whether it accepts a token. An error that wraps
// httpsource.ErrNoProbe: that cannot be asked here.
func (x checks) probe(ctx context.Context, token coordinator.Token, a config.Account) error {
	kind, parent := a.Kind(), x.parentOf(ctx, a)
	if kind.Probe == nil || a.Of != "" && !parent.Usable() {
		return httpsource.ErrNoProbe
	}
	probe := kind.Probe(a.Values())
	if probe == nil { // without its secret, this process does not know the issuer
		return httpsource.ErrNoProbe
	}
	return probe(ctx, token, parent.Token)
}

// repeats returns what a call does to the token before.
func repeats(a config.Account) coordinator.Repeat {
	source, err := a.Kind().Make(a.Values())
	if described, ok := source.(coordinator.Described); err == nil && ok {
		return described.Description().Repeat
	}
	return coordinator.RepeatKills
}

// place is where the account's issuer is, for people.
func place(a config.Account) string {
	return cmp.Or(a.APIBase, a.Text("token_url"), "the issuer")
}

// isWeChat reports whether the account has an AppID and an AppSecret of WeChat.
func isWeChat(a config.Account) bool {
	return a.Source == "" || a.Source == sources.Token || a.Source == sources.StableToken
}

// secretName is what the issuer calls the account's secret.
func secretName(a config.Account) string {
	if isWeChat(a) {
		return "AppSecret"
	}
	return "secret"
}

// otherProgram asks to find what fetches tokens besides the fleet.
func otherProgram(a config.Account) string {
	if isWeChat(a) {
		return "find the other program that calls /cgi-bin/token with this AppID"
	}
	return "find the other program that fetches tokens with this secret"
}
