package wecomtest

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

const (
	pathSuiteToken      = "/cgi-bin/service/get_suite_token"
	pathPreAuthCode     = "/cgi-bin/service/get_pre_auth_code"
	pathPermanentCode   = "/cgi-bin/service/get_permanent_code"
	pathPermanentCodeV2 = "/cgi-bin/service/v2/get_permanent_code"
	pathCorpToken       = "/cgi-bin/service/get_corp_token"
)

// Lengths in characters.
const (
	ticketLength        = 86
	authCodeLength      = 88
	permanentCodeLength = 64
	firstAgentID        = 1_000_100 // of the apps that suites are in corps
)

// maxCode is the most characters that a code may have.
const maxCode = 512

// service carries out the calls of suites. ok is false for another path.
func (s *Server) service(r *request) (out reply, ok bool) {
	switch r.path {
	case pathSuiteToken:
		return s.getSuiteToken(r), true
	case pathPreAuthCode:
		return s.withSuiteToken(r, s.getPreAuthCode), true
	case pathPermanentCode, pathPermanentCodeV2:
		return s.withSuiteToken(r, s.getPermanentCode), true
	case pathCorpToken:
		return s.withSuiteToken(r, s.getCorpToken), true
	}
	return reply{}, false
}

// field returns a member of the body, "" if there is none.
func (r *request) field(name string) string {
	text, _ := r.body[name].(string)
	return text
}

// getSuiteToken answers the same token while it lives, whatever ticket it is asked with.
// Of a GET the body is ignored.
func (s *Server) getSuiteToken(r *request) reply {
	if r.method != http.MethodPost {
		return s.refuse(r, codeBadSuiteID)
	}
	suiteID, secret, ticket := r.field("suite_id"), r.field("suite_secret"), r.field("suite_ticket")
	r.app = suiteID
	u := s.suites[suiteID]
	switch {
	case r.body == nil:
		return s.refuse(r, codeBadData)
	case suiteID == "":
		return s.refuse(r, codeNoSuiteID)
	case secret == "":
		return s.refuse(r, codeNoSuiteSecret)
	case ticket == "":
		return s.refuse(r, codeNoSuiteTicket)
	case s.block(r):
		return s.tooOften(r, anHour)
	case u == nil:
		return s.refuse(r, codeBadSuiteID)
	case !u.trusts(r.from):
		return s.refuse(r, codeUntrusted)
	}
	if w := s.spend(r, s.usual(r, suiteID)...); w != "" {
		return s.tooOften(r, w)
	}
	switch {
	case u.Secret != secret:
		s.wrongSecret(r)
		return s.refuse(r, codeBadSuiteSecret)
	case !s.takesTicket(u, ticket):
		return s.refuse(r, codeBadSuiteTicket)
	}
	return s.suiteSuccess(s.give("suite_access_token", s.current(&u.token, Issue{Kind: SuiteToken, App: suiteID}, s.knobs.TokenTTL)))
}

func (u *suite) trusts(address string) bool {
	return u.Trusted == nil || slices.Contains(u.Trusted, address)
}

// takesTicket reports whether a ticket is one of the newest and lives. The caller holds mu.
func (s *Server) takesTicket(u *suite, ticket string) bool {
	newest := u.tickets[max(0, len(u.tickets)-s.knobs.SuiteTicketsKept):]
	return slices.ContainsFunc(newest, func(i *Issue) bool { return i.Value == ticket && s.now().Before(i.ExpiresAt) })
}

// suiteSuccess answers without an errcode unless the knob says otherwise.
func (s *Server) suiteSuccess(members map[string]any) reply {
	if s.knobs.SuiteErrcode {
		return success(members)
	}
	return object(members)
}

// withSuiteToken carries out a call with a suite_access_token.
func (s *Server) withSuiteToken(r *request, call func(*request, *suite) reply) reply {
	token := r.query.Get("suite_access_token")
	i, known := s.byValue[token]
	switch {
	case token == "":
		return s.refuse(r, codeNoSuiteToken)
	case !known || i.Kind != SuiteToken || s.suites[i.App] == nil:
		return s.refuse(r, codeBadProvider)
	case !s.now().Before(i.ExpiresAt):
		return s.refuse(r, codeSuiteExpired)
	case !s.now().Before(i.DiesAt):
		return s.refuse(r, codeBadProvider)
	}
	r.app = i.App
	u := s.suites[i.App]
	if !u.trusts(r.from) {
		return s.refuse(r, codeUntrusted)
	}
	if w := s.spend(r, s.usual(r, u.SuiteID)...); w != "" {
		return s.tooOften(r, w)
	}
	return call(r, u)
}

