package httpapi

import (
	"bytes"
	"net/http"

	"github.com/zhongkong/zhongkong/coordinator"
)

// How a caller asked for a refresh, as the logs name it.
const (
	byAPI    = "api"
	byPage   = "page"
	byDropIn = "drop-in"
	byCheck  = "asked again"
)

// postRefresh answers POST /v1/tokens/{name}/refresh.
func (a *API) postRefresh(w http.ResponseWriter, r *request) int {
	account, refused := a.permit(r, r.account)
	if refused != nil {
		return answerProblem(w, *refused)
	}
	if !a.permitRefresh(r, r.account) {
		return answerProblem(w, problemNoRefresh)
	}
	body, err := a.read(w, r)
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
	d := a.desks.of(account, a.zk.Accounts)
	return a.answerRecord(w, r, d.encode(s))
}

// parseRefresh reads the body of a refresh: empty, or {"if_token": "..."}. An
// empty or misspelt if_token is refused, because taking it for none would kill
// a good token.
func parseRefresh(body []byte) (coordinator.Token, error) {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return coordinator.Token{}, nil
	}
	var fields map[string]*string
	if err := decodeStrict(body, &fields); err != nil {
		return coordinator.Token{}, badf(`the body must be empty or {"if_token": "..."}`)
	}
	value, given := fields["if_token"]
	switch {
	case len(fields) > 1 || len(fields) == 1 && !given:
		return coordinator.Token{}, badf("the body has a field other than if_token")
	case given && (value == nil || *value == ""):
		return coordinator.Token{}, badf("if_token: must be a token; leave the field out to refresh whatever is current")
	case given:
		return coordinator.NewToken(*value), nil
	}
	return coordinator.Token{}, nil
}

// replace refreshes an account for a caller who may, writes the audit line, and
// has the log of the account name the caller. The zero token: whatever is
// current.
func (a *API) replace(r *request, account *coordinator.Account, rejected coordinator.Token, how string) (coordinator.Snapshot, error) {
	if !a.holding.take(r.caller.Name()) {
		return coordinator.Snapshot{}, errFull
	}
	defer a.holding.give(r.caller.Name())
	ctx, cancel := r.wait(refreshWait)
	defer cancel()
	ctx = coordinator.WithCaller(ctx, r.caller.Name()+" ("+how+")")
	var (
		s   coordinator.Snapshot
		err error
	)
	line := how
	switch {
	case isRevoked(r.caller): // while the body came
	case rejected.IsZero():
		s, err = account.Refresh(ctx)
	default:
		line += ", token reported as rejected"
		s, err = account.Invalidate(ctx, rejected)
	}
	if isRevoked(r.caller) {
		s, err = coordinator.Snapshot{}, errRevoked
	}
	a.audited(r, account.Name(), line, s.Record, err)
	return s, err
}
