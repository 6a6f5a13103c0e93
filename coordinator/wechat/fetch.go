package wechat

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

// mode is the kind of one request.
type mode int

const (
	classic mode = iota // issues a new token each time
	normal              // stable_token: returns the current token; idempotent
	forced              // stable_token with force_refresh: issues a new one, at most once in 30 s
)

const (
	// rollover is how long before its expiry a stable token is replaced by the
	// next call. Earlier calls return the same token.
	rollover = 300 * time.Second

	// rolloverSlack delays the call a little, because one just before the rollover
	// would return the old token.
	rolloverSlack = 5 * time.Second

	// minRefreshIn prevents a loop of calls if a stable token comes with less
	// lifetime than WeChat promises.
	minRefreshIn = 30 * time.Second

	// forceInterval is the least time between forced refreshes: WeChat answers an
	// earlier one with the current token, as if it had been carried out.
	forceInterval = 30 * time.Second
)

// fetch is one call of Source.Fetch: up to three requests and their outcome.
type fetch struct {
	source *Source
	asked  coordinator.FetchRequest

	calls   int  // requests that reached WeChat or may have reached it
	unknown bool // one of them may have issued a token that did not arrive here
	retried bool
}

func (f *fetch) classic(ctx context.Context) (coordinator.FetchResult, error) {
	g, err := f.call(ctx, classic)
	if err != nil {
		return coordinator.FetchResult{}, err
	}
	return f.issue(g), nil
}

// stable uses the forced mode for a demanded refresh, which must bring another token
// than the current one, and the normal mode otherwise.
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
		return f.afterForced(ctx, err)
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

// afterForced handles a failed forced refresh. If the day's 20 are used up and the
// current token was rejected because another party forced a refresh, the normal mode
// returns that party's token.
func (f *fetch) afterForced(ctx context.Context, failure *coordinator.FetchError) (coordinator.FetchResult, error) {
	if failure.Code != coordinator.NumericCode(codeDailyQuota) || f.asked.Reason != coordinator.ReasonRejected {
		return coordinator.FetchResult{}, failure
	}
	g, err := f.call(ctx, normal)
	if err == nil && !f.isCurrent(g) {
		return f.stableIssue(g), nil
	}
	return coordinator.FetchResult{}, f.failed(failure) // counts the second call as well
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

// stableRefreshIn returns when to call again for a stable token with this much
// lifetime left: just after the rollover. Earlier calls would change nothing.
func stableRefreshIn(left time.Duration) time.Duration {
	return max(left-rollover+rolloverSlack, min(minRefreshIn, left/2))
}

// call makes one request. If no connection can be made, it tries the next host; if
// the connection breaks, it repeats the request once. Any answer ends it.
//
// Repeating a classic request on the same host preserves the order in which tokens
// are issued: the first connection is gone, so its request has either reached the
// host already or is lost. After a timeout it does not, because the first request may
// still be queued and be carried out after the second. Nor is another host safe,
// because the first host may still be working on the first request. A repeated
// forced request returns the token of the first one if that was carried out (see
// forceInterval).
func (f *fetch) call(ctx context.Context, m mode) (grant, *coordinator.FetchError) {
	for host := 0; ; {
		if ctx.Err() != nil {
			return grant{}, f.transportFailed(coordinator.FailedBusy, m, host, context.Cause(ctx))
		}
		r, err := f.source.send(ctx, f.source.bases[host], m)
		if err == nil {
			f.calls++
			return f.interpret(m, r)
		}
		var more bool
		if !err.Sent {
			more = ctx.Err() == nil && host+1 < len(f.source.bases) && (m == normal || !f.unknown)
			if !more {
				return grant{}, f.transportFailed(coordinator.FailedBusy, m, host, err)
			}
			host++
			continue
		}
		f.calls++
		f.unknown = true
		if f.retried || ctx.Err() != nil || err.Timeout && m != normal {
			return grant{}, f.transportFailed(coordinator.FailedUnknown, m, host, err)
		}
		f.retried = true
		if m == normal && host+1 < len(f.source.bases) {
			host++
		}
	}
}

// interpret turns an answer into a token or a failure. A token with an errcode is
// accepted, since it may be the current one; if it is not, a report corrects that.
// If it equals the token that is held already, a relay has repeated it, and the
// errcode counts.
func (f *fetch) interpret(m mode, r reply) (grant, *coordinator.FetchError) {
	r.secrets = []string{f.source.secret, f.asked.Current.Reveal()}
	g, refusal, err := r.grant()
	switch {
	case err != nil:
		failure := &coordinator.FetchError{
			Kind:    r.Kind(),
			RetryIn: r.RetryAfter(),
			Message: fmt.Sprintf("%s answered %v", f.source.endpoint(m, r.base), err),
		}
		var said *Error
		if errors.As(err, &said) {
			failure.Code = coordinator.NumericCode(said.Code)
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
		Code:    coordinator.NumericCode(e.Code),
		RetryIn: class.RetryIn,
		Message: e.text(class),
		Err:     e,
	}
	if class.UntilMidnight {
		failure.RetryIn = untilQuotaReset(r.Now())
	}
	return f.failed(failure)
}

func (f *fetch) transportFailed(kind coordinator.FailureKind, m mode, host int, cause error) *coordinator.FetchError {
	cause = httpsource.CleanError(cause, f.source.secret, f.asked.Current.Reveal())
	return f.failed(&coordinator.FetchError{
		Kind:    kind,
		Message: f.source.endpoint(m, f.source.bases[host]) + ": " + cause.Error(),
		Err:     cause,
	})
}

// failed adds the outcome of the whole fetch to a failure. An earlier request may
// have issued a token although the last one did not; only a refusal applies to both.
func (f *fetch) failed(failure *coordinator.FetchError) *coordinator.FetchError {
	failure.Calls = f.calls
	if f.unknown && failure.Kind != coordinator.FailedRefused {
		failure.Kind = coordinator.FailedUnknown
	}
	return failure
}
