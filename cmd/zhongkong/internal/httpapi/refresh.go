package httpapi

import (
	"bytes"
	"context"
	"errors"
	"net/http"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/requestid"
	"github.com/zhongkong/zhongkong/coordinator"
)

// The ways to ask for a refresh, as the logs name them.
const (
	byAPI    = "api"
	byPage   = "page"
	byDropIn = "drop-in"
	byCheck  = "asked again"
)

// postRefresh answers POST /v1/tokens/{name}/refresh.
func (a *app) postRefresh(w http.ResponseWriter, r *request) int {
	account, err := a.permit(r, r.account)
	if err == nil {
		err = a.permitRefresh(r, r.account)
	}
	if err != nil {
		return a.fail(w, r, err)
	}
	body, err := r.read(w)
	if err != nil {
		return a.fail(w, r, err)
	}
	rejected, err := parseRefresh(body)
	if err != nil {
		return a.fail(w, r, err)
	}
	s, err := a.replace(r, account, rejected, byAPI)
	if err != nil {
		return a.fail(w, r, err)
	}
	return a.writeToken(w, r, a.accounts.of(account).cache.encode(s))
}

// parseRefresh reads the body of a refresh: empty, or {"if_token": "..."}. An
// empty or misspelt if_token is refused: treated as a missing one it would
// replace a good token.
func parseRefresh(body []byte) (coordinator.Token, error) {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return coordinator.Token{}, nil
	}
	var fields map[string]*string
	if err := decodeStrict(body, &fields); err != nil {
		return coordinator.Token{}, badRequestf(`the body must be empty or {"if_token": "..."}`)
	}
	value, given := fields["if_token"]
	switch {
	case len(fields) > 1 || len(fields) == 1 && !given:
		return coordinator.Token{}, badRequestf("the body has a field other than if_token")
	case given && (value == nil || *value == ""):
		return coordinator.Token{}, badRequestf("if_token: must be a token; leave the field out to refresh whatever is current")
	case given:
		return coordinator.NewToken(*value), nil
	}
	return coordinator.Token{}, nil
}

// replace refreshes an account if rejected is the current token or zero. The
// caller must have the refresh right; the audit line and the account's history
// name it.
func (a *app) replace(r *request, account *coordinator.Account, rejected coordinator.Token, how string) (coordinator.Snapshot, error) {
	if !a.holding.acquire(r.caller.Name()) {
		return coordinator.Snapshot{}, errFull
	}
	defer a.holding.Release(r.caller.Name())
	ctx, cancel := r.waitContext(refreshWait)
	defer cancel()
	ctx = coordinator.WithCaller(requestid.With(ctx, r.id), r.caller.Name()+" ("+how+")")
	var (
		s   coordinator.Snapshot
		err error
	)
	line := how
	switch {
	case r.caller.IsRevoked(): // changed while the body arrived
	case rejected.IsZero():
		s, err = account.Refresh(ctx)
	default:
		line += ", token reported as rejected"
		s, err = account.Invalidate(ctx, rejected)
	}
	if r.caller.IsRevoked() {
		s, err = coordinator.Snapshot{}, errRevoked
	}
	a.logRefresh(r, account.Name(), line, s.Generation, err)
	return s, err
}

func (a *app) logRefresh(r *request, account, how string, generation coordinator.Fence, err error) {
	outcome := "done"
	if err != nil {
		outcome = problemOf(context.WithoutCancel(r.Context()), err).code
	}
	if errors.Is(err, context.Canceled) {
		outcome = "the caller went away"
	}
	line := attrs("caller", r.caller.Name(), "from", r.RemoteAddr, "account", account, "how", how, "outcome", outcome)
	a.log.LogAttrs(r.logContext(), levelRefresh, "refresh asked for", append(line, generationAttr(generation))...)
}
