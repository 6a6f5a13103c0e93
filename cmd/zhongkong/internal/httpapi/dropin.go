package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi/wechatapi"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

const (
	// sdkWait is how long an SDK waits for a token. Some give up after 3 seconds,
	// and then log the URL, which holds the password.
	sdkWait = 2 * time.Second
	// forcePause is WeChat's: a forced refresh is answered with the current token
	// if that is younger.
	forcePause = 30 * time.Second
)

// dropInToken answers GET /cgi-bin/token.
func (a *app) dropInToken(w http.ResponseWriter, r *request) int {
	q, err := r.dropInQuery(w, wechatapi.ParseBody)
	if err != nil {
		return a.dropInFail(w, r, err)
	}
	return a.dropIn(w, r, q, "token")
}

// dropInQuery reads the query string, or the body if there is none: WeChat reads the
// query string only.
func (r *request) dropInQuery(w http.ResponseWriter, parse func([]byte) wechatapi.Request) (wechatapi.Request, error) {
	text := []byte(r.URL.RawQuery)
	if r.Method == http.MethodPost {
		body, err := r.read(w)
		if err != nil {
			return wechatapi.Request{}, err
		}
		if len(text) == 0 {
			text = body
		}
	}
	return parse(text), nil
}

// dropInStable answers POST /cgi-bin/stable_token.
func (a *app) dropInStable(w http.ResponseWriter, r *request) int {
	body, err := r.read(w)
	if err != nil {
		return a.dropInFail(w, r, err)
	}
	return a.dropIn(w, r, wechatapi.ParseBody(body), "stable_token")
}

// requirePost answers GET /cgi-bin/stable_token.
func requirePost(w http.ResponseWriter, _ *request) int {
	return wechatapi.WriteError(w, wechatapi.WrongMethod(wechatapi.PathStableToken))
}

// dropIn answers an SDK at the endpoint of a source, a value of source:. It checks in
// WeChat's order, except that the account is looked up only after the caller is
// authenticated.
func (a *app) dropIn(w http.ResponseWriter, r *request, q wechatapi.Request, source string) int {
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
	name, wrong := a.ofAppID(r, q.AppID, source)
	if wrong != nil {
		return wechatapi.WriteError(w, wrong)
	}
	account, err := a.permit(r, name)
	if err != nil {
		return wechatapi.WriteError(w, wechatapi.InvalidAppID(problemOf(r.Context(), err).status))
	}
	return a.dropInAnswer(w, r, account, bool(q.ForceRefresh), wechatapi.WriteToken)
}

// ofAppID returns the name of the caller's account that an SDK means by an AppID: below a
// route the route's account; else the account of that name; else the only one, or the only
// one of the endpoint's source. Without any it returns appID.
func (a *app) ofAppID(r *request, appID, source string) (string, *wechatapi.Error) {
	_, named := a.zk.Account(appID)
	named = named && r.caller.May(appID)
	route := routed(r.Context())
	if named && route == "" {
		return appID, nil
	}
	var mine, ofSource []string
	for _, name := range a.directory.WeChat(appID) {
		if !r.caller.May(name) {
			continue
		}
		if name == route {
			return name, nil
		}
		mine = append(mine, name)
		if a.directory.Source(name) == source {
			ofSource = append(ofSource, name)
		}
	}
	switch {
	case named, len(mine) == 0:
		return appID, nil
	case len(mine) == 1:
		return mine[0], nil
	case len(ofSource) == 1:
		return ofSource[0], nil
	}
	return "", wechatapi.AmbiguousAppID(mine)
}

// dropInAnswer answers an SDK with an account's token, which write writes.
func (a *app) dropInAnswer(
	w http.ResponseWriter, r *request, account *coordinator.Account, force bool,
	write func(w http.ResponseWriter, quoted []byte, expiresIn int64) int,
) int {
	s, err := a.dropInSnapshot(r, account, force)
	if err != nil {
		return a.dropInFail(w, r, err)
	}
	resp, expiresIn, err := a.tell(r, account, s)
	if err != nil {
		return a.dropInFail(w, r, err)
	}
	return write(w, resp.quoted, expiresIn)
}

