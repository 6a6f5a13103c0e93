package httpapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi/wechatapi"
	"github.com/zhongkong/zhongkong/coordinator"
)

const (
	// sdkWait is how long an SDK waits for a token. Some give up after 3 seconds,
	// and then log the URL, which holds the password.
	sdkWait = 2 * time.Second
	// forcePause is WeChat's: a forced refresh is answered with the current token
	// if that is younger.
	forcePause = 30 * time.Second
)

// dropInToken answers GET /cgi-bin/token. WeChat reads the query string only; a
// body is accepted too.
func (a *API) dropInToken(w http.ResponseWriter, r *request) int {
	q := wechatapi.ParseQuery(r.URL.RawQuery)
	if r.Method == http.MethodPost {
		body, err := r.read(w)
		if err != nil {
			return a.dropInFail(w, r, err)
		}
		if r.URL.RawQuery == "" {
			q = wechatapi.ParseBody(body)
		}
	}
	return a.dropIn(w, r, q)
}

// dropInStable answers POST /cgi-bin/stable_token.
func (a *API) dropInStable(w http.ResponseWriter, r *request) int {
	body, err := r.read(w)
	if err != nil {
		return a.dropInFail(w, r, err)
	}
	return a.dropIn(w, r, wechatapi.ParseBody(body))
}

// requirePost answers GET /cgi-bin/stable_token.
func requirePost(w http.ResponseWriter, _ *request) int {
	return wechatapi.WriteError(w, wechatapi.WrongMethod(wechatapi.PathStableToken))
}

// dropIn answers an SDK. It checks in WeChat's order, except that the account is
// looked up only after the caller is authenticated.
func (a *API) dropIn(w http.ResponseWriter, r *request, q wechatapi.Request) int {
	if wrong := q.Check(); wrong != nil {
		return wechatapi.WriteError(w, wrong)
	}
	credentials := q.Credentials()
	if credentials == nil {
		a.refuse(r, "", "secret is not NAME:PASSWORD or NAME~PASSWORD")
		return wechatapi.WriteError(w, wechatapi.InvalidSecret())
	}
	if err := a.authenticate(r, credentials...); err != nil {
		return a.dropInFail(w, r, err)
	}
	account, err := a.permit(r, q.AppID)
	if err != nil {
		return wechatapi.WriteError(w, wechatapi.InvalidAppID(problemOf(r.Context(), err).status))
	}
	s, err := a.dropInSnapshot(r, account, bool(q.ForceRefresh))
	if err != nil {
		return a.dropInFail(w, r, err)
	}
	a.counts.served(s.Stale)
	state := a.accounts.of(account)
	resp := state.cache.encode(s)
	expiresIn := resp.useForBy(r.caller.Told())
	state.checker.answered(r.caller, resp.generation, time.Duration(expiresIn)*time.Second)
	return wechatapi.WriteToken(w, resp.quoted, expiresIn)
}

// dropInSnapshot returns the account's token: after a check if the request is a
// report, and after a refresh if the caller forces one.
func (a *API) dropInSnapshot(r *request, account *coordinator.Account, force bool) (coordinator.Snapshot, error) {
	if force {
		if err := a.permitRefresh(r, account.Name()); err != nil {
			return coordinator.Snapshot{}, err
		}
	}
	s, ok := account.Peek()
	if !ok {
		err := a.zk.StoreError() // a token will not arrive while the store is away
		if err == nil {
			s, err = a.current(r, account, sdkWait)
		}
		if err != nil {
			return coordinator.Snapshot{}, err
		}
	}
	s, err := a.checked(r, account, s)
	if err != nil || !force || s.Age() < forcePause {
		return s, err
	}
	return a.replace(r, account, coordinator.Token{}, byDropIn)
}

// dropInFail answers an SDK with the error code that makes it do the right thing.
func (a *API) dropInFail(w http.ResponseWriter, r *request, err error) int {
	if errors.Is(err, errNoRefresh) {
		return wechatapi.WriteError(w, wechatapi.NotAllowed("force_refresh needs the refresh right"))
	}
	p := a.explain(r, err)
	if p.status == statusGone {
		return statusGone
	}
	setRetryAfter(w.Header(), p.retry)
	return wechatapi.WriteError(w, wechatapi.ErrorFor(err, p.status, p.message, p.retry))
}
