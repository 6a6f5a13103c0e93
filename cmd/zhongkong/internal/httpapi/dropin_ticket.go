package httpapi

import (
	"net/http"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi/formdata"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi/wechatapi"
)

// ticketEndpoint is one of WeChat's or WeCom's that issue tickets.
type ticketEndpoint struct {
	path  string
	kinds map[string]string // the parameter type :: the value of source:
	alone string            // the value of source: whatever the type; "": see kinds
	code  int               // for a token that is not accepted
}

var ticketEndpoints = []ticketEndpoint{
	{path: "/cgi-bin/ticket/getticket", kinds: map[string]string{"jsapi": "jsapi_ticket", "wx_card": "wx_card_ticket"}, code: wechatapi.CodeRejected},
	{path: "/cgi-bin/get_jsapi_ticket", alone: "wecom_jsapi_ticket", code: wechatapi.CodeInvalidToken},
	{path: "/cgi-bin/ticket/get", kinds: map[string]string{"agent_config": "wecom_agent_ticket"}, code: wechatapi.CodeInvalidToken},
}

// dropInTicket returns the handler of an endpoint. The caller proves itself by the token
// that it was given. Who has the token of an account can have its tickets from the
// issuer, so no other right is needed.
func (a *app) dropInTicket(e ticketEndpoint) handler {
	return func(w http.ResponseWriter, r *request) int {
		q, _ := formdata.Parse(r.URL.RawQuery)
		token, kind := q.Get("access_token"), e.alone
		if kind == "" {
			kind = e.kinds[q.Get("type")]
		}
		switch {
		case token == "":
			return wechatapi.WriteError(w, wechatapi.NoToken())
		case kind == "":
			return wechatapi.WriteError(w, wechatapi.InvalidType())
		}
		of, caller, ok := a.directory.Holder(r.Request, token)
		if !ok {
			a.refuse(r, "", "the access_token was not given out here")
			return wechatapi.WriteError(w, wechatapi.InvalidToken(e.code))
		}
		r.caller = caller
		auth.ProvedOtherwise(r.Context())
		account, ok := a.zk.Account(a.directory.Ticket(of, kind))
		if !ok {
			return wechatapi.WriteError(w, wechatapi.NotAllowed("no account of "+of+" has the source "+kind+": set tickets there"))
		}
		r.entry.About(account.Name())
		s, err := a.dropInSnapshot(r, account, false)
		if err != nil {
			return a.dropInFail(w, r, err)
		}
		a.served(s.Stale)
		resp := a.accounts.of(account).cache.encode(s)
		r.told(resp)
		return wechatapi.WriteTicket(w, resp.quoted, resp.expiresInFor(caller.Told()))
	}
}