// tell returns what a client is answered that keeps the token, and for how many
// seconds. A request that comes earlier is a report.
func (a *app) tell(r *request, account *coordinator.Account, s coordinator.Snapshot) (*response, int64, error) {
	state := a.accounts.of(account)
	resp, err := a.forCaller(r, state.cache.encode(s))
	if err != nil {
		return nil, 0, err
	}
	a.served(s.Stale)
	told := r.caller.Told()
	state.checker.answered(r.caller, resp.generation, time.Duration(resp.useForBy(told))*time.Second)
	return resp, resp.expiresInFor(told), nil
}

// dropInSnapshot returns the account's token: after a check if the request is a
// report, and after a refresh if the caller forces one.
func (a *app) dropInSnapshot(r *request, account *coordinator.Account, force bool) (coordinator.Snapshot, error) {
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

// checked returns s, or its replacement if the caller's request is a report that
// the issuer confirms. It waits sdkWait at most.
func (a *app) checked(r *request, account *coordinator.Account, s coordinator.Snapshot) (coordinator.Snapshot, error) {
	probe := a.directory.Probe(account.Name())
	if probe == nil {
		return s, nil
	}
	c := &a.accounts.of(account).checker
	decided, running := c.decide(r.caller.Name(), s)
	switch decided {
	case noReport:
		return s, nil
	case limited:
		a.checks.limited.Add(1)
		return s, nil
	case beginCheck:
		go func() { // ends with the check, or with Stop; it outlives the request, because others wait for it
			defer c.end()
			a.check(r.logContext(), account, s, r.caller.Name(), probe)
		}()
	}
	if !a.holding.acquire(r.caller.Name()) {
		return s, nil
	}
	defer a.holding.Release(r.caller.Name())
	ctx, cancel := r.waitContext(sdkWait)
	defer cancel()
	select {
	case <-running.done:
	case <-ctx.Done():
	case <-a.stopping.Done():
	}
	if r.caller.IsRevoked() {
		return coordinator.Snapshot{}, errRevoked
	}
	if newest, ok := account.Peek(); ok {
		return newest, nil
	}
	return s, nil
}

// check asks the issuer about a token, and replaces the token if it is rejected.
// Any other answer, or none, changes nothing. lines is the context for the log.
func (a *app) check(lines context.Context, account *coordinator.Account, s coordinator.Snapshot, caller string, probe Probe) {
	ctx, cancel := context.WithTimeout(a.stopping, checkTimeout)
	err := probe(ctx, s.Token)
	cancel()
	line := append(attrs("account", account.Name(), "caller", caller), generationAttr(s.Generation))
	switch {
	case err == nil:
		a.checks.good.Add(1)
		return
	case !errors.Is(err, httpsource.ErrRejected):
		a.checks.failed.Add(1)
		a.log.LogAttrs(lines, slog.LevelDebug, "a token could not be checked at the issuer", append(line, slog.String("error", err.Error()))...)
		return
	}
	a.checks.rejected.Add(1)
	a.log.LogAttrs(lines, slog.LevelWarn, "the issuer rejects the current token: a caller asked for one again, and a check confirmed it", line...)
	ctx, cancel = context.WithTimeout(coordinator.WithCaller(a.stopping, caller+" ("+byCheck+")"), refreshWait)
	defer cancel()
	if _, err := account.Invalidate(ctx, s.Token); err != nil && a.stopping.Err() == nil {
		a.log.LogAttrs(lines, slog.LevelWarn, "a rejected token could not be replaced", append(line, slog.String("error", err.Error()))...)
	}
}

// dropInFail answers an SDK with the error code that makes it do the right thing.
func (a *app) dropInFail(w http.ResponseWriter, r *request, err error) int {
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
