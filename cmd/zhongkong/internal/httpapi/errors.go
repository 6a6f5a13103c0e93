package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi/formdata"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logging"
	"github.com/zhongkong/zhongkong/coordinator"
)

// errFull is returned when the limit of waiting requests is reached.
var errFull = errors.New("too many requests are waiting")

// fail writes the response for an error and returns its status.
func (a *app) fail(w http.ResponseWriter, r *request, err error) int {
	return writeProblem(w, a.explain(r, err))
}

func (a *app) explain(r *request, err error) problem {
	p := problemOf(r.Context(), err)
	a.logProblem(r.logContext(), p, err, r.URL.Path)
	return p
}

// logProblem logs the cause of a problem that the caller is not told and only an
// operator can remove. asked is the path that was asked for.
func (a *app) logProblem(ctx context.Context, p problem, err error, asked string) {
	if p.status != http.StatusInternalServerError && p.code != problemDenied.code {
		return
	}
	a.log.LogAttrs(ctx, levelFailed, "request failed",
		attrs("outcome", p.code, "path", logging.Path(asked), "why", err.Error())...)
}

// problemOf maps every error to its response. ctx is the request's own: when it
// has ended the client is gone, unless a body that did not arrive ended it.
func problemOf(ctx context.Context, err error) problem {
	var (
		bad      *badRequest
		tooLarge *http.MaxBytesError
		slowed   *auth.ThrottledError
	)
	switch {
	case errors.As(err, &bad):
		return problem{http.StatusBadRequest, "bad_request", bad.Error(), 0}
	case errors.As(err, &tooLarge):
		return problem{http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit), 0}
	case ctx.Err() != nil:
		return problem{status: statusGone}
	case errors.Is(err, errNoCredentials):
		return problemCredentials
	case errors.Is(err, errRevoked):
		return problemCredentials.with(err.Error())
	case errors.Is(err, auth.ErrDenied):
		return problemCredentials.with("wrong name or password")
	case errors.As(err, &slowed):
		return problem{http.StatusTooManyRequests, "slowed", slowed.Reason, slowed.RetryIn}
	case errors.Is(err, errForbidden):
		return problemForbidden
	case errors.Is(err, errNoRefresh):
		return problemNoRefresh
	case errors.Is(err, errNotAll):
		return problemForbidden.with(err.Error())
	case errors.Is(err, errFull):
		return problemFull
	case errors.Is(err, formdata.ErrMediaType):
		return problem{http.StatusUnsupportedMediaType, "unsupported_media_type", err.Error(), 0}
	}
	if p, ok := grantProblem(err); ok {
		return p
	}
	return coordinatorProblem(err)
}

// coordinatorProblem maps the errors of the coordinator, and any other to 500.
func coordinatorProblem(err error) problem {
	var (
		refused   *coordinator.RefusedError
		quota     *coordinator.QuotaError
		throttled *coordinator.ThrottledError
		fetch     *coordinator.FetchError
		parent    *coordinator.ParentError
	)
	switch {
	case errors.As(err, &parent):
		p := coordinatorProblem(parent.Cause)
		return p.with(fmt.Sprintf("account %q needs a token of %q: %s", parent.Account, parent.Parent, p.message))
	case errors.Is(err, coordinator.ErrUnknownAccount):
		return problem{http.StatusNotFound, "unknown_account", "no account of this name is configured", 0}
	case errors.As(err, &refused):
		return problem{http.StatusBadGateway, "refused", refused.Error(), 0}
	case errors.As(err, &quota):
		return problem{http.StatusTooManyRequests, "throttled", quota.Error(), quota.RetryIn}
	case errors.Is(err, coordinator.ErrSealed):
		return problem{http.StatusServiceUnavailable, "sealed", "the stored token cannot be opened with the keys of this process", 0}
	case errors.Is(err, coordinator.ErrDenied): // before ErrUnreachable, which some of them are too
		return problemDenied
	case errors.Is(err, coordinator.ErrUnreachable):
		return problemUnreachable
	case errors.Is(err, coordinator.ErrNoToken):
		p := problem{http.StatusServiceUnavailable, "no_token", strings.TrimPrefix(err.Error(), "coordinator: "), time.Second}
		if errors.As(err, &throttled) { // no process calls the issuer sooner
			p.retry = max(p.retry, throttled.RetryIn)
		}
		return p
	case errors.Is(err, context.DeadlineExceeded):
		return problem{http.StatusServiceUnavailable, "no_token", "no token in time", time.Second}
	case errors.As(err, &throttled):
		return problem{http.StatusTooManyRequests, "throttled", throttled.Error(), throttled.RetryIn}
	case errors.As(err, &fetch):
		return problem{http.StatusBadGateway, "issuer_failed", fetch.Error(), fetch.RetryIn}
	case errors.Is(err, coordinator.ErrSuperseded):
		return problem{http.StatusConflict, "superseded", "another refresh overtook this one: ask for the current token", time.Second}
	}
	return problem{http.StatusInternalServerError, "internal", "the request could not be answered; the log says why", 0}
}
