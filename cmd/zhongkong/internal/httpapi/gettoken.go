package httpapi

import (
	"errors"
	"net/http"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/header"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi/formdata"
	"github.com/zhongkong/zhongkong/coordinator"
)

// postGetToken answers POST /GetToken, the form that old clients send, with the
// bare token. An error has another status than 200 and a JSON object as its body,
// which no client takes for a token.
func (a *app) postGetToken(w http.ResponseWriter, r *request) int {
	account, err := a.getTokenAccount(w, r)
	if err != nil {
		p := a.explain(r, err)
		if errors.Is(err, errNoCredentials) {
			p = p.with("the form needs name (or UserName) and password (or Password), once each, in the body of the request")
		}
		return writeProblem(w, p)
	}
	s, err := a.current(r, account, firstToken)
	if err != nil {
		return a.fail(w, r, err)
	}
	text, err := a.handOut(r.caller, account.Name(), s.Token)
	if err != nil {
		return a.fail(w, r, err)
	}
	a.served(s.Stale)
	r.told(a.accounts.of(account).cache.encode(s))
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = typeText, noStore
	_, _ = w.Write([]byte(text)) //nolint:gosec // G705: plain text that is not from the request; it fails if the client has gone
	return http.StatusOK
}

// getTokenAccount authenticates the caller by the form, else by HTTP Basic, and
// returns the account that the form is about. Fields in the query string are
// ignored, because proxies log them.
func (a *app) getTokenAccount(w http.ResponseWriter, r *request) (*coordinator.Account, error) {
	body, err := r.read(w)
	if err != nil {
		return nil, err
	}
	form, err := formdata.ParseLogin(body)
	switch {
	case errors.Is(err, formdata.ErrMediaType):
		return nil, err
	case err != nil:
		return nil, badRequestf("%v", err)
	}
	credentials := form.Credentials()
	if credentials == nil && form.IsAnonymous() {
		if c, ok := auth.FromAuthorization(header.First(r.Header["Authorization"])); ok {
			credentials = append(credentials, c)
		}
	}
	if credentials == nil {
		a.refuse(r, "", errNoCredentials.Error())
		return nil, errNoCredentials
	}
	if err := a.authenticate(r, credentials...); err != nil {
		return nil, err
	}
	name, err := a.accountOf(r.caller, "appid", form.Values["appid"])
	if err != nil {
		return nil, err
	}
	return a.permit(r, name)
}

// accountOf returns the name of the account that a form is about: the one in a
// field, else the caller's only one.
func (a *app) accountOf(caller auth.Caller, field string, given []string) (string, error) {
	switch {
	case len(given) == 1 && given[0] != "":
		return given[0], nil
	case len(given) > 1:
		return "", badRequestf("%s: is given more than once", field)
	}
	var only *coordinator.Account
	for _, account := range a.zk.Accounts() {
		if !caller.May(account.Name()) {
			continue
		}
		if only != nil {
			return "", badRequestf("%s: is needed, because the caller has several accounts", field)
		}
		only = account
	}
	if only == nil {
		return "", badRequestf("%s: is needed, because none of the caller's accounts is configured", field)
	}
	return only.Name(), nil
}
