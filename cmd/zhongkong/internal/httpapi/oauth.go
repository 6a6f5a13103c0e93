package httpapi

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/header"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi/formdata"
	"github.com/zhongkong/zhongkong/coordinator"
)

// The error codes of RFC 6749, sections 5.2 and (the last two) 4.1.2.1.
const (
	oauthInvalidRequest     = "invalid_request"
	oauthInvalidClient      = "invalid_client"
	oauthInvalidScope       = "invalid_scope"
	oauthUnauthorizedClient = "unauthorized_client"
	oauthUnsupportedGrant   = "unsupported_grant_type"
	oauthServerError        = "server_error"
	oauthUnavailable        = "temporarily_unavailable"
)

// oauthRefusal is an error with a code of its own and the status 400.
type oauthRefusal struct{ code, text string }

func (e *oauthRefusal) Error() string { return e.text }

// postOAuth answers POST /oauth2/token and /oauth2/{name}/token: the client credentials
// grant of RFC 6749, section 4.4. The client is the caller, the scope the account.
func (a *app) postOAuth(w http.ResponseWriter, r *request) int {
	account, err := a.oauthAccount(w, r)
	if err != nil {
		return a.oauthFail(w, r, err)
	}
	s, err := a.dropInSnapshot(r, account, false)
	if err != nil {
		return a.oauthFail(w, r, err)
	}
	resp, expiresIn, err := a.tell(r, account, s)
	if err != nil {
		return a.oauthFail(w, r, err)
	}
	answer := make(map[string]any, len(resp.record.Attributes)+4)
	for name, value := range resp.record.Attributes { // such as instance_url
		answer[name] = value
	}
	maps.Copy(answer, map[string]any{
		"access_token": json.RawMessage(resp.quoted), "scope": account.Name(),
		"token_type": cmp.Or(resp.record.Attributes["token_type"], "Bearer"),
		"expires_in": expiresIn,
	})
	w.Header().Set("Pragma", "no-cache")
	return writeJSON(w, http.StatusOK, answer)
}

// oauthAccount authenticates the caller and returns the account that it asks about.
func (a *app) oauthAccount(w http.ResponseWriter, r *request) (*coordinator.Account, error) {
	form, err := r.readForm(w)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"grant_type", "client_id", "client_secret", "scope"} {
		if len(form[name]) > 1 {
			return nil, badRequestf("%s is given more than once", name)
		}
	}
	switch grant := form.Get("grant_type"); grant {
	case "client_credentials":
	case "":
		return nil, badRequestf("grant_type is missing: it must be client_credentials, in the body")
	default:
		return nil, &oauthRefusal{oauthUnsupportedGrant, "grant_type must be client_credentials"}
	}
	credentials, err := clientOf(header.First(r.Header["Authorization"]), form)
	if err != nil {
		if errors.Is(err, errNoCredentials) {
			a.refuse(r, "", err.Error())
		}
		return nil, err
	}
	if err := a.authenticate(r, credentials...); err != nil {
		return nil, err
	}
	return a.scoped(r, form.Get("scope"))
}

// clientOf returns what the client's credentials can mean, the likeliest first.
func clientOf(authorization string, form url.Values) ([]auth.Credentials, error) {
	id, secret := form.Get("client_id"), form.Get("client_secret")
	if authorization == "" {
		if id == "" || secret == "" {
			return nil, errNoCredentials
		}
		return []auth.Credentials{{Name: id, Password: secret}}, nil
	}
	c, ok := auth.FromAuthorization(authorization)
	switch {
	case !ok:
		return nil, errNoCredentials
	case secret != "":
		return nil, badRequestf("the client proves itself twice: use HTTP Basic, or client_id and client_secret in the body, not both")
	}
	all := []auth.Credentials{c}
	name, wrongName := url.QueryUnescape(c.Name)
	password, wrongPassword := url.QueryUnescape(c.Password)
	if decoded := (auth.Credentials{Name: name, Password: password}); wrongName == nil && wrongPassword == nil && decoded != c {
		all = []auth.Credentials{decoded, c} // RFC 6749 has both encoded, which many clients leave out
	}
	if id != "" && id != all[0].Name && id != c.Name {
		return nil, badRequestf("client_id is not the name in the Authorization header")
	}
	return all, nil
}

