package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

var (
	errNoGrantRight = errors.New("no grant right")
	errNoGrant      = errors.New("the account has no grant, or this server only reads it")
	errPushedGrant  = errors.New("the issuer pushes what this account needs: no refresh token can be put in")
	errNoAuthCodes  = errors.New("the account is not that of a platform or a suite, which alone take an auth_code, or this server only reads it")
)

// grantWait bounds how long a grant is tried to be stored: a store that answers confirms
// within a fraction of it.
const grantWait = 30 * time.Second

// getGrant answers GET /v1/grants/{name}.
func (a *app) getGrant(w http.ResponseWriter, r *request) int {
	account, err := a.permit(r, r.account)
	if err != nil {
		return a.fail(w, r, err)
	}
	grant := a.stateOf(account).Grant
	if grant == nil {
		return a.fail(w, r, errNoGrant)
	}
	return writeJSON(w, http.StatusOK, struct {
		Name string `json:"name"`
		*wire.Grant
	}{account.Name(), grant})
}

// AuthCodes takes the auth_codes with which an issuer sends a browser back after a consent.
type AuthCodes interface {
	// TakeAuthCode returns when the code is stored, to be exchanged for a grant, or what came
	// of it. Its errors are those of a change of a grant, or of a call, and hold no code.
	TakeAuthCode(ctx context.Context, code string) error
}

// putGrant answers PUT /v1/grants/{name}. It answers when the grant is durable.
func (a *app) putGrant(w http.ResponseWriter, r *request) int {
	account, err := a.permit(r, r.account)
	if err == nil {
		err = a.permitGrant(r, r.account)
	}
	if err != nil {
		return a.fail(w, r, err)
	}
	body, err := r.read(w)
	if err != nil {
		return a.fail(w, r, err)
	}
	consent, authCode, err := parseGrant(body)
	if err != nil {
		return a.fail(w, r, err)
	}
	if authCode != "" {
		err = a.takeAuthCode(r, account.Name(), authCode)
	} else {
		err = a.consent(r, account, consent)
	}
	a.logGrant(r, account.Name(), err)
	if err != nil {
		return a.fail(w, r, err)
	}
	w.Header()["Cache-Control"] = noStore
	w.WriteHeader(http.StatusNoContent)
	return http.StatusNoContent
}

// parseGrant reads {"refresh_token": "...", "expires_in": SECONDS} or {"auth_code": "..."}.
// Its error repeats nothing of the body.
func parseGrant(body []byte) (_ coordinator.Consent, authCode string, _ error) {
	var fields struct {
		RefreshToken *string      `json:"refresh_token"`
		ExpiresIn    *json.Number `json:"expires_in"`
		AuthCode     *string      `json:"auth_code"`
	}
	fail := func(format string, args ...any) (coordinator.Consent, string, error) {
		return coordinator.Consent{}, "", badRequestf(format, args...)
	}
	if err := decodeStrict(body, &fields); err != nil || repeatsMember(body) || fields.AuthCode != nil && (fields.RefreshToken != nil || fields.ExpiresIn != nil) {
		return fail(`the body must be {"refresh_token": "...", "expires_in": SECONDS}, of which expires_in may be left out, ` +
			`or {"auth_code": "..."}, and nothing repeated`)
	}
	const visible = "must be 1 to %d visible ASCII characters, without white space or line breaks"
	switch token := fields.RefreshToken; {
	case fields.AuthCode != nil && !IsRefreshToken(*fields.AuthCode):
		return fail("auth_code: "+visible, maxRefreshToken)
	case fields.AuthCode != nil:
		return coordinator.Consent{}, *fields.AuthCode, nil
	case token == nil || *token == "":
		return fail("refresh_token: is missing")
	case !IsRefreshToken(*token):
		return fail("refresh_token: "+visible, maxRefreshToken)
	}
	consent := coordinator.Consent{Token: coordinator.NewToken(*fields.RefreshToken)}
	if fields.ExpiresIn != nil {
		seconds, err := fields.ExpiresIn.Int64()
		if err != nil || seconds < 1 || seconds > maxGrantLife {
			return fail("expires_in: must be a whole number of seconds from 1 to %d", int64(maxGrantLife))
		}
		consent.Idle = time.Duration(seconds) * time.Second
	}
	return consent, "", nil
}

// maxRefreshToken is above the length of any refresh token, in bytes.
const maxRefreshToken = 8 << 10

