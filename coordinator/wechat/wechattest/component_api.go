package wechattest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The interfaces of third-party platforms.
const (
	componentPrefix     = "/cgi-bin/component/"
	pathStartPush       = componentPrefix + "api_start_push_ticket"
	pathComponentToken  = componentPrefix + "api_component_token"
	pathPreAuthCode     = componentPrefix + "api_create_preauthcode"
	pathQueryAuth       = componentPrefix + "api_query_auth"
	pathAuthorizerToken = componentPrefix + "api_authorizer_token"
	pathAuthorizerList  = componentPrefix + "api_get_authorizer_list"
	pathComponentClear  = componentPrefix + "clear_quota/v2"
)

// maxListed is the greatest count of api_get_authorizer_list.
const maxListed = 500

// componentAsking is the body of a call. The secret has two names.
type componentAsking struct {
	Component    string `json:"component_appid"`
	Secret       string `json:"component_secret"`
	AppSecret    string `json:"component_appsecret"`
	VerifyTicket string `json:"component_verify_ticket"`
	Code         string `json:"authorization_code"`
	Authorizer   string `json:"authorizer_appid"`
	RefreshToken string `json:"authorizer_refresh_token"`
	Offset       int    `json:"offset"`
	Count        int    `json:"count"`
}

type componentHandler func(*Server, *request, *component, componentAsking) reply

func componentAPIs() map[string]api {
	post := func(handle func(*Server, *request) reply) api { return api{http.MethodPost, handle} }
	return map[string]api{
		pathStartPush:       post(bySecret((*Server).startPush)),
		pathComponentToken:  post(bySecret((*Server).componentToken)),
		pathPreAuthCode:     post(byComponentToken((*Server).preAuthCode)),
		pathQueryAuth:       post(byComponentToken((*Server).queryAuth)),
		pathAuthorizerToken: post(byComponentToken((*Server).authorizerToken)),
		pathAuthorizerList:  post(byComponentToken((*Server).authorizerList)),
		pathComponentClear:  post((*Server).clearComponentQuota),
	}
}

// parse reads the body of a call and finds its component. It returns an errcode, or 0.
func (s *Server) parse(r *request) (*component, componentAsking, int) {
	var q componentAsking
	if err := json.Unmarshal(r.body, &q); err != nil {
		return nil, q, codeBadData
	}
	c := s.components[q.Component]
	switch {
	case c == nil && q.Component == "":
		return nil, q, codeNoAppID
	case c == nil:
		return nil, q, codeNoComponent
	case !lets(c.whitelist.at(r.now), r.from):
		return nil, q, codeComponentAddress // before anything else is looked at
	}
	return c, q, 0
}

// bySecret returns an interface whose body has the component's secret.
func bySecret(handle componentHandler) func(*Server, *request) reply {
	return func(s *Server, r *request) reply {
		c, q, code := s.parse(r)
		if code != 0 {
			return s.refuse(r, code)
		}
		secret := q.AppSecret
		if r.path == pathStartPush {
			secret = q.Secret
		}
		switch {
		case secret == "":
			return s.refuse(r, codeNoSecret)
		case !c.hasSecret(secret):
			return s.refuse(r, s.knobs.ComponentSecretCode)
		}
		if code := s.spend(r, c.account); code != 0 {
			return s.refuse(r, code)
		}
		return handle(s, r, c, q)
	}
}

// byComponentToken returns an interface that needs a component_access_token.
func byComponentToken(handle componentHandler) func(*Server, *request) reply {
	return func(s *Server, r *request) reply {
		c, q, code := s.parse(r)
		if code != 0 {
			return s.refuse(r, code)
		}
		token := r.componentToken()
		i, known := s.byHash[hashOf(token)]
		switch {
		case token == "":
			return s.refuse(r, codeNoToken)
		case !known:
			return s.refuse(r, codeBadCredential)
		case i.Chain != ComponentChain || i.AppID != c.account.AppID:
			return s.refuse(r, codeNeedComponentToken)
		case !i.accepted(r.now):
			return s.refuse(r, s.deadCode(i, r.now))
		}
		if r.path != pathAuthorizerToken { // which is counted for the authorizer
			if code := s.spend(r, c.account); code != 0 {
				return s.refuse(r, code)
			}
		}
		return handle(s, r, c, q)
	}
}

// componentToken is a call's component_access_token, which has two names.
func (r *request) componentToken() string {
	if token := r.query.Get("component_access_token"); token != "" {
		return token
	}
	return r.query.Get("access_token")
}

// startPush restarts the pushes of verify tickets.
func (s *Server) startPush(r *request, c *component, _ componentAsking) reply {
	if !c.Stopped {
		return s.json(r, errorBody{0, "in a normal state"})
	}
	c.Stopped = false
	c.nextTicket = r.now
	s.wakePushes()
	return s.json(r, errorBody{0, "ok"})
}

// componentToken issues a component_access_token. Every call issues one.
func (s *Server) componentToken(r *request, c *component, q componentAsking) reply {
	issued, known := c.tickets[q.VerifyTicket]
	switch {
	case !known:
		return s.refuse(r, codeBadVerifyTicket)
	case r.now.Sub(issued) >= s.knobs.VerifyTicketTTL:
		return s.refuse(r, codeOldVerifyTicket)
	}
	i := s.mintOn(&c.tokens, c.account.AppID, ComponentChain, r.call, r.now)
	return s.json(r, struct {
		Token     string `json:"component_access_token"`
		ExpiresIn int    `json:"expires_in"`
	}{i.Token, i.secondsLeft(r.now)})
}

