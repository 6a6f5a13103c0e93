package httpapi

import (
	"net/http"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi/wechatapi"
)

// exchangeEndpoint is one of WeChat's or WeCom's that issue the tokens of platforms,
// suites and their members.
type exchangeEndpoint struct {
	wechatapi.Exchange
	source string // the value of source: of the platform's account
}

var exchangeEndpoints = []exchangeEndpoint{
	{wechatapi.ComponentToken, "wechat_platform"},
	{wechatapi.AuthorizerToken, "wechat_platform"},
	{wechatapi.SuiteToken, "wecom_suite"},
	{wechatapi.CorpToken, "wecom_suite"},
}

// dropInExchange returns the handler of an endpoint. The caller proves itself by its
// password in the place of the secret, also for the token of a member: the platform's
// token, which an SDK sends with it, may have been given to several callers, and does
// not say which members its sender may have.
func (a *app) dropInExchange(e exchangeEndpoint) handler {
	return func(w http.ResponseWriter, r *request) int {
		body, err := r.read(w)
		if err != nil {
			return a.dropInFail(w, r, err)
		}
		q := e.Parse(r.URL.RawQuery, body)
		if wrong := e.Check(q); wrong != nil {
			return wechatapi.WriteError(w, wrong)
		}
		credentials, ok := q.Credentials()
		if !ok {
			a.refuse(r, "", "the secret is not NAME:PASSWORD or NAME~PASSWORD")
			return wechatapi.WriteError(w, e.WrongSecret())
		}
		if err := a.authenticate(r, credentials); err != nil {
			if problemOf(r.Context(), err).status == http.StatusUnauthorized {
				return wechatapi.WriteError(w, e.WrongSecret())
			}
			return a.dropInFail(w, r, err)
		}
		name, wrong := a.exchanged(r, e, q)
		if wrong != nil {
			return wechatapi.WriteError(w, wrong)
		}
		account, err := a.permit(r, name)
		if err != nil {
			return wechatapi.WriteError(w, e.WrongID())
		}
		return a.dropInAnswer(w, r, account, false, func(w http.ResponseWriter, quoted []byte, expiresIn int64) int {
			return e.Write(w, q, quoted, expiresIn)
		})
	}
}

// exchanged returns the name of the account whose token is asked for, "" if there is
// none.
func (a *app) exchanged(r *request, e exchangeEndpoint, q wechatapi.Asked) (string, *wechatapi.Error) {
	if !e.OfMember() {
		return a.directory.Platform(e.source, q.ID), nil
	}
	platform, _, ok := a.directory.Holder(r.Request, q.Token)
	if !ok {
		a.refuse(r, r.caller.Name(), "the platform's access_token was not given out here")
		return "", e.WrongToken()
	}
	return a.directory.Member(e.source, platform, q.ID), nil
}
