package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator"
)

// Header values that many answers share. Nobody changes them.
var (
	typeJSON = []string{"application/json; charset=utf-8"}
	typeText = []string{"text/plain; charset=utf-8"}
	noStore  = []string{"no-store"}
	nosniff  = []string{"nosniff"}
)

// statusGone is what is counted when the client went away before the answer.
const statusGone = 499

// problem is an answer that is no success.
type problem struct {
	status  int
	code    string // "error" in the answer
	message string
	retry   time.Duration // > 0: Retry-After
}

var (
	problemCredentials = problem{http.StatusUnauthorized, "unauthorized", "a caller's name and password are needed: HTTP Basic, or Authorization: Bearer NAME:PASSWORD", 0}
	problemForbidden   = problem{http.StatusForbidden, "forbidden", "this account is not among the caller's", 0}
	problemNoRefresh   = problem{http.StatusForbidden, "forbidden", "the caller lacks the refresh right", 0}
	problemFull        = problem{http.StatusTooManyRequests, "too_many_waiting", "too many requests are waiting already", 5 * time.Second}

	problemUnreachable = problem{http.StatusServiceUnavailable, "store_unreachable", "Redis cannot be reached, or cannot do what is needed now", time.Second}
	problemDenied      = problem{http.StatusServiceUnavailable, "store_denied",
		"Redis denies this server what it needs (user, password or rights): its operator finds the cause in its log or with `zhongkong doctor`",
		10 * time.Second}
)

// answerProblem writes p and returns its status.
func answerProblem(w http.ResponseWriter, p problem) int {
	if p.status == statusGone {
		return statusGone
	}
	setProblemHeaders(w.Header(), p)
	return answerJSON(w, p.status, errorBody{p.code, p.message})
}

// setProblemHeaders sets what a problem tells programs apart from its body.
func setProblemHeaders(h http.Header, p problem) {
	if p.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Basic realm="zhongkong", charset="UTF-8"`)
	}
	setRetry(h, p.retry)
}

// errorBody is a problem as JSON.
type errorBody struct {
	Error   string `json:"error"`
	Message string `json:"message"`
}

func setRetry(h http.Header, d time.Duration) {
	if d > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(d.Seconds()))))
	}
}

// answerJSON writes v and returns status.
func answerJSON(w http.ResponseWriter, status int, v any) int {
	body, err := json.Marshal(v)
	if err != nil { // v is one of ours: it can be encoded
		status, body = http.StatusInternalServerError, []byte(`{"error":"internal","message":"the answer cannot be encoded"}`)
	}
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = typeJSON, noStore
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client has gone: nobody to tell
	return status
}

// fail answers with what an error means to a caller.
func (a *API) fail(w http.ResponseWriter, r *request, err error) int {
	return answerProblem(w, a.explain(r, err))
}

// explain returns what an error means to a caller. What only an operator can
// mend is logged with its cause, which the caller is not told.
func (a *API) explain(r *request, err error) problem {
	p := problemOf(r.Context(), err)
	a.report(p, err, r.URL.Path)
	return p
}

// report writes the log line of a problem that only an operator can mend.
// asked is what somebody asked for.
func (a *API) report(p problem, err error, asked string) {
	if p.status != http.StatusInternalServerError && p.code != problemDenied.code {
		return
	}
	a.log.LogAttrs(context.Background(), levelFailed, "request failed",
		attrs("code", p.code, "asked", short(asked), "why", err.Error())...)
}

// problemOf is the only place that says which error is which answer. ctx is
// the request's own: once it has ended there is nobody to answer, unless it was
// a body that did not come which ended it.
func problemOf(ctx context.Context, err error) problem {
	var (
		refused   *coordinator.RefusedError
		quota     *coordinator.QuotaError
		throttled *coordinator.ThrottledError
		fetch     *coordinator.FetchError
		slowed    *auth.ThrottledError
		bad       *badRequest
		tooLarge  *http.MaxBytesError
	)
	switch {
	case errors.As(err, &bad):
		return problem{http.StatusBadRequest, "bad_request", bad.Error(), 0}
	case errors.As(err, &tooLarge):
		return problem{http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit), 0}
	case ctx.Err() != nil:
		return problem{status: statusGone}
	case errors.Is(err, errRevoked):
		p := problemCredentials
		p.message = err.Error()
		return p
	case errors.Is(err, auth.ErrDenied):
		p := problemCredentials
		p.message = "wrong name or password"
		return p
	case errors.As(err, &slowed):
		return problem{http.StatusTooManyRequests, "slowed", slowed.Reason, slowed.RetryIn}
	case errors.Is(err, errFull):
		return problemFull
	case errors.Is(err, errMediaType):
		return problem{http.StatusUnsupportedMediaType, "unsupported_media_type", err.Error(), 0}
	case errors.Is(err, coordinator.ErrUnknownAccount):
		return problem{http.StatusNotFound, "unknown_account", "no account of this name is configured", 0}
	case errors.As(err, &refused):
		return problem{http.StatusBadGateway, "refused", refused.Error(), 0}
	case errors.As(err, &quota):
		return problem{http.StatusTooManyRequests, "throttled", quota.Error(), quota.RetryIn}
	case errors.Is(err, coordinator.ErrSealed):
		return problem{http.StatusServiceUnavailable, "sealed", "the stored token cannot be opened with the keys of this process", 0}
	case errors.Is(err, coordinator.ErrDenied): // some of them are ErrUnreachable too
		return problemDenied
	case errors.Is(err, coordinator.ErrUnreachable):
		return problemUnreachable
	case errors.Is(err, coordinator.ErrNoToken), errors.Is(err, context.DeadlineExceeded):
		return problem{http.StatusServiceUnavailable, "no_token", withoutPrefix(err), time.Second}
	case errors.As(err, &throttled):
		return problem{http.StatusTooManyRequests, "throttled", throttled.Error(), throttled.RetryIn}
	case errors.As(err, &fetch):
		return problem{http.StatusBadGateway, "issuer_failed", fetch.Error(), fetch.RetryIn}
	case errors.Is(err, coordinator.ErrSuperseded):
		return problem{http.StatusConflict, "superseded", "another refresh overtook this one: ask for the current token", time.Second}
	}
	return problem{http.StatusInternalServerError, "internal", "the request could not be answered; the log says why", 0}
}

// withoutPrefix words the end of a wait.
func withoutPrefix(err error) string {
	if errors.Is(err, coordinator.ErrNoToken) {
		return strings.TrimPrefix(err.Error(), "coordinator: ")
	}
	return "no token in time" // that it was a context says nothing to a caller
}

// badRequest is a request that nobody can mean.
type badRequest struct{ text string }

func (e *badRequest) Error() string { return e.text }

func badf(format string, args ...any) error { return &badRequest{fmt.Sprintf(format, args...)} }

// errFull says that no more requests may wait.
var errFull = errors.New("too many requests are waiting")

var errMediaType = errors.New("send a form (application/x-www-form-urlencoded or multipart/form-data) or a JSON object")
