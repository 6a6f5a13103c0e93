package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator"
)

// notReady is the answer of /readyz when it is not 200.
type notReady struct {
	Error   string    `json:"error"`
	Message string    `json:"message"`
	Missing []missing `json:"missing,omitempty"`
}

// missing is an account without a usable token.
type missing struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// getReady answers GET /readyz: whether to send requests to this process.
// ?account=NAME asks for a usable token of that account, ?all for one of every
// account.
//
// The status tells everybody the same. Which accounts there are, and why they
// have no token, is told to callers alone, of those that they may have. So a
// stranger learns whether an account has a token here if he knows its name.
func (a *API) getReady(w http.ResponseWriter, r *request) int {
	if r.Header.Get("Authorization") != "" {
		if fromAnotherSite(r.Request) {
			return a.refuseSite(w, r, a.routes["/readyz"])
		}
		if status := a.login(w, r); status != 0 {
			return status
		}
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return a.fail(w, r, badf("the query string is not well-formed"))
	}
	accounts, each := query["account"], query.Has("account")
	if !each || query.Has("all") {
		accounts, each = a.names(), query.Has("all")
	}
	why := a.whyNotReady(accounts, each)
	if why == nil {
		return answerJSON(w, http.StatusOK, struct {
			Status string `json:"status"`
		}{"ready"})
	}
	body := notReady{Error: why.code, Message: a.withCause(r.caller, why)}
	for _, account := range accounts {
		if reason := a.lacks(account); reason != "" && r.caller.May(account) {
			body.Missing = append(body.Missing, missing{account, reason})
		}
	}
	setRetry(w.Header(), why.retry)
	return answerJSON(w, why.status, body)
}

// whyNotReady returns nil if the process is ready: with a usable token of each
// of the accounts, or else as long as it can get tokens or holds one. A single
// account without a token must not take the others away from their callers.
func (a *API) whyNotReady(accounts []string, each bool) *problem {
	if a.draining.Load() || a.stopping.Err() != nil {
		return &problemDraining
	}
	store := a.storeProblem()
	if !each && store == nil {
		return nil
	}
	usable := 0
	for _, name := range accounts {
		if a.lacks(name) == "" {
			usable++
		}
	}
	switch {
	case usable == len(accounts) && each, usable > 0 && !each:
		return nil
	case store != nil:
		return store
	}
	return &problemNotReady
}

var (
	problemDraining = problem{http.StatusServiceUnavailable, "draining", "this process is about to end: ask another", 0}
	problemNotReady = problem{http.StatusServiceUnavailable, "not_ready", "an account that was asked for has no usable token", 0}
)

// storeProblem returns why no token can be had from the store, nil if one can.
func (a *API) storeProblem() *problem {
	err := a.zk.StoreError()
	switch {
	case errors.Is(err, coordinator.ErrDenied):
		return &problemDenied
	case err != nil || !a.zk.Connected():
		return &problemUnreachable
	}
	return nil
}

// Drain has /readyz send requests elsewhere from now on. Whoever comes all the same
// is answered as ever, until Stop.
func (a *API) Drain() { a.draining.Store(true) }

// withCause is the message of a problem. The store's own words may name any
// account.
func (a *API) withCause(c auth.Caller, p *problem) string {
	err := a.zk.StoreError()
	if err == nil || !c.May(auth.AllAccounts) || p == &problemDraining {
		return p.message
	}
	return p.message + ": " + strings.TrimPrefix(err.Error(), "coordinator: ")
}

func (a *API) names() []string {
	var names []string
	for _, account := range a.zk.Accounts() {
		names = append(names, account.Name())
	}
	return names
}

// lacks says why an account has no usable token, "" if it has one.
func (a *API) lacks(name string) string {
	account, ok := a.zk.Account(name)
	if !ok {
		return "no account of this name is configured"
	}
	if _, ok := account.Peek(); ok {
		return ""
	}
	f := account.Status().Failure
	if f == nil || f.InARow == 0 {
		return "no token yet"
	}
	return (&coordinator.FetchError{Code: f.Code, Message: f.Message}).Error()
}
