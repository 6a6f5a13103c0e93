package wechat

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// mode is how one request asks.
type mode int

const (
	classic mode = iota // mints a token, whatever there is
	normal              // stable_token: the current token; asking twice changes nothing
	forced              // stable_token with force_refresh; twice within 30 s mints once
)

const (
	// rollover is how long before its end WeChat replaces a stable token, for
	// those who ask then. Before that, asking changes nothing.
	rollover = 300 * time.Second

	// rolloverSlack makes us ask a little after the rollover began rather
	// than a little before it, whose answer would be the old token.
	rolloverSlack = 5 * time.Second

	// minRefreshIn keeps a stable token that is answered with less life than
	// WeChat promises from being asked for in a loop.
	minRefreshIn = 30 * time.Second

	// forceInterval is how far forced refreshes must lie apart: one that comes
	// too early is answered with the token there is, as if it had been done.
	forceInterval = 30 * time.Second
)

// fetch is one call of Source.Fetch: up to three requests, and what they left
// behind.
type fetch struct {
	source *Source
	asked  coordinator.FetchRequest

	calls   int  // requests that reached or may have reached WeChat
	unknown bool // one of them may have issued a token that we never saw
	retried bool
}

func (f *fetch) classic(ctx context.Context) (coordinator.FetchResult, error) {
	g, err := f.call(ctx, classic)
	if err != nil {
		return coordinator.FetchResult{}, err
	}
	return f.issue(g), nil
}

// stable asks in the forced mode if somebody wants another token than there
// is, otherwise in the normal one.
func (f *fetch) stable(ctx context.Context) (coordinator.FetchResult, error) {
	if !f.asked.Reason.Demanded() {
		g, err := f.call(ctx, normal)
		if err != nil {
			return coordinator.FetchResult{}, err
		}
		return f.stableIssue(g), nil
	}
	g, err := f.call(ctx, forced)
	if err != nil {
		return f.outOfForce(ctx, err)
	}
	if f.isCurrent(g) {
		return coordinator.FetchResult{}, f.failed(&coordinator.FetchError{
			Kind:    coordinator.FailedLater,
			RetryIn: forceInterval,
			Message: "stable_token answered a forced refresh with the current token: " +
				"forced refreshes less than 30 s apart are not carried out",
		})
	}
	return f.stableIssue(g), nil
}

// outOfForce is what can still be done when a forced refresh failed. If its 20
// a day are used up and the token is dead because somebody else forced, the
// normal mode knows theirs.
func (f *fetch) outOfForce(ctx context.Context, failure *coordinator.FetchError) (coordinator.FetchResult, error) {
	if failure.Code != codeDailyQuota || f.asked.Reason != coordinator.ReasonRejected {
		return coordinator.FetchResult{}, failure
	}
	g, err := f.call(ctx, normal)
	if err == nil && !f.isCurrent(g) {
		return f.stableIssue(g), nil
	}
	return coordinator.FetchResult{}, f.failed(failure) // with the calls made since
}

func (f *fetch) isCurrent(g grant) bool {
	return !f.asked.Current.IsZero() && f.asked.Current.Equal(coordinator.NewToken(g.token))
}

func (f *fetch) issue(g grant) coordinator.FetchResult {
	return coordinator.FetchResult{Token: coordinator.NewToken(g.token), Lifetime: g.life, Calls: f.calls, Doubt: g.doubt}
}

func (f *fetch) stableIssue(g grant) coordinator.FetchResult {
	issue := f.issue(g)
	issue.RefreshIn = stableRefreshIn(g.life)
	return issue
}

// stableRefreshIn returns when a stable token with this much life left should
// be asked for again: just after the moment from which WeChat answers with the
// next one. A fixed hour would do nothing until then.
func stableRefreshIn(left time.Duration) time.Duration {
	return max(left-rollover+rolloverSlack, min(minRefreshIn, left/2))
}

// call makes one request and what may follow it: the next host if no
// connection could be made, one repetition if the connection broke. An answer,
// of whatever kind, ends it.
//
// The repetition of a classic call keeps the order of what is issued: the
// first request's connection is gone, so what there was of it is with the
// host already or lost, and the second follows on the same host. A timeout is
// different, because then the first request may still wait somewhere to be
// carried out after the second; nor is another host safe, which knows nothing
// of what the first still does. A repeated forced call is answered with the
// token of the first if that was carried out (see forceInterval).
func (f *fetch) call(ctx context.Context, m mode) (grant, *coordinator.FetchError) {
	for host := 0; ; {
		if ctx.Err() != nil {
			return grant{}, f.transportFailed(coordinator.FailedBusy, m, host, context.Cause(ctx))
		}
		r, err := f.source.send(ctx, f.source.bases[host], m)
		if err == nil {
			f.calls++
			return f.judge(m, r)
		}
		var more bool
		if !err.sent {
			more = ctx.Err() == nil && host+1 < len(f.source.bases) && (m == normal || !f.unknown)
			if !more {
				return grant{}, f.transportFailed(coordinator.FailedBusy, m, host, err)
			}
			host++
			continue
		}
		f.calls++
		f.unknown = true
		if f.retried || ctx.Err() != nil || err.timeout && m != normal {
			return grant{}, f.transportFailed(coordinator.FailedUnknown, m, host, err)
		}
		f.retried = true
		if m == normal && host+1 < len(f.source.bases) {
			host++
		}
	}
}

// judge turns an answer into a token or a failure. A token that comes with an
// errcode is taken, since it may be the one that lives now, and a report mends
// it if it is not. It is a refusal if the token is the one that we hold: a
// relay repeats what it knows, and nothing is lost.
func (f *fetch) judge(m mode, r reply) (grant, *coordinator.FetchError) {
	r.secrets = []string{f.source.secret, f.asked.Current.Reveal()}
	g, refusal, err := r.grant()
	switch {
	case err != nil:
		failure := &coordinator.FetchError{
			Kind:    r.kind(),
			RetryIn: r.retryAfter(),
			Message: fmt.Sprintf("%s answered %v", f.source.endpoint(m, r.base), err),
		}
		var said *Error
		if errors.As(err, &said) {
			failure.Code = said.Code
		}
		return grant{}, f.failed(failure)
	case refusal != nil && (g == grant{} || f.isCurrent(g)):
		return grant{}, f.refused(r, refusal)
	}
	return g, nil
}

// refused is the failure for an errcode.
func (f *fetch) refused(r reply, e *Error) *coordinator.FetchError {
	class := Classify(e.Code)
	failure := &coordinator.FetchError{
		Kind:    class.Kind,
		Code:    e.Code,
		RetryIn: class.RetryIn,
		Message: e.text(class),
		Err:     e,
	}
	if class.UntilMidnight {
		failure.RetryIn = untilQuotaReset(r.now())
	}
	return f.failed(failure)
}

func (f *fetch) transportFailed(kind coordinator.FailureKind, m mode, host int, cause error) *coordinator.FetchError {
	cause = cleanError(cause, f.source.secret, f.asked.Current.Reveal())
	return f.failed(&coordinator.FetchError{
		Kind:    kind,
		Message: f.source.endpoint(m, f.source.bases[host]) + ": " + cause.Error(),
		Err:     cause,
	})
}

// failed completes a failure with what the whole fetch left behind. An earlier
// request may have issued a token though the last one surely did not; only a
// refusal for good holds for both of them.
func (f *fetch) failed(failure *coordinator.FetchError) *coordinator.FetchError {
	failure.Calls = f.calls
	if f.unknown && failure.Kind != coordinator.FailedRefused {
		failure.Kind = coordinator.FailedUnknown
	}
	return failure
}
