package oauthtest

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The grant types of tokens that a person consents to.
const (
	grantCode    = "authorization_code"
	grantRefresh = "refresh_token"
	grantDevice  = "urn:ietf:params:oauth:grant-type:device_code"
)

// exchange is what came of a request to the token endpoint.
type exchange struct {
	call      Call
	presented *Presentation // nil: no refresh token was, or the client was refused
	status    int
	body      map[string]any
}

// exchange does what the request asks for.
func (s *Server) exchange(r *http.Request) *exchange {
	x := &exchange{}
	g, refused := s.decide(r, x)
	k := s.Knobs()
	switch {
	case refused == nil:
		x.status, x.body = http.StatusOK, k.answer(g)
	case x.presented != nil:
		x.presented.Outcome, x.presented.Error = "refused", refused.word
		x.status, x.body = k.Refresh.refused(refused, r.PostForm.Get("refresh_token"), x.presented.State)
	default:
		x.status, x.body = refused.status, refused.body()
	}
	x.call.Status = x.status
	if refused != nil {
		x.call.Error = refused.word
		if text, ok := x.body["error_description"].(string); ok && k.Echo {
			x.body["error_description"] = text + echo(r)
		}
	}
	return x
}

// decide finds out what the request is granted.
func (s *Server) decide(r *http.Request, x *exchange) (granted, *refusal) {
	if refused := checkForm(r); refused != nil {
		return granted{}, refused
	}
	x.call.Grant = r.PostForm.Get("grant_type")
	client, auth, refused := s.authenticate(r)
	x.call.Client, x.call.Auth = client.ID, auth
	if refused != nil {
		return granted{}, refused
	}
	certificate := ""
	if auth == authMTLS {
		certificate = thumbprint(client.Certificate)
	}
	switch x.call.Grant {
	case grantCode, grantRefresh, grantDevice:
		if client.ID == "" || auth == authNone && client.confidential() {
			return granted{}, invalidClient("no client authentication")
		}
		return s.ofPerson(r, x, client, certificate)
	case "client_credentials":
		if auth == authNone {
			return granted{}, invalidClient("no client authentication")
		}
	case jwtBearer:
		if client, refused = s.bearer(r); refused != nil {
			return granted{}, refused
		}
		x.call.Client = client.ID
	default:
		return granted{}, &refusal{http.StatusBadRequest, "unsupported_grant_type", "unknown grant_type"}
	}
	scope := r.PostForm.Get("scope")
	if !client.may(scope) {
		return granted{}, &refusal{http.StatusBadRequest, "invalid_scope", "not for this client"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	access, life := s.issue(token{client: client.ID, scope: scope, certificate: certificate})
	return granted{access: access, life: life}, nil
}

// ofPerson answers what rests on a person's consent.
func (s *Server) ofPerson(r *http.Request, x *exchange, client Client, certificate string) (granted, *refusal) {
	switch x.call.Grant {
	case grantCode:
		return s.redeem(r, client, certificate)
	case grantDevice:
		return s.poll(r, client, certificate)
	}
	x.presented = &Presentation{}
	s.present(x.presented)
	return s.refresh(r, client, certificate, x.presented)
}

// confidential reports whether the client has something to prove itself with.
func (c Client) confidential() bool { return c.Secret != "" || c.Key != nil || c.Certificate != nil }

// may reports whether the client may ask for the scopes.
func (c Client) may(scope string) bool {
	for wanted := range strings.FieldsSeq(scope) {
		if len(c.Scopes) > 0 && !slices.Contains(c.Scopes, wanted) {
			return false
		}
	}
	return true
}

// checkForm reads the request's parameters, none of which may be there twice.
func checkForm(r *http.Request) *refusal {
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	switch {
	case r.Method != http.MethodPost:
		return &refusal{http.StatusMethodNotAllowed, "invalid_request", "the method must be POST"}
	case media != "application/x-www-form-urlencoded":
		return invalidRequest("the content type must be application/x-www-form-urlencoded")
	case r.ParseForm() != nil:
		return invalidRequest("the body cannot be parsed")
	}
	for name, values := range r.PostForm {
		if len(values) > 1 && name != "resource" {
			return invalidRequest("a parameter is there twice")
		}
	}
	return nil
}

// answer is what a client gets (RFC 6749, section 5.1).
func (k Knobs) answer(g granted) map[string]any {
	m := map[string]any{"access_token": g.access.value, "token_type": "Bearer"}
	switch k.TokenType {
	case "":
	case "-":
		delete(m, "token_type")
	default:
		m["token_type"] = k.TokenType
	}
	if k.ExpiresIn != "missing" {
		m["expires_in"] = k.expiresIn(g.life)
	}
	if k.RefreshToken && g.access.family == nil {
		m["refresh_token"] = "refresh-" + rand.Text()
	}
	if g.refresh != nil {
		m["refresh_token"] = g.refresh.value
		if end := g.refresh.end(k.Refresh); k.Refresh.ExpiresInName != "" && !end.IsZero() {
			m[k.Refresh.ExpiresInName] = int64(time.Until(end).Round(time.Second) / time.Second)
		}
	}
	if k.Refresh.Dialect == "slack" {
		m["ok"] = true
	}
	for name, value := range map[string]string{"scope": g.access.scope, "instance_url": k.InstanceURL, "api_domain": k.APIDomain} {
		if value != "" {
			m[name] = value
		}
	}
	return m
}