// scoped returns the account that the path or the scope names, else the caller's only
// one.
func (a *app) scoped(r *request, scope string) (*coordinator.Account, error) {
	name := cmp.Or(r.account, scope)
	switch {
	case scope != "" && scope != name:
		return nil, &oauthRefusal{oauthInvalidScope, "scope must be the account of the path, or be left out"}
	case name == "":
		only, err := a.accountOf(r.caller, "scope", nil)
		if err != nil {
			return nil, &oauthRefusal{oauthInvalidScope, err.Error()}
		}
		name = only
	}
	account, err := a.permit(r, name)
	if errors.Is(err, coordinator.ErrUnknownAccount) {
		return nil, &oauthRefusal{oauthInvalidScope, "scope must be the name of one account that is configured"}
	}
	return account, err
}

// oauthFail writes the response for an error.
func (a *app) oauthFail(w http.ResponseWriter, r *request, err error) int {
	if refusal, ok := errors.AsType[*oauthRefusal](err); ok {
		return writeOAuthError(w, refusal.code, problem{http.StatusBadRequest, "", refusal.text, 0})
	}
	p := a.explain(r, err)
	switch {
	case errors.Is(err, formdata.ErrMediaType):
		return writeOAuthError(w, oauthInvalidRequest, problem{http.StatusBadRequest, "", "the body must be application/x-www-form-urlencoded", 0})
	case errors.Is(err, errForbidden):
		return writeOAuthError(w, oauthUnauthorizedClient, problem{http.StatusBadRequest, "", p.message, 0})
	case errors.Is(err, errNoCredentials):
		p.message = "the client's id and secret are needed: HTTP Basic, or client_id and client_secret in the body"
	}
	switch p.status {
	case http.StatusUnauthorized:
		return writeOAuthError(w, oauthInvalidClient, p)
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return writeOAuthError(w, oauthInvalidRequest, p)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return writeOAuthError(w, oauthUnavailable, p)
	}
	return writeOAuthError(w, oauthServerError, p)
}

// writeOAuthError writes the status, the headers and the message of a problem with a
// code of RFC 6749.
func writeOAuthError(w http.ResponseWriter, code string, p problem) int {
	if p.status == statusGone {
		return statusGone
	}
	setProblemHeaders(w.Header(), p)
	w.Header().Set("Pragma", "no-cache")
	return writeJSON(w, p.status, oauthError{code, strings.Map(describable, p.message)})
}

type oauthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

// describable maps the characters that an error_description may not have.
func describable(c rune) rune {
	switch {
	case c == '"':
		return '\''
	case c < ' ' || c > '~' || c == '\\':
		return '?'
	}
	return c
}

// metadataPath is that of RFC 8414. The path of an issuer follows it.
const metadataPath = "/.well-known/oauth-authorization-server"

type metadata struct {
	Issuer        string   `json:"issuer"`
	TokenEndpoint string   `json:"token_endpoint"`
	Grants        []string `json:"grant_types_supported"`
	Auth          []string `json:"token_endpoint_auth_methods_supported"`
	Responses     []string `json:"response_types_supported"`
}

// getMetadata answers with where the token endpoint is. It is public, because clients
// ask without credentials, and does not say which accounts exist.
//
// The address is the one that the client itself used: nothing may cache the answer, so
// a forged Host misleads its sender only. Behind a proxy that ends TLS,
// X-Forwarded-Proto can make it https, never less.
func getMetadata(w http.ResponseWriter, r *request) int {
	base := url.URL{Scheme: "http", Host: r.Host}
	if r.TLS != nil || strings.EqualFold(header.First(r.Header["X-Forwarded-Proto"]), "https") {
		base.Scheme = "https"
	}
	if parsed, err := url.Parse(base.String()); err != nil || parsed.Host == "" || *parsed != base {
		return writeProblem(w, problem{http.StatusBadRequest, "bad_request", "the Host header is not a host", 0})
	}
	issuer, at := base.String(), base.String()+"/oauth2"
	if r.account != "" {
		at += "/" + url.PathEscape(r.account)
		issuer = at
	}
	return writeJSON(w, http.StatusOK, metadata{
		Issuer: issuer, TokenEndpoint: at + "/token",
		Grants:    []string{"client_credentials"},
		Auth:      []string{"client_secret_basic", "client_secret_post"},
		Responses: []string{}, // there is no authorization endpoint
	})
}
