package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
)

// getAccounts answers GET /v1/accounts with the states of the caller's accounts,
// sorted by name.
func (a *app) getAccounts(w http.ResponseWriter, r *request) int {
	states := []wire.Account{} // encoded as [] if the caller has none
	for _, account := range a.zk.Accounts() {
		if r.caller.May(account.Name()) {
			states = append(states, a.stateFor(r.caller, account))
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
	return writeJSON(w, http.StatusOK, a.stateFor(r.caller, account))
}

// stateFor returns stateOf, and to callers of all accounts who reads the token: others need
// not know each other.
func (a *app) stateFor(caller auth.Caller, account *coordinator.Account) wire.Account {
	state := a.stateOf(account)
	if !caller.May(auth.AllAccounts) {
		return state
	}
	a.accounts.of(account).cache.reads.each(func(name string, c *readCount) {
		last := wire.Time{Time: time.Unix(c.last.Load(), 0)}
		state.Readers = append(state.Readers, wire.Reader{Caller: name, Reads: c.n.Load(), LastRead: last})
	})
	slices.SortFunc(state.Readers, func(a, b wire.Reader) int { return strings.Compare(a.Caller, b.Caller) })
	return state
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
