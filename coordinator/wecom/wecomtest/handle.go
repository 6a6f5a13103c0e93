package wecomtest

import (
	"cmp"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator/internal/simulator"
)

const (
	pathToken       = "/cgi-bin/gettoken"
	pathProvider    = "/cgi-bin/service/get_provider_token"
	pathCorpTicket  = "/cgi-bin/get_jsapi_ticket"
	pathAgentTicket = "/cgi-bin/ticket/get"
	pathOpenCorpID  = "/cgi-bin/service/corpid_to_opencorpid"
)

// request is one call.
type request struct {
	method, path string
	query        url.Values
	body         map[string]any // nil: none, or no JSON object
	from         string

	corpID, app string // whose call it is, once that is known
}

// ServeHTTP implements http.Handler: it answers as WeCom does. Paths below /sandbox/ are
// the control interface, which GET /sandbox/ lists.
func (s *Server) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if strings.HasPrefix(req.URL.Path, simulator.ControlPrefix) {
		s.control.ServeHTTP(w, req)
		return
	}
	r := &request{method: req.Method, path: req.URL.Path, query: req.URL.Query(), from: req.RemoteAddr}
	if host, _, err := net.SplitHostPort(req.RemoteAddr); err == nil {
		r.from = host
	}
	if read, err := io.ReadAll(http.MaxBytesReader(w, req.Body, simulator.MaxRequest)); err == nil {
		_ = json.Unmarshal(read, &r.body) // what is no object leaves it nil
	}
	out, f := s.answer(r)
	switch {
	case f != nil && f.Dial:
		simulator.Refuse(w)
	case f != nil && f.Reset:
		simulator.Reset(w)
	}
	out.write(w, s.Now().UTC().Format(http.TimeFormat))
}

// answer carries a call out, with its fault if there is one, and records it. One without
// a connection is not recorded.
func (s *Server) answer(r *request) (out reply, f *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f = s.fault(r.path)
	switch {
	case f == nil || f.Reset || f.Cut > 0:
		out = s.carryOut(r)
		if f != nil {
			out.body = out.body[:max(0, len(out.body)-f.Cut)]
		}
	case f.Code != 0 && f.Message != "":
		out = object(map[string]any{"errcode": f.Code, "errmsg": f.Message})
	case f.Code != 0:
		out = s.refuse(r, f.Code)
	default:
		out = reply{status: f.Status, body: []byte(f.Body)}
		out.status = cmp.Or(out.status, http.StatusOK)
	}
	s.calls = append(s.calls, Call{At: s.now(), From: r.from, Path: r.path, CorpID: r.corpID, App: r.app, Code: out.code})
	if s.onCall != nil {
		s.onCall(r.path)
	}
	return out, f
}

func (s *Server) carryOut(r *request) reply {
	switch r.path {
	case pathToken:
		return s.getToken(r)
	case pathProvider:
		return s.getProviderToken(r)
	case pathCorpTicket, pathAgentTicket:
		return s.getTicket(r)
	case pathOpenCorpID:
		return s.withProviderToken(r)
	}
	if out, ok := s.service(r); ok {
		return out
	}
	return s.business(r)
}

// getToken is GET /cgi-bin/gettoken. The secret is checked for presence before the
// corpid.
func (s *Server) getToken(r *request) reply {
	corpID, secret := r.query.Get("corpid"), r.query.Get("corpsecret")
	r.corpID = corpID
	switch c := s.corps[corpID]; {
	case secret == "":
		return s.refuse(r, codeNoSecret, "access_token")
	case corpID == "":
		return s.refuse(r, codeNoCorpID, "access_token")
	case s.block(r):
		return s.tooOften(r, anHour)
	case c == nil:
		return s.refuse(r, codeBadCorpID, "access_token")
	default:
		return s.tokenOf(r, c, secret)
	}
}

func (s *Server) tokenOf(r *request, c *corp, secret string) reply {
	if w := s.spend(r, s.usual(r, c.CorpID)...); w != "" {
		return s.tooOften(r, w)
	}
	a := c.withSecret(secret)
	if a == nil {
		s.wrongSecret(r)
		for _, other := range s.corps {
			if other.withSecret(secret) != nil {
				return s.refuse(r, codeOtherCorp, "access_token")
			}
		}
		return s.refuse(r, codeBadCredential, "access_token")
	}
	r.app = a.Name
	switch {
	case a.disabled:
		return s.refuse(r, codeDisabled, "access_token")
	case s.knobs.TokensCheckIP && !a.trusts(r.from):
		return s.refuse(r, codeUntrusted, "access_token")
	}
	before := a.token
	token := s.current(&a.token, Issue{Kind: AccessToken, CorpID: c.CorpID, App: a.Name}, s.knobs.TokenTTL)
	if s.knobs.TicketFollowsToken && token != before {
		s.end(&a.ticket)
		s.end(&c.ticket)
	}
	return success(s.give("access_token", token))
}

func (c *corp) withSecret(secret string) *app {
	for _, a := range c.apps {
		if a.Secret == secret {
			return a
		}
	}
	return nil
}