func (s *Server) getPreAuthCode(_ *request, u *suite) reply {
	code := s.randomText(authCodeLength)
	u.preAuth[code] = s.now().Add(preAuthTTL)
	return success(map[string]any{"pre_auth_code": code, "expires_in": int(preAuthTTL.Seconds())})
}

// preAuthTTL is the life of a pre_auth_code.
const preAuthTTL = 20 * time.Minute

// getPermanentCode exchanges an auth_code. A custom app's, and the second version, answer
// no token.
func (s *Server) getPermanentCode(r *request, u *suite) reply {
	given := r.field("auth_code")
	if r.body == nil {
		return s.refuse(r, codeBadData)
	}
	if len(given) > maxCode {
		return s.refuse(r, codeBadLength)
	}
	held := u.codes[given]
	if held == nil || !s.now().Before(held.expires) {
		return s.refuse(r, codeBadAuthCode)
	}
	delete(u.codes, given)
	r.corpID = held.corpID
	in := u.installs[held.corpID]
	s.grantCode(u, in)
	members := map[string]any{
		"permanent_code": in.code,
		"auth_corp_info": map[string]any{"corpid": in.corpID, "corp_name": "corp " + in.corpID},
		"auth_user_info": map[string]any{"userid": "zhangsan", "name": "张三"},
	}
	if r.path == pathPermanentCode {
		users := make([]string, s.knobs.AllowUsers)
		for i := range users {
			users[i] = fmt.Sprintf("zhangsan-%06d", i)
		}
		members["auth_info"] = map[string]any{"agent": []any{map[string]any{
			"agentid": in.app.AgentID, "name": u.SuiteID, "privilege": map[string]any{"level": 1, "allow_user": users},
		}}}
		if !u.Custom {
			token := s.corpToken(u, in)
			members["access_token"], members["expires_in"] = token.Value, int(token.ExpiresAt.Sub(s.now()).Seconds())
			if s.knobs.ExchangeTokenDiffers {
				in.app.token = nil
			}
		}
	}
	return s.suiteSuccess(members)
}

// grantCode gives a corp's install a new permanent code, which ends the one before. The
// caller holds mu.
func (s *Server) grantCode(u *suite, in *install) {
	if in.app == nil {
		in.app = &app{App: App{Name: u.SuiteID, AgentID: firstAgentID + len(s.corps)}, corp: s.corps[in.corpID]}
	}
	in.code, in.since = s.randomText(permanentCodeLength), s.now()
	if u.Custom {
		in.app.Secret = in.code
		if s.knobs.ResetKills {
			s.end(&in.app.token)
		}
	}
	in.app.corp.apps[u.SuiteID] = in.app
}

// corpToken is the token of a suite in a corp. The caller holds mu.
func (s *Server) corpToken(u *suite, in *install) *Issue {
	return s.current(&in.app.token, Issue{Kind: AccessToken, CorpID: in.corpID, App: u.SuiteID}, s.knobs.TokenTTL)
}

func (s *Server) getCorpToken(r *request, u *suite) reply {
	corpID, code := r.field("auth_corpid"), r.field("permanent_code")
	r.corpID = corpID
	in := u.installs[corpID]
	switch {
	case r.body == nil:
		return s.refuse(r, codeBadData, "access_token")
	case corpID == "":
		return s.refuse(r, codeNoCorpID, "access_token")
	case code == "":
		return s.refuse(r, codeNoPermanentCode, "access_token")
	case len(code) > maxCode:
		return s.refuse(r, codeBadLength, "access_token")
	case u.Custom:
		return s.refuse(r, codeForbidden, "access_token")
	case in == nil || in.cancelled || in.code != code:
		return s.refuse(r, codeBadPermanentCode, "access_token")
	}
	return s.suiteSuccess(s.give("access_token", s.corpToken(u, in)))
}
