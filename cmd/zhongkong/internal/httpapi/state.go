package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/page"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
)

// getAccounts answers GET /v1/accounts with the states of the caller's accounts,
// sorted by name.
func (a *app) getAccounts(w http.ResponseWriter, r *request) int {
	return writeJSONList(w, func(yield func(any) bool) {
		for _, account := range a.zk.Accounts() {
			if !r.caller.May(account.Name()) {
				continue
			}
			state := a.stateOf(account)
			state.Readers = a.readersOf(r.caller, account)
			if !yield(state) {
				return
			}
		}
	})
}

// getAccount answers GET /v1/accounts/{name}.
func (a *app) getAccount(w http.ResponseWriter, r *request) int {
	account, err := a.permit(r, r.account)
	if err != nil {
		return a.fail(w, r, err)
	}
	state := a.stateOf(account)
	state.Readers = a.readersOf(r.caller, account)
	return writeJSON(w, http.StatusOK, state)
}

// readersOf returns the callers who were given an account's token, sorted by name, to a
// viewer of all accounts: others need not know each other.
func (a *app) readersOf(v page.Viewer, account *coordinator.Account) (all []wire.Reader) {
	if !v.May(auth.AllAccounts) {
		return nil
	}
	a.accounts.readers(account, func(name string, c *readCount) {
		last := wire.Time{Time: time.Unix(c.last.Load(), 0)}
		all = append(all, wire.Reader{Caller: name, Reads: c.n.Load(), LastRead: last})
	})
	slices.SortFunc(all, func(a, b wire.Reader) int { return strings.Compare(a.Caller, b.Caller) })
	return all
}

// stateOf returns what this process knows of an account, without its token.
func (a *app) stateOf(account *coordinator.Account) wire.Account {
	s, now := account.Status(), time.Now()
	if _, ok := account.Peek(); !ok {
		s.Record.TTL = 0 // a newer record, which cannot be used, has replaced this one
	}
	state := wire.NewAccountFromMemory(s, now)
	state.Label = a.directory.Label(account.Name())
	return state
}