func (i *issued) secondsLeft(now time.Time) int { return int(i.ExpiresAt.Sub(now) / time.Second) }

func (s *Server) preAuthCode(r *request, c *component, _ componentAsking) reply {
	code := "preauthcode@@@" + s.randomText(authCodeLength)
	maps.DeleteFunc(c.preAuth, func(_ string, expires time.Time) bool { return r.now.After(expires) })
	c.preAuth[code] = r.now.Add(s.knobs.PreAuthCodeTTL)
	return s.json(r, struct {
		Code      string `json:"pre_auth_code"`
		ExpiresIn int    `json:"expires_in"`
	}{code, int(s.knobs.PreAuthCodeTTL / time.Second)})
}

type authorizerBody struct {
	AppID        string `json:"authorizer_appid,omitempty"`
	AccessToken  string `json:"authorizer_access_token"`
	ExpiresIn    int    `json:"expires_in"`
	RefreshToken string `json:"authorizer_refresh_token"`
}

// queryAuth exchanges an authorization_code, once.
func (s *Server) queryAuth(r *request, c *component, q componentAsking) reply {
	code := c.codes[q.Code]
	switch {
	case code == nil || code.used || !code.authorizer.authorized || code.grant != code.authorizer.grant:
		return s.refuse(r, codeBadAuthCode)
	case !r.now.Before(code.expires):
		return s.refuse(r, codeOldAuthCode)
	}
	code.used = true
	a := code.authorizer
	a.queried = true
	i := s.mintOn(&a.tokens, a.AppID, AuthorizerChain, r.call, r.now)
	type info struct {
		authorizerBody
		Functions []struct{} `json:"func_info"`
	}
	return s.json(r, struct {
		Info info `json:"authorization_info"`
	}{info{authorizerBody{a.AppID, i.Token, i.secondsLeft(r.now), a.refreshToken}, []struct{}{}}})
}

// authorizerToken issues an authorizer_access_token.
func (s *Server) authorizerToken(r *request, c *component, q componentAsking) reply {
	a := c.authorizers[q.Authorizer]
	if a == nil || !a.authorized {
		return s.refuse(r, codeNotAuthorized)
	}
	if code := s.spend(r, a.account); code != 0 {
		return s.refuse(r, code)
	}
	if former := q.RefreshToken == a.former && r.now.Before(a.formerEnds); !former && q.RefreshToken != a.refreshToken || q.RefreshToken == "" {
		return s.refuse(r, codeBadRefreshToken)
	}
	if s.knobs.RefreshTokenRotates && q.RefreshToken == a.refreshToken {
		a.former, a.formerEnds = a.refreshToken, r.now.Add(s.knobs.Grace)
		a.refreshToken = "refreshtoken@@@" + s.randomText(refreshTokenLength)
	}
	i := s.mintOn(&a.tokens, a.AppID, AuthorizerChain, r.call, r.now)
	return s.json(r, authorizerBody{AccessToken: i.Token, ExpiresIn: i.secondsLeft(r.now), RefreshToken: a.refreshToken})
}

// authorizerList answers without the refresh token of an authorization whose code was
// never exchanged.
func (s *Server) authorizerList(r *request, c *component, q componentAsking) reply {
	type listed struct {
		AppID        string `json:"authorizer_appid"`
		RefreshToken string `json:"refresh_token"`
		AuthTime     int64  `json:"auth_time"`
	}
	if q.Count < 1 || q.Count > maxListed || q.Offset < 0 {
		return s.refuse(r, codeBadType)
	}
	all := slices.DeleteFunc(slices.Collect(maps.Values(c.authorizers)), func(a *authorizer) bool { return !a.authorized })
	slices.SortFunc(all, func(a, b *authorizer) int {
		if d := a.at.Compare(b.at); d != 0 {
			return d
		}
		return strings.Compare(a.AppID, b.AppID)
	})
	page := all[min(q.Offset, len(all)):min(q.Offset+q.Count, len(all))]
	answer := struct {
		Total int      `json:"total_count"`
		List  []listed `json:"list"`
	}{len(all), make([]listed, 0, len(page))}
	for _, a := range page {
		l := listed{AppID: a.AppID, AuthTime: s.eventTime(a.at)}
		if a.queried {
			l.RefreshToken = a.refreshToken
		}
		answer.List = append(answer.List, l)
	}
	return s.json(r, answer)
}

// clearComponentQuota resets the day's counts of a component, or of one of its
// authorizers, with the component's secret.
func (s *Server) clearComponentQuota(r *request) reply {
	var q struct {
		AppID     string `json:"appid"`
		Component string `json:"component_appid"`
		Secret    string `json:"appsecret"`
	}
	if err := json.Unmarshal(r.body, &q); err != nil {
		return s.refuse(r, codeBadData)
	}
	c := s.components[q.Component]
	switch {
	case c == nil:
		return s.refuse(r, codeNoComponent)
	case !c.hasSecret(q.Secret):
		return s.refuse(r, s.knobs.ComponentSecretCode)
	case q.AppID == "" || q.AppID == q.Component:
		return s.clearQuotaOf(r, c.account)
	case c.authorizers[q.AppID] == nil || !c.authorizers[q.AppID].authorized:
		return s.refuse(r, codeNotAuthorized)
	}
	return s.clearQuotaOf(r, c.authorizers[q.AppID].account)
}
