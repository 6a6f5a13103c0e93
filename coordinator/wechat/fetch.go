package wechat

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
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

	// usedUpRetry is how long calls wait after a forced refresh that WeChat did not carry
	// out because the day's are used up. It binds the schedule too, whose call must come
	// between the rollover and the end. Those who report the token in the meantime are
	// answered without a call but in its last minute.
	usedUpRetry = 3 * time.Minute
)

// fetch is one call of a source's Fetch: up to three requests and their outcome.
type fetch struct {
	*service
	current  coordinator.Token // the one that is held
	secrets  []string          // must not be quoted from answers and errors
	classify func(code int) Class
	before   time.Time // nothing is sent from then on; zero: no limit but the context's

	calls   int  // requests that reached WeChat or may have reached it
	unknown bool // one of them may have issued a token that did not arrive here
	retried bool
}

func (s *Source) fetchClassic(ctx context.Context, f *fetch) (coordinator.FetchResult, error) {
	g, err := f.call(ctx, s.classic())
	if err != nil {
		return coordinator.FetchResult{}, err
	}
	return f.issue(g), nil
}

// fetchStable uses the forced mode for a demanded refresh, which must bring another token
// than the current one, and the normal mode otherwise. If the day's forced refreshes are
// used up, the normal mode still tells which token is in force: it is another one if this
// process holds none, or if another party has forced a refresh.
func (s *Source) fetchStable(ctx context.Context, f *fetch, reason coordinator.Reason) (coordinator.FetchResult, error) {
	g, err := f.call(ctx, s.stable(reason.Demanded()))
	usedUp := reason.Demanded() && err != nil && err.Code == coordinator.NumericCode(codeDailyQuota)
	if usedUp {
		g, err = f.call(ctx, s.stable(false))
	}
	switch {
	case err != nil:
		return coordinator.FetchResult{}, err
	case !reason.Demanded() || !f.isCurrent(g):
		return f.stableIssue(g), nil
	case usedUp:
		return coordinator.FetchResult{}, f.failed(&coordinator.FetchError{
			Kind:    coordinator.FailedLater,
			Code:    coordinator.NumericCode(codeDailyQuota),
			RetryIn: usedUpRetry,
			Message: "the forced refreshes of the day are used up, and stable_token still answers the current token: " +
				"it is renewed on schedule; clear_quota/v2 resets the quota, ten times a month",
		})
	}
	return coordinator.FetchResult{}, f.failed(&coordinator.FetchError{
		Kind:    coordinator.FailedLater,
		RetryIn: forceInterval,
		Message: "stable_token answered a forced refresh with the current token: " +
			"forced refreshes less than 30 s apart are not carried out",
	})
}

func (f *fetch) isCurrent(g issued) bool {
	return !f.current.IsZero() && f.current.Equal(coordinator.NewToken(g.token))
}

func (f *fetch) issue(g issued) coordinator.FetchResult {
	return coordinator.FetchResult{Token: coordinator.NewToken(g.token), Lifetime: g.life, Calls: f.calls, Doubt: g.doubt}
}

