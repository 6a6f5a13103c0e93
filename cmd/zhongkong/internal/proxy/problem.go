package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator"
)

// WeChat's codes for what goes wrong here.
const (
	codeBusy        = -1
	codeCredential  = 40001
	codeAppID       = 40013
	codeURL         = 40066
	codeSecret      = 40125
	codeNoToken     = 41001
	codeNoAppID     = 41002
	codeNoSecret    = 41004
	codeExpired     = 42001
	codeMinuteQuota = 45011
	codeNotAllowed  = 48001
)

// problem is an answer of the route itself. On WeChat routes it is an errcode
// with HTTP status 200, as SDKs read it, if errcode is not 0. It is 0 where the
// call may have been carried out: SDKs take -1 for "busy" and call again by
// themselves, which would send a message twice.
type problem struct {
	status  int
	code    string // "error" in the answer
	errcode int
	message string
	retry   time.Duration // > 0: Retry-After
}

var (
	problemConnect = problem{http.StatusMethodNotAllowed, "not_a_forward_proxy", codeURL,
		"this is no forward proxy: set it as the base URL of the SDK, not as its HTTP proxy", 0}
	problemMethod = problem{http.StatusMethodNotAllowed, "method_not_allowed", codeURL,
		"TRACE and OPTIONS * are not passed on", 0}
	problemUpgrade = problem{http.StatusNotImplemented, "upgrade_refused", codeURL,
		"a route passes on requests only, no WebSocket or other protocol", 0}
	problemRoute = problem{http.StatusNotFound, "unknown_route", codeURL, "no route of this name is configured", 0}
	problemSite  = problem{http.StatusForbidden, "cross_origin", codeNotAllowed,
		"requests from other sites' pages are refused", 0}
	problemTwice = problem{http.StatusBadRequest, "bad_request", codeNotAllowed,
		"there is more than one Authorization header", 0}
	problemMissing = problem{http.StatusUnauthorized, "unauthorized", codeNoToken,
		"access_token missing: send the token that this server gave you, HTTP Basic, or Authorization: Bearer NAME:PASSWORD", 0}
	problemToken = problem{http.StatusUnauthorized, "invalid_token", codeCredential,
		"invalid credential, access_token is invalid or not latest: ask this server for one", 0}
	problemExpired = problem{http.StatusUnauthorized, "invalid_token", codeExpired,
		"access_token expired: ask this server for another", 0}
	problemDenied = problem{http.StatusUnauthorized, "unauthorized", codeSecret,
		"invalid appsecret: wrong name or password", 0}
	problemAccount = problem{http.StatusForbidden, "forbidden", codeNotAllowed,
		"api unauthorized: the account of this route is not among the caller's", 0}
	problemRefresh = problem{http.StatusForbidden, "forbidden", codeNotAllowed,
		"api unauthorized: the caller has no right to refresh, which this call needs", 0}
	problemFull = problem{http.StatusTooManyRequests, "too_many_calls", codeMinuteQuota,
		"too many calls of this caller are under way", time.Second}
	problemNoToken = problem{http.StatusServiceUnavailable, "no_token", codeBusy,
		"system error: there is no token to call with now", time.Second}
	problemUnsent = problem{http.StatusBadGateway, "upstream_unreachable", codeBusy,
		"system error: the upstream cannot be reached; nothing was sent", time.Second}
	problemUpstream = problem{http.StatusBadGateway, "upstream_failed", 0,
		"the upstream did not answer; the call may have been carried out", 0}
	problemTimeout = problem{http.StatusGatewayTimeout, "upstream_timeout", 0,
		"the upstream did not answer in time; the call may have been carried out", 0}
	problemRevoked = problem{http.StatusUnauthorized, "revoked", 0,
		"the caller was removed or changed; the call may have been carried out", 0}
	problemLong = problem{http.StatusRequestEntityTooLarge, "too_large", 0,
		fmt.Sprintf("the body of a call with a user's token must not be longer than %d KiB", maxUnprovedBody>>10), 0}
	problemBody = problem{http.StatusBadRequest, "bad_request", 0, "the body could not be read to its end", 0}
)

// respond writes a problem.
func (r *route) respond(w http.ResponseWriter, p problem) {
	h := w.Header()
	var body any = struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}{p.code, p.message}
	status := p.status
	switch {
	case r != nil && r.isWeChat() && p.errcode != 0:
		status = http.StatusOK
		if p == problemToken {
			p.errcode = r.UnknownToken
		}
		body = struct {
			Code    int    `json:"errcode"`
			Message string `json:"errmsg"`
		}{p.errcode, p.message}
	case p.code == problemToken.code:
		h.Set("WWW-Authenticate", `Bearer realm="zhongkong", error="invalid_token"`)
	case p.status == http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Basic realm="zhongkong", charset="UTF-8"`)
	}
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retry.Seconds()))))
	}
	text, _ := json.Marshal(body) // two strings can be encoded
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client has gone
}

// problemOfProof says what an error of Authenticate means.
func problemOfProof(err error) problem {
	var slowed *auth.ThrottledError
	switch {
	case errors.As(err, &slowed):
		return problem{http.StatusTooManyRequests, "slowed", codeMinuteQuota, slowed.Reason, slowed.RetryIn}
	case errors.Is(err, auth.ErrDenied):
		return problemDenied
	}
	return problem{http.StatusServiceUnavailable, "unavailable", codeBusy, "system error: the credentials could not be looked at", time.Second}
}

// tokenError is why there was no token to put in.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return "no token: " + e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }

// bodyError is a client's body that did not come whole.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "the client's body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// problemOfCall says what the failure of a call means, in words of our own: those
// of net/http hold URLs and parts of answers.
func problemOfCall(err error) problem {
	var (
		noToken   *tokenError
		body      *bodyError
		long      *http.MaxBytesError
		throttled *coordinator.ThrottledError
		op        *net.OpError
		dns       *net.DNSError
		timeout   interface{ Timeout() bool }
	)
	switch {
	case errors.As(err, &noToken):
		p := problemNoToken
		switch {
		case errors.Is(err, coordinator.ErrUnreachable):
			p.message = "system error: there is no token, and Redis cannot be reached"
		case errors.As(err, &throttled):
			p.message, p.retry = "system error: there is no token, and the issuer may not be asked now", throttled.RetryIn
		}
		return p
	case errors.As(err, &long):
		return problemLong
	case errors.As(err, &body):
		return problemBody
	case errors.As(err, &dns), errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect"):
		return problemUnsent
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return problemTimeout
	}
	return problemUpstream
}
