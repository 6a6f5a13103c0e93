package oauth

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// message is one request with what must not be quoted from its answer.
type message struct {
	url     string
	header  http.Header
	body    string
	secrets []string
	sent    time.Time
	proof   bool // it has an assertion, which depends on this machine's clock

	// From then on it must not be sent; zero: it may be at any time.
	sendBefore time.Time
}

// issuer is what differs between the endpoints.
type issuer interface {
	// message returns the request to send now.
	message(now time.Time, req coordinator.FetchRequest) (*message, error)

	// grant reads an answer: what was granted, or why nothing was.
	grant(r reply) (grant, *coordinator.FetchError)
}

// tokenRequest is the issuer behind a token endpoint.
type tokenRequest struct {
	config Config
	signer *signer // nil: nothing is signed
}

const (
	clientAssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	jwtBearerGrantType  = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

func (t *tokenRequest) message(now time.Time, req coordinator.FetchRequest) (*message, error) {
	c := &t.config
	form := maps.Clone(c.Params)
	if form == nil {
		form = make(url.Values)
	}
	m := &message{url: c.TokenURL, header: make(http.Header), sent: now, secrets: secretParams(c.Params)}
	if !form.Has("grant_type") {
		form.Set("grant_type", string(ClientCredentials))
	}
	if c.Grant == RefreshToken {
		present(m, form, req)
	} else {
		c.ask(form)
	}
	if c.Grant == JWTBearer {
		assertion, err := t.signer.assertion(now, cmp.Or(c.assertionLife, assertionLife), t.bearerClaims())
		if err != nil {
			return nil, err
		}
		form.Set("grant_type", jwtBearerGrantType)
		form.Set("assertion", assertion)
		m.hide(assertion)
	}
	if err := t.authenticate(m, form, now); err != nil {
		return nil, err
	}
	m.body = form.Encode()
	m.header.Set("Content-Type", "application/x-www-form-urlencoded")
	m.header.Set("Accept", "application/json")
	return m, nil
}

// ask adds what is asked for.
func (c *Config) ask(form url.Values) {
	if len(c.Scopes) > 0 {
		form.Set("scope", strings.Join(c.Scopes, " "))
	}
	if c.Audience != "" {
		form.Set("audience", c.Audience)
	}
}

// authenticate adds the proof of who the client is, in the configured way only.
func (t *tokenRequest) authenticate(m *message, form url.Values, now time.Time) error {
	c := &t.config
	switch c.ClientAuth {
	case Basic:
		// RFC 6749, section 2.3.1: both are form-encoded before they are joined.
		pair := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(c.ClientID) + ":" + url.QueryEscape(c.ClientSecret)))
		m.header.Set("Authorization", "Basic "+pair)
		m.secrets = append(m.secrets, c.ClientSecret, pair)
		return nil
	case Post:
		form.Set("client_secret", c.ClientSecret)
		m.secrets = append(m.secrets, c.ClientSecret)
	case PrivateKeyJWT:
		assertion, err := t.signer.assertion(now, assertionLife, map[string]any{
			"iss": c.ClientID, "sub": c.ClientID, "aud": cmp.Or(c.AssertionAudience, c.TokenURL),
		})
		if err != nil {
			return err
		}
		form.Set("client_assertion_type", clientAssertionType)
		form.Set("client_assertion", assertion)
		m.hide(assertion)
	}
	if c.ClientID != "" {
		form.Set("client_id", c.ClientID)
	}
	return nil
}

// hide marks an assertion as a secret, each part of it as well: an issuer may echo only
// one of them.
func (m *message) hide(assertion string) {
	m.proof = true
	m.secrets = append(m.secrets, assertion)
	m.secrets = append(m.secrets, strings.Split(assertion, ".")[1:]...)
}

func (t *tokenRequest) bearerClaims() map[string]any {
	c := &t.config
	claims := map[string]any{"iss": cmp.Or(c.Issuer, c.ClientID), "aud": cmp.Or(c.AssertionAudience, c.TokenURL)}
	if c.Subject != "" {
		claims["sub"] = c.Subject
	}
	maps.Copy(claims, c.Claims)
	return claims
}

// identity is what makes the credential of this configuration another one than that of
// a different configuration with the same secret.
func (t *tokenRequest) identity() []string {
	c := &t.config
	claims, _ := json.Marshal(c.Claims) // what cannot be encoded fails when it is signed
	return []string{
		"oauth2", c.TokenURL, string(c.Grant), string(c.ClientAuth), c.ClientID, c.KeyID, c.Algorithm, c.AssertionAudience,
		c.Issuer, c.Subject, string(claims), strings.Join(c.Scopes, " "), c.Audience, c.Params.Encode(),
	}
}

// secretParams returns the values of the parameters that are secret.
func secretParams(params url.Values) (secrets []string) {
	for name, values := range params {
		if secretName(name) {
			secrets = append(secrets, values...)
		}
	}
	return secrets
}

// secretName reports whether the name of a parameter says that it is secret.
func secretName(name string) bool {
	return slices.ContainsFunc([]string{"secret", "password", "token", "assertion", "key", "code"}, func(word string) bool {
		return strings.Contains(strings.ToLower(name), word)
	})
}

// addParams adds the parameters that v does not have.
func addParams(v, params url.Values) {
	for name, values := range params {
		if !v.Has(name) {
			v[name] = values
		}
	}
}
