package oauthtest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"
)

// code is one of the authorization endpoint. Server.mu guards it.
type code struct {
	client, scope, redirect string
	challenge               string // S256
	ends                    time.Time
	family                  *family // that came of it; nil: it was not used
}

// serveAuthorize is the authorization endpoint (RFC 6749, section 4.1.1): the person
// consents at once. A challenge by S256 is required (RFC 7636).
func (s *Server) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	client, known := s.client(q.Get("client_id"))
	k := s.knobs.Consent
	s.mu.Unlock()
	target, err := url.Parse(q.Get("redirect_uri"))
	if !known || err != nil || !client.redirects(target) { // nobody must be sent there
		http.Error(w, "client_id or redirect_uri is unknown", http.StatusBadRequest)
		return
	}
	answer := url.Values{"state": {q.Get("state")}}
	if k.WrongState {
		answer.Set("state", rand.Text())
	}
	switch {
	case q.Get("response_type") != "code":
		answer.Set("error", "unsupported_response_type")
	case q.Get("code_challenge") == "" || q.Get("code_challenge_method") != "S256":
		answer.Set("error", "invalid_request")
		answer.Set("error_description", "a code_challenge with the method S256 is required")
	case !client.may(q.Get("scope")):
		answer.Set("error", "invalid_scope")
	case k.Denies:
		answer.Set("error", "access_denied")
	default:
		value := rand.Text()
		s.mu.Lock()
		s.codes[value] = &code{
			client: client.ID, scope: q.Get("scope"), redirect: q.Get("redirect_uri"), challenge: q.Get("code_challenge"),
			ends: time.Now().Add(k.life(time.Minute)),
		}
		s.mu.Unlock()
		answer.Set("code", value)
	}
	query := target.Query()
	for name, values := range answer {
		query[name] = values
	}
	target.RawQuery = query.Encode()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", target.String())
	w.WriteHeader(http.StatusFound)
}

// redirects reports whether codes may be sent to an address.
func (c Client) redirects(to *url.URL) bool {
	if len(c.Redirects) > 0 {
		return slices.Contains(c.Redirects, to.String())
	}
	a, err := netip.ParseAddr(to.Hostname())
	return err == nil && a.IsLoopback() && to.Scheme == "http"
}

// redeem answers a code with the first tokens of a family.
func (s *Server) redeem(r *http.Request, client Client, certificate string) (granted, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.codes[r.PostForm.Get("code")]
	sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	switch {
	case c == nil || c.client != client.ID || !time.Now().Before(c.ends):
		return granted{}, invalidGrant("the code is unknown or too old")
	case c.family != nil: // RFC 6749, section 4.1.2
		s.kill(c.family, "its code was used twice", true)
		return granted{}, invalidGrant("the code was used before")
	case c.redirect != r.PostForm.Get("redirect_uri"):
		return granted{}, invalidGrant("redirect_uri is another one than before")
	case base64.RawURLEncoding.EncodeToString(sum[:]) != c.challenge:
		return granted{}, invalidGrant("code_verifier does not belong to the code_challenge")
	}
	t := s.consent(c.client, c.scope)
	c.family = t.family
	return s.grant(t.family, t, certificate), nil
}

// life is that of codes.
func (k ConsentKnobs) life(otherwise time.Duration) time.Duration {
	if k.Life > 0 {
		return time.Duration(k.Life)
	}
	return otherwise
}
