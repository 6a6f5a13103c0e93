package httpapi

import (
	"net/http"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/callers"
	"github.com/zhongkong/zhongkong/coordinator"
)

// postGetToken answers POST /GetToken, the form that old clients send, with
// the bare token.
func (a *API) postGetToken(w http.ResponseWriter, r *request) int {
	form, err := a.readForm(w, r)
	if err != nil {
		return a.fail(w, r, err)
	}
	c, ok := callers.FromForm(form)
	if !ok {
		a.refuse(r, "", "no credentials")
		p := problemCredentials
		p.message = "the form needs name (or UserName) and password (or Password), once each"
		return answerProblem(w, p)
	}
	if err := a.prove(r, c); err != nil {
		return a.fail(w, r, err)
	}
	name, err := a.meant(r, form["appid"])
	if err != nil {
		return a.fail(w, r, err)
	}
	account, refused := a.permit(r, name)
	if refused != nil {
		return answerProblem(w, *refused)
	}
	s, err := a.current(r, account, firstToken)
	if err != nil {
		return a.fail(w, r, err)
	}
	if s.Stale {
		a.counts.stale.Add(1)
	}
	h := w.Header()
	h["Content-Type"], h["Cache-Control"] = typeText, noStore
	_, _ = w.Write([]byte(s.Token.Reveal())) // the client has gone: nobody to tell
	return http.StatusOK
}

// meant returns the account that a form is about: the one it names, else the
// caller's only one.
func (a *API) meant(r *request, appid []string) (string, error) {
	switch {
	case len(appid) == 1 && appid[0] != "":
		return appid[0], nil
	case len(appid) > 1:
		return "", badf("appid: is given more than once")
	}
	var only *coordinator.Account
	for _, account := range a.zk.Accounts() {
		if !r.caller.May(account.Name()) {
			continue
		}
		if only != nil {
			return "", badf("appid: is needed, because the caller has several accounts")
		}
		only = account
	}
	if only == nil {
		return "", badf("appid: is needed, because none of the caller's accounts is configured")
	}
	return only.Name(), nil
}
