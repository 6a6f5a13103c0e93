package wechattest

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"time"
)

const (
	pathUsers = "/cgi-bin/user/get"
	pathSend  = "/cgi-bin/message/custom/send"
	pathCode  = "/wxa/getwxacode"
)

// api is one of WeChat's interfaces. handle runs under Server.mu.
type api struct {
	method string // "" for any
	handle func(*Server, *request) reply
}

// apis returns the interfaces by path. Other paths get 404.
func apis() map[string]api {
	type ipList struct {
		IPs []string `json:"ip_list"`
	}
	all := map[string]api{
		pathToken:  {"", (*Server).token},
		pathStable: {http.MethodPost, (*Server).stableToken},
		pathTicket: {"", business((*Server).getTicket)},

		pathSession: {"", (*Server).session},
		pathWeb:     {"", (*Server).webLogin},

		"/cgi-bin/get_api_domain_ip": {"", canned(ipList{[]string{"101.89.47.18", "101.91.34.103"}})},
		"/cgi-bin/getcallbackip":     {"", canned(ipList{[]string{"101.226.103.61", "101.226.62.0/25"}})},
		"/cgi-bin/clear_quota":       {http.MethodPost, business((*Server).clearQuota)},
		"/cgi-bin/clear_quota/v2":    {http.MethodPost, (*Server).clearQuotaBySecret},
		"/cgi-bin/openapi/quota/get": {http.MethodPost, business((*Server).getQuota)},
		"/cgi-bin/openapi/rid/get":   {http.MethodPost, business((*Server).getRID)},

		pathUsers: {"", canned(json.RawMessage(
			`{"total":2,"count":2,"data":{"openid":["o6_bmjrPTlm6_2sgVt7hMZOPfL2M","o6_bmasdasdsad6_2sgVt7hMZOPfL"]},"next_openid":"o6_bmasdasdsad6_2sgVt7hMZOPfL"}`))},
		"/cgi-bin/user/info":             {"", canned(json.RawMessage(`{"subscribe":1,"openid":"o6_bmjrPTlm6_2sgVt7hMZOPfL2M","language":"zh_CN"}`))},
		"/cgi-bin/menu/get":              {"", canned(json.RawMessage(`{"menu":{"button":[]}}`))},
		"/cgi-bin/menu/create":           {http.MethodPost, canned(errorBody{0, "ok"})},
		"/cgi-bin/message/template/send": {http.MethodPost, canned(json.RawMessage(`{"errcode":0,"errmsg":"ok","msgid":200228332}`))},
		pathSend:                         {http.MethodPost, canned(errorBody{0, "ok"})},
		pathCode:                         {http.MethodPost, business((*Server).picture)},
	}
	maps.Copy(all, componentAPIs())
	return all
}

// business returns an interface that needs a token.
func business(handle func(*Server, *request, *account) reply) func(*Server, *request) reply {
	return func(s *Server, r *request) reply {
		a, code := s.bearer(r)
		if code != 0 {
			return s.refuse(r, code)
		}
		return handle(s, r, a)
	}
}

// canned returns a business interface with a constant answer.
func canned(body any) func(*Server, *request) reply {
	return business(func(s *Server, r *request, _ *account) reply { return s.json(r, body) })
}

// bearer returns the account whose token a business call carries, and counts the call. It
// returns an errcode, or 0.
func (s *Server) bearer(r *request) (*account, int) {
	token := r.query.Get("access_token")
	if token == "" {
		return nil, codeNoToken
	}
	i, known := s.byHash[hashOf(token)]
	if known && i.Chain == ComponentChain {
		return nil, codeNeedAccountToken
	}
	if !known || !i.Chain.isToken() {
		return nil, codeBadCredential
	}
	if !i.accepted(r.now) {
		return nil, s.deadCode(i, r.now)
	}
	a, ok := s.accounts[i.AppID]
	if !ok || s.knobs.False40001Rate > 0 && s.random.Float64() < s.knobs.False40001Rate {
		return nil, codeBadCredential
	}
	return a, s.spend(r, a)
}

// deadCode returns the errcode for a token that is no longer valid.
func (s *Server) deadCode(i *issued, now time.Time) int {
	expired := !now.Before(i.ExpiresAt)
	if expired && (i.Cause == CauseExpired || s.knobs.DeadOrder == ExpiredFirst) {
		return codeExpired
	}
	return codeBadCredential
}

func (s *Server) clearQuota(r *request, a *account) reply {
	if r.account() != a.AppID {
		return s.refuse(r, codeUnknownAppID)
	}
	return s.clearQuotaOf(r, a)
}

// clearQuotaBySecret takes the AppID and the secret from the query.
func (s *Server) clearQuotaBySecret(r *request) reply {
	id, secret := r.query.Get("appid"), r.query.Get("appsecret")
	a, known := s.accounts[id]
	switch {
	case id == "":
		return s.refuse(r, codeNoAppID)
	case !known:
		return s.refuse(r, codeUnknownAppID)
	case secret == "":
		return s.refuse(r, codeNoSecret)
	case !a.hasSecret(secret):
		return s.refuse(r, codeBadSecret)
	}
	return s.clearQuotaOf(r, a)
}

func (s *Server) clearQuotaOf(r *request, a *account) reply {
	if !a.usage.clear(r.now, s.knobs.ClearsPerMonth) {
		return s.refuse(r, codeNoMoreClears)
	}
	a.stable.forcedCount = 0
	return s.json(r, errorBody{0, "ok"})
}

type quotaBody struct {
	Limit  int `json:"daily_limit"`
	Used   int `json:"used"`
	Remain int `json:"remain"`
}

func (s *Server) getQuota(r *request, a *account) reply {
	var q struct {
		Path string `json:"cgi_path"`
	}
	_ = json.Unmarshal(r.body, &q) // a body that is not JSON names no path
	if strings.HasPrefix(q.Path, "/sns/") {
		return s.refuse(r, codeBadPath)
	}
	if _, ok := s.apis[q.Path]; !ok {
		return s.refuse(r, codeNoSuchPath)
	}
	a.usage.turn(r.now)
	limit, used := s.dailyLimit(a, q.Path), a.usage.daily[q.Path]
	return s.json(r, struct {
		errorBody
		Quota quotaBody `json:"quota"`
	}{errorBody{0, "ok"}, quotaBody{limit, used, limit - used}})
}

func (s *Server) picture(r *request, _ *account) reply {
	out := s.status(r, http.StatusOK)
	out.header.Set("Content-Type", "image/jpeg")
	out.body = append([]byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00"), make([]byte, 16<<10)...)
	return out
}
