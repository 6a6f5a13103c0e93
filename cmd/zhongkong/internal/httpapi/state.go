package httpapi

import (
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
)

// getAccounts answers GET /v1/accounts with the states of the caller's accounts,
// sorted by name.
func (a *app) getAccounts(w http.ResponseWriter, r *request) int {
	states := []wire.Account{} // encoded as [] if the caller has none
	for _, account := range a.zk.Accounts() {
		if r.caller.May(account.Name()) {
			states = append(states, a.stateOf(account))
		}
	}
	return writeJSON(w, http.StatusOK, states)
}

// getAccount answers GET /v1/accounts/{name}.
func (a *app) getAccount(w http.ResponseWriter, r *request) int {
	account, err := a.permit(r, r.account)
	if err != nil {
		return a.fail(w, r, err)
	}
	return writeJSON(w, http.StatusOK, a.stateOf(account))
}

// stateOf returns what this process knows of an account, without its token.
func (a *app) stateOf(account *coordinator.Account) wire.Account {
	s, now := account.Status(), time.Now()
	if _, ok := account.Peek(); !ok {
		s.Record.TTL = 0 // a newer record, which cannot be used, has replaced this one
	}
	state := wire.NewAccountFromMemory(s, now)
	state.Label = a.label(account.Name())
	return state
}
