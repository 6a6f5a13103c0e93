package oauthtest

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	jwtBearer     = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

	authBasic = "basic"
	authPost  = "post"
	authJWT   = "private_key_jwt"
	authMTLS  = "mtls"
	authNone  = "none"
)

// authenticate finds out who the client is, and by which of the ways. There must be one
// way only.
func (s *Server) authenticate(r *http.Request) (Client, string, *refusal) {
	id, auth, refused := wayOf(r)
	if refused != nil {
		return Client{}, auth, refused
	}
	if auth == authNone && id == "" {
		return Client{}, auth, nil
	}
	s.mu.Lock()
	client, known := s.client(id)
	accepted := len(s.knobs.Auth) == 0 || slices.Contains(s.knobs.Auth, auth) || auth == authNone
	s.mu.Unlock()
	switch {
	case !accepted:
		return client, auth, invalidClient("this way of client authentication is not accepted")
	case !known:
		return client, auth, invalidClient("unknown client")
	}
	return client, auth, s.prove(r, client, auth)
}

// wayOf returns the client_id and how it is to be proved.
func wayOf(r *http.Request) (id, auth string, _ *refusal) {
	id, auth = r.PostForm.Get("client_id"), authNone
	ways := 0
	if user, _, ok := r.BasicAuth(); ok {
		plain, ok := unescape(user)
		if !ok || id != "" && id != plain {
			return id, authBasic, invalidRequest("the client_id is not form-encoded, or there are two")
		}
		id, auth = plain, authBasic
		ways++
	}
	if r.PostForm.Has("client_secret") {
		auth = authPost
		ways++
	}
	if r.PostForm.Has("client_assertion") {
		auth = authJWT
		ways++
		if claimed, err := unverified(r.PostForm.Get("client_assertion")); err == nil && id == "" {
			id = claimed.Subject
		}
	}
	if auth == authNone && peer(r) != "" && id != "" {
		auth = authMTLS
	}
	if ways > 1 {
		return id, auth, invalidRequest("more than one way of client authentication")
	}
	return id, auth, nil
}

// prove checks the client's proof.
func (s *Server) prove(r *http.Request, client Client, auth string) *refusal {
	equal := func(given string) bool {
		return client.Secret != "" && subtle.ConstantTimeCompare([]byte(given), []byte(client.Secret)) == 1
	}
	good := true
	switch auth {
	case authBasic:
		_, password, _ := r.BasicAuth()
		secret, ok := unescape(password)
		good = ok && equal(secret)
	case authPost:
		good = equal(r.PostForm.Get("client_secret"))
	case authMTLS:
		good = client.Certificate != nil && peer(r) == thumbprint(client.Certificate)
	case authJWT:
		if r.PostForm.Get("client_assertion_type") != assertionType {
			return invalidRequest("unknown client_assertion_type")
		}
		longest := cmp.Or(time.Duration(s.Knobs().MaxAssertion), 5*time.Minute)
		claims, problem := s.verify(r, r.PostForm.Get("client_assertion"), client.Key, longest)
		switch {
		case problem == "" && (claims.Issuer != client.ID || claims.Subject != client.ID):
			problem = "iss and sub must be the client_id"
		case problem == "" && claims.ID == "":
			problem = "jti is missing"
		case problem == "":
			problem = s.replayed(claims)
		}
		if problem != "" {
			return invalidClient("the assertion is refused: " + problem)
		}
	}
	if !good {
		return invalidClient("wrong credential")
	}
	return nil
}

// bearer checks the assertion of a JWT bearer grant, and returns its client.
func (s *Server) bearer(r *http.Request) (Client, *refusal) {
	assertion := r.PostForm.Get("assertion")
	claimed, err := unverified(assertion)
	if err != nil {
		return Client{}, invalidGrant("the assertion is not a JWT")
	}
	s.mu.Lock()
	client, known := s.client(claimed.Issuer)
	s.mu.Unlock()
	if !known || client.Key == nil {
		return Client{}, invalidGrant("the assertion's issuer is unknown")
	}
	claims, problem := s.verify(r, assertion, client.Key, time.Hour)
	if problem == "" && claims.ID != "" {
		problem = s.replayed(claims)
	}
	if problem != "" {
		return Client{}, invalidGrant("the assertion is refused: " + problem)
	}
	return client, nil
}

// claims are those of an assertion.
type claims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience audience `json:"aud"`
	Expires  int64    `json:"exp"`
	Issued   int64    `json:"iat"`
	ID       string   `json:"jti"`
}

// audience is one string or a list.
type audience []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audience) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// algorithms are those that a key does.
func algorithms(key crypto.PublicKey) []jose.SignatureAlgorithm {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return []jose.SignatureAlgorithm{map[int]jose.SignatureAlgorithm{256: jose.ES256, 384: jose.ES384, 521: jose.ES512}[k.Curve.Params().BitSize]}
	case ed25519.PublicKey:
		return []jose.SignatureAlgorithm{jose.EdDSA}
	}
	return []jose.SignatureAlgorithm{jose.RS256, jose.PS256}
}

// unverified reads an assertion without its signature.
func unverified(assertion string) (claims, error) {
	all := slices.Concat(algorithms(nil), algorithms(ed25519.PublicKey{}), []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512})
	signed, err := jose.ParseSignedCompact(assertion, all)
	if err != nil {
		return claims{}, err
	}
	var c claims
	return c, json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &c)
}

// verify checks an assertion and says what is wrong with it, "" if nothing is.
func (s *Server) verify(r *http.Request, assertion string, key crypto.PublicKey, longest time.Duration) (claims, string) {
	var c claims
	if key == nil {
		return c, "the client has no key"
	}
	signed, err := jose.ParseSignedCompact(assertion, algorithms(key))
	if err != nil {
		return c, "it is not a JWT with an algorithm of the client's key"
	}
	payload, err := signed.Verify(key)
	if err != nil || json.Unmarshal(payload, &c) != nil {
		return c, "the signature is wrong"
	}
	now, ends := s.now(), time.Unix(c.Expires, 0)
	switch {
	case !ends.After(now):
		return c, "it has expired"
	case ends.Sub(now) > longest:
		return c, "exp is too far in the future"
	case time.Unix(c.Issued, 0).After(now):
		return c, "iat is in the future"
	case r.PathValue("id") != "": // GitHub wants no audience
	case !slices.Contains(c.Audience, strings.Replace(address(r), "/device", "/token", 1)) && (s.audience == "" || !slices.Contains(c.Audience, s.audience)):
		return c, "aud names another recipient"
	}
	return c, ""
}

// replayed refuses an assertion whose jti was seen before.
func (s *Server) replayed(c claims) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for id, ends := range s.seen {
		if !ends.After(now) {
			delete(s.seen, id)
		}
	}
	id := c.Issuer + " " + c.ID
	if _, seen := s.seen[id]; seen {
		return "jti was used before"
	}
	s.seen[id] = time.Unix(c.Expires, 0)
	return ""
}