// IsRefreshToken reports whether text can be a refresh token: it is not empty, not too
// long, and has only visible ASCII characters. RFC 6749 allows spaces as well, but a space
// is a mistake in copying. A grant that is put in replaces the one before, and such a
// mistake would cost that one.
func IsRefreshToken(text string) bool {
	return text != "" && len(text) <= maxRefreshToken && httpsource.Printable(text)
}

// repeatsMember reports whether a JSON object of scalars has two members of one name.
// Package json ignores the case of names, and takes the last of them.
func repeatsMember(object []byte) bool {
	d, seen := json.NewDecoder(bytes.NewReader(object)), map[string]bool{}
	_, _ = d.Token() // "{"
	for d.More() {
		name, err := d.Token()
		if _, valueErr := d.Token(); err != nil || valueErr != nil {
			return false // which is refused as no object of scalars
		}
		folded := strings.ToLower(fmt.Sprint(name))
		if seen[folded] {
			return true
		}
		seen[folded] = true
	}
	return false
}

// maxGrantLife is a hundred years, in seconds.
const maxGrantLife = 100 * 366 * 24 * 3600

func (a *app) consent(r *request, account *coordinator.Account, consent coordinator.Consent) error {
	status := account.Status()
	switch {
	case status.Grant == nil, status.Role != coordinator.Refresher:
		return errNoGrant
	case status.Grant.Received:
		return errPushedGrant
	}
	if consent.Idle == 0 {
		consent.Idle = a.directory.GrantIdle(account.Name())
	}
	return a.storeGrant(r, func(ctx context.Context) error { return account.Consent(ctx, consent) })
}

func (a *app) takeAuthCode(r *request, account, code string) error {
	codes, ok := a.directory.AuthCodes(account)
	if !ok {
		return errNoAuthCodes
	}
	return a.storeGrant(r, func(ctx context.Context) error { return codes.TakeAuthCode(ctx, code) })
}

// storeGrant calls store for the caller, within the time and the number of requests that
// may wait.
func (a *app) storeGrant(r *request, store func(ctx context.Context) error) error {
	if !a.holding.acquire(r.caller.Name()) {
		return errFull
	}
	defer a.holding.Release(r.caller.Name())
	ctx, cancel := r.waitContext(grantWait)
	defer cancel()
	if r.caller.IsRevoked() { // changed while the body arrived
		return errRevoked
	}
	return store(coordinator.WithCaller(ctx, r.caller.Name()+" (api)"))
}

func (a *app) logGrant(r *request, account string, err error) {
	outcome := "stored"
	if err != nil {
		outcome = problemOf(context.WithoutCancel(r.Context()), err).code
	}
	if errors.Is(err, context.Canceled) {
		outcome = "the caller went away: it may be stored"
	}
	a.log.LogAttrs(r.logContext(), levelRefresh, "grant put in",
		attrs("caller", r.caller.Name(), "from", r.RemoteAddr, "account", account, "outcome", outcome)...)
}

// grantProblem maps the errors of grants; ok is false for any other.
func grantProblem(err error) (_ problem, ok bool) {
	var (
		unsettled *coordinator.UnsettledError
		none      *coordinator.GrantError
	)
	switch {
	case errors.Is(err, errNoGrantRight):
		return problem{http.StatusForbidden, "forbidden", "the caller lacks the grant right (grant: true)", 0}, true
	case errors.Is(err, errNoGrant), errors.Is(err, errPushedGrant), errors.Is(err, errNoAuthCodes), errors.Is(err, coordinator.ErrNoGrants):
		return problem{http.StatusConflict, "no_grant", err.Error(), 0}, true
	case errors.As(err, &none): // of a refresh
		return problem{http.StatusServiceUnavailable, "no_grant", none.Error(), none.RetryIn}, true
	case errors.Is(err, coordinator.ErrNotCopied):
		return problem{http.StatusServiceUnavailable, "unconfirmed",
			"the grant is stored and in use, and the copy of it could not be made: repeat the request", time.Second}, true
	case errors.Is(err, coordinator.ErrUnconfirmed):
		return problem{http.StatusServiceUnavailable, "unconfirmed",
			"Redis has not confirmed that the grant is durable: repeat the request", time.Second}, true
	case errors.As(err, &unsettled):
		return problem{http.StatusServiceUnavailable, "store_unreachable", err.Error(), unsettled.RetryIn}, true
	}
	return problem{}, false
}
