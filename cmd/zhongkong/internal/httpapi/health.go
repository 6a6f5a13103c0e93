package httpapi

import (
	_ "embed"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/header"
	"github.com/zhongkong/zhongkong/coordinator"
)

// getHealth answers GET /healthz: the process is alive.
func getHealth(w http.ResponseWriter, _ *request) int {
	return writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// getMetrics answers GET /metrics, which names every account.
func (a *app) getMetrics(w http.ResponseWriter, r *request) int {
	if !a.metricsOpen {
		if err := a.permitAll(r); err != nil {
			return a.fail(w, r, err)
		}
	}
	w.Header()["Cache-Control"] = noStore
	a.metrics.ServeHTTP(w, r.Request)
	return http.StatusOK
}

//go:embed openapi.yaml
var description []byte

// getDescription answers GET /openapi.yaml.
func getDescription(w http.ResponseWriter, _ *request) int {
	w.Header().Set("Content-Type", "application/yaml; charset=utf-8")
	_, _ = w.Write(description) // fails if the client has gone
	return http.StatusOK
}

// notReady is the body of /readyz with another status than 200.
type notReady struct {
	Error   string    `json:"error"`
	Message string    `json:"message"`
	Missing []missing `json:"missing,omitempty"`
}

type missing struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

var (
	problemDraining = problem{http.StatusServiceUnavailable, "draining", "this process is about to end: ask another", 0}
	problemNotReady = problem{http.StatusServiceUnavailable, "not_ready", "an account that was asked for has no usable token", 0}
)

// getReady answers GET /readyz: whether to send requests to this process.
// ?account=NAME asks for a usable token of that account, ?all for one of every
// account.
//
// The status is the same for everyone, since probes have no credentials. Which
// accounts have no token, and why, is told to callers only, for the accounts that
// they may have. So a client without credentials learns whether an account has a
// token here if it knows the account's name.
func (a *app) getReady(w http.ResponseWriter, r *request) int {
	if r.Header.Get("Authorization") != "" {
		if header.IsCrossOrigin(r.Request) {
			a.refuse(r, "", reasonCrossOrigin)
			return writeProblem(w, problemCrossOrigin)
		}
		if err := a.login(r); err != nil {
			return a.failPage(w, r, err)
		}
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return a.fail(w, r, badRequestf("the query string is not well-formed"))
	}
	accounts, each := query["account"], query.Has("account")
	if !each || query.Has("all") {
		accounts, each = a.names(), query.Has("all")
	}
	why := a.whyNotReady(accounts, each)
	if why == nil {
		return writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
	}
	body := notReady{Error: why.code, Message: a.readyMessage(r.caller, why)}
	for _, account := range accounts {
		if reason := a.lacks(account); reason != "" && r.caller.May(account) {
			body.Missing = append(body.Missing, missing{account, reason})
		}
	}
	setRetryAfter(w.Header(), why.retry)
	return writeJSON(w, why.status, body)
}

// whyNotReady returns nil if the process is ready: with a usable token of each
// of the accounts, or else while it can get tokens or holds one. One account
// without a token must not take the others away from their callers.
func (a *app) whyNotReady(accounts []string, each bool) *problem {
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

// storeProblem returns why the store gives no tokens, nil if it does.
func (a *app) storeProblem() *problem {
	err := a.zk.StoreError()
	switch {
	case errors.Is(err, coordinator.ErrDenied):
		return &problemDenied
	case err != nil || !a.zk.Connected():
		return &problemUnreachable
	}
	return nil
}

// readyMessage returns the message of a problem. A caller of all accounts is also
// told the store's error, which may name any of them.
func (a *app) readyMessage(c auth.Caller, p *problem) string {
	err := a.zk.StoreError()
	if err == nil || !c.May(auth.AllAccounts) || p == &problemDraining {
		return p.message
	}
	return p.message + ": " + strings.TrimPrefix(err.Error(), "coordinator: ")
}

func (a *app) names() []string {
	var names []string
	for _, account := range a.zk.Accounts() {
		names = append(names, account.Name())
	}
	return names
}

// lacks returns why an account has no usable token, "" if it has one.
func (a *app) lacks(name string) string {
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