func (f *fetch) stableIssue(g issued) coordinator.FetchResult {
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
func (f *fetch) call(ctx context.Context, q request) (issued, *coordinator.FetchError) {
	r, err := f.exchange(ctx, q)
	if err != nil {
		return issued{}, err
	}
	return f.interpret(q, r)
}

func (f *fetch) exchange(ctx context.Context, q request) (reply, *coordinator.FetchError) {
	for host := 0; ; {
		if ctx.Err() != nil {
			return reply{}, f.transportFailed(coordinator.FailedBusy, q, host, context.Cause(ctx))
		}
		if !f.before.IsZero() && !time.Now().Before(f.before) {
			return reply{}, f.transportFailed(coordinator.FailedBusy, q, host, errors.New("not sent: the time for it is over"))
		}
		r, err := f.send(ctx, f.bases[host], q)
		if err == nil {
			f.calls++
			r.secrets = f.secrets
			return r, nil
		}
		var more bool
		if !err.Sent {
			more = ctx.Err() == nil && host+1 < len(f.bases) && (q.idempotent || !f.unknown)
			if !more {
				return reply{}, f.transportFailed(coordinator.FailedBusy, q, host, err)
			}
			host++
			continue
		}
		f.calls++
		f.unknown = true
		if f.retried || ctx.Err() != nil || err.Timeout && !q.idempotent {
			return reply{}, f.transportFailed(coordinator.FailedUnknown, q, host, err)
		}
		f.retried = true
		if q.idempotent && host+1 < len(f.bases) {
			host++
		}
	}
}

// interpret turns an answer into a token or a failure. A token with an errcode is
// accepted, since it may be the current one; if it is not, a report corrects that.
// If it equals the token that is held already, a relay has repeated it, and the
// errcode counts. Tickets are repeated by WeChat itself; of theirs, an errcode counts
// that rejects the access_token. A refresh token may come without a token.
func (f *fetch) interpret(q request, r reply) (issued, *coordinator.FetchError) {
	g, refusal, err := r.issued()
	switch {
	case errors.Is(err, errNoPermission):
		return g, f.failed(&coordinator.FetchError{
			Kind:    coordinator.FailedRefused,
			Message: "WeChat has answered no " + q.member.noun() + ": the account has no API permissions; its administrator must have it verified, or grant the platform others",
			Err:     err,
		})
	case err != nil:
		return issued{}, f.unclear(q, r, err)
	case refusal != nil && (g == issued{} || f.overrules(q, refusal, g)):
		return issued{}, f.refused(r, refusal)
	}
	return g, nil
}

// unclear is the failure for an answer that tells nothing.
func (f *fetch) unclear(q request, r reply, err error) *coordinator.FetchError {
	failure := &coordinator.FetchError{
		Kind:    r.Kind(),
		RetryIn: r.RetryAfter(),
		Message: fmt.Sprintf("%s answered %v", q.at(r.base), err),
	}
	if said, ok := errors.AsType[*Error](err); ok {
		failure.Code = coordinator.NumericCode(said.Code)
	}
	return f.failed(failure)
}

// overrules reports whether an errcode counts although a token came with it.
func (f *fetch) overrules(q request, refusal *Error, g issued) bool {
	if q.member == theTicket {
		return f.classify(refusal.Code).Kind == coordinator.FailedParent
	}
	return f.isCurrent(g)
}

// refused is the failure for an errcode.
func (f *fetch) refused(r reply, e *Error) *coordinator.FetchError {
	class := f.classify(e.Code)
	failure := &coordinator.FetchError{
		Kind:    class.Kind,
		Code:    coordinator.NumericCode(e.Code),
		RetryIn: class.RetryIn,
		Here:    class.Here,
		Message: source.Advice(e.Message, class.Meaning, class.Hint),
		Err:     e,
	}
	if class.UntilMidnight {
		failure.RetryIn = source.UntilQuotaReset(r.Now())
	}
	return f.failed(failure)
}

func (f *fetch) transportFailed(kind coordinator.FailureKind, q request, host int, cause error) *coordinator.FetchError {
	cause = httpsource.CleanError(cause, f.secrets...)
	return f.failed(&coordinator.FetchError{
		Kind:    kind,
		Message: q.at(f.bases[host]) + ": " + cause.Error(),
		Err:     cause,
	})
}

// failed adds the outcome of the whole fetch to a failure. An earlier request may
// have issued a token although the last one did not; only a refusal, of the account or of
// the access_token, applies to both.
func (f *fetch) failed(failure *coordinator.FetchError) *coordinator.FetchError {
	failure.Calls = f.calls
	if f.unknown && failure.Kind != coordinator.FailedRefused && failure.Kind != coordinator.FailedParent {
		failure.Kind = coordinator.FailedUnknown
	}
	return failure
}