func (a *app) trusts(address string) bool {
	return a.Trusted == nil || slices.Contains(a.Trusted, address)
}

// getProviderToken answers without an errcode if all is well.
func (s *Server) getProviderToken(r *request) reply {
	corpID, secret := r.field("corpid"), r.field("provider_secret")
	r.corpID = corpID
	c := s.corps[corpID]
	switch {
	case r.method == http.MethodPost && r.body == nil:
		return s.refuse(r, codeBadData)
	case secret == "":
		return s.refuse(r, codeNoSecret)
	case corpID == "":
		return s.refuse(r, codeNoCorpID)
	case s.block(r):
		return s.tooOften(r, anHour)
	case c == nil:
		return s.refuse(r, codeBadCorpID)
	}
	if w := s.spend(r, s.usual(r, corpID)...); w != "" {
		return s.tooOften(r, w)
	}
	if c.ProviderSecret == "" || c.ProviderSecret != secret {
		s.wrongSecret(r)
		return s.refuse(r, codeBadCredential)
	}
	return object(s.give("provider_access_token", s.current(&c.provider, Issue{Kind: ProviderToken, CorpID: corpID}, s.knobs.TokenTTL)))
}

// bearer returns the app of the token in a call, or an errcode. An address that is not
// trusted is found after the token was.
func (s *Server) bearer(r *request) (*app, int) {
	token := r.query.Get("access_token")
	if token == "" {
		return nil, codeNoToken
	}
	i, known := s.byValue[token]
	switch {
	case !known || i.Kind != AccessToken:
		return nil, codeBadToken
	case !s.now().Before(i.ExpiresAt):
		return nil, s.knobs.ExpiredAs
	case !s.now().Before(i.DiesAt):
		return nil, codeBadToken
	}
	c := s.corps[i.CorpID]
	if c == nil || c.apps[i.App] == nil {
		return nil, codeBadToken
	}
	a := c.apps[i.App]
	r.corpID, r.app = c.CorpID, a.Name
	if !a.trusts(r.from) {
		return nil, codeUntrusted
	}
	return a, 0
}

func (s *Server) getTicket(r *request) reply {
	a, code := s.bearer(r)
	if code != 0 {
		return s.refuse(r, code, "ticket")
	}
	limits := append(s.usual(r, a.corp.CorpID),
		limit{anHour, "tickets of corp " + a.corp.CorpID, s.knobs.TicketCorpHour},
		limit{anHour, "tickets of app " + a.corp.CorpID + "/" + a.Name, s.knobs.TicketAppHour})
	if w := s.spend(r, limits...); w != "" {
		return s.tooOften(r, w)
	}
	if r.path == pathCorpTicket {
		return success(s.give("ticket", s.current(&a.corp.ticket, Issue{Kind: CorpTicket, CorpID: a.corp.CorpID}, s.knobs.TicketTTL)))
	}
	if r.query.Get("type") != "agent_config" || a.AgentID == 0 {
		return s.refuse(r, codeBadTicketURL, "ticket")
	}
	return success(s.give("ticket", s.current(&a.ticket, Issue{Kind: AgentTicket, CorpID: a.corp.CorpID, App: a.Name}, s.knobs.TicketTTL)))
}

// business are calls with an app's token. One that names an agentid needs that app's.
func (s *Server) business(r *request) reply {
	good := map[string]map[string]any{
		"/cgi-bin/get_api_domain_ip": {"ip_list": []string{"182.254.11.176", "182.254.78.66"}},
		"/cgi-bin/getcallbackip":     {"ip_list": []string{"101.226.103.61"}},
		"/cgi-bin/agent/get":         {"name": "app"},
		"/cgi-bin/message/send":      {"invaliduser": "", "msgid": "xxxx"},
		"/cgi-bin/user/get":          {"userid": "zhangsan", "name": "张三"},
	}
	members, known := good[r.path]
	if !known {
		return reply{status: http.StatusNotFound}
	}
	a, code := s.bearer(r)
	if code == 0 {
		if agent := r.agent(); agent != "" && agent != strconv.Itoa(a.AgentID) {
			code = codeOtherApp
		}
	}
	if code != 0 {
		return s.refuse(r, code)
	}
	if w := s.spend(r, s.usual(r, a.corp.CorpID)...); w != "" {
		return s.tooOften(r, w)
	}
	return success(members)
}

// agent returns the agentid that a call names, "" if none.
func (r *request) agent() string {
	if id := r.query.Get("agentid"); id != "" {
		return id
	}
	if id, ok := r.body["agentid"].(float64); ok {
		return strconv.Itoa(int(id))
	}
	return ""
}

// withProviderToken is a call with a provider_access_token.
func (s *Server) withProviderToken(r *request) reply {
	i, known := s.byValue[r.query.Get("provider_access_token")]
	switch {
	case !known || i.Kind != ProviderToken:
		return s.refuse(r, codeBadProvider)
	case !s.now().Before(i.DiesAt):
		return s.refuse(r, codeSuiteExpired)
	}
	r.corpID = i.CorpID
	return success(map[string]any{"open_corpid": "wpAAAA"})
}
