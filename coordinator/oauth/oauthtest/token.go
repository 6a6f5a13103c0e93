package oauthtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// token is what the issuer knows of one that it issued.
type token struct {
	client, scope string
	ends          time.Time
	certificate   string // the thumbprint of the certificate that it is bound to; "": none
	life          time.Duration
}

// refusal is an error answer (RFC 6749, section 5.2).
type refusal struct {
	status     int
	word, text string
}

func invalidRequest(text string) *refusal {
	return &refusal{http.StatusBadRequest, "invalid_request", text}
}

func invalidClient(text string) *refusal {
	return &refusal{http.StatusUnauthorized, "invalid_client", text}
}

func invalidGrant(text string) *refusal {
	return &refusal{http.StatusBadRequest, "invalid_grant", text}
}

// write sends the refusal. With echo, its description repeats the request, as careless
// issuers do.
func (f *refusal) write(w http.ResponseWriter, r *http.Request, echo bool) {
	text := f.text
	if echo {
		text += ": " + r.Header.Get("Authorization") + " " + r.Form.Encode()
		for _, values := range r.Form {
			text += " " + strings.Join(values, " ")
		}
	}
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="oauthtest"`)
	}
	writeJSON(w, f.status, map[string]string{"error": f.word, "error_description": text})
}

// pause waits for the issuer's latency, or until the client gives up.
func (s *Server) pause(ctx context.Context) {
	latency := time.Duration(s.Knobs().Latency)
	if latency <= 0 {
		return
	}
	timer := time.NewTimer(latency)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	call := Call{}
	defer func() { s.record(call) }() // also when a fault cuts the connection
	s.pause(r.Context())
	fault := s.fault()
	if fault.Kind != "" && !fault.Issued && fault.Kind != "truncated" {
		_ = r.ParseForm()
		call.Status, call.Error = fault.Status, fault.Error
		s.spoil(w, r, fault, nil)
		return
	}
	answer, refused := s.exchange(r, &call)
	if refused != nil {
		call.Status, call.Error = refused.status, refused.word
		refused.write(w, r, s.Knobs().Echo)
		return
	}
	call.Status = http.StatusOK
	if fault.Kind != "" {
		good, _ := json.Marshal(answer) // strings and numbers only
		call.Status, call.Error = fault.Status, fault.Error
		s.spoil(w, r, fault, good)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

func (s *Server) spoil(w http.ResponseWriter, r *http.Request, f Fault, good []byte) {
	if f.Kind != "error" {
		f.carryOut(w, r, good)
		return
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	status := cmp.Or(f.Status, http.StatusBadRequest)
	(&refusal{status, f.Error, f.Description}).write(w, r, s.Knobs().Echo)
}

// exchange does what the request asks for.
func (s *Server) exchange(r *http.Request, call *Call) (map[string]any, *refusal) {
	if refused := checkForm(r); refused != nil {
		return nil, refused
	}
	call.Grant = r.PostForm.Get("grant_type")
	client, auth, refused := s.authenticate(r)
	call.Client, call.Auth = client.ID, auth
	if refused != nil {
		return nil, refused
	}
	switch call.Grant {
	case "client_credentials":
		if auth == authNone {
			return nil, invalidClient("no client authentication")
		}
	case jwtBearer:
		if client, refused = s.bearer(r); refused != nil {
			return nil, refused
		}
		call.Client = client.ID
	default:
		return nil, &refusal{http.StatusBadRequest, "unsupported_grant_type", "unknown grant_type"}
	}
	scope := r.PostForm.Get("scope")
	for wanted := range strings.FieldsSeq(scope) {
		if len(client.Scopes) > 0 && !slices.Contains(client.Scopes, wanted) {
			return nil, &refusal{http.StatusBadRequest, "invalid_scope", "not for this client"}
		}
	}
	certificate := ""
	if auth == authMTLS {
		certificate = thumbprint(client.Certificate)
	}
	return s.answer(s.issue(client.ID, scope, certificate)), nil
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

// issue makes a token, or finds the one that is to be answered again.
func (s *Server) issue(client, scope, certificate string) (string, token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for value, t := range s.tokens {
		switch {
		case !t.ends.After(now):
			delete(s.tokens, value)
		case t.client != client || t.scope != scope:
		case s.knobs.Repeat == "same":
			return value, token{life: t.ends.Sub(now).Truncate(time.Second), scope: scope}
		case s.knobs.Repeat == "kills":
			if end := now.Add(time.Duration(s.knobs.Overlap)); end.Before(t.ends) {
				t.ends = end
			}
		}
	}
	life := time.Duration(s.knobs.Lifetime)
	if life <= 0 {
		life = time.Hour
	}
	t := token{client: client, scope: scope, ends: now.Add(life), life: life}
	value := s.opaque()
	if s.knobs.JWT {
		t.certificate = certificate
		value = s.jwt(&t)
	}
	s.tokens[value] = &t
	return value, t
}

// opaque makes a token's characters. mu is held.
func (s *Server) opaque() string {
	length := cmp.Or(s.knobs.TokenLength, 40)
	var b strings.Builder
	for b.Len() < length {
		b.WriteString(rand.Text())
	}
	return b.String()[:length]
}

// jwt makes a token that is a JWT, unsigned: readers must not look into it. mu is held.
func (s *Server) jwt(t *token) string {
	claims := map[string]any{"sub": t.client, "exp": t.ends.Unix(), "jti": rand.Text(), "scope": t.scope}
	if t.certificate != "" {
		claims["cnf"] = map[string]string{"x5t#S256": t.certificate}
	}
	payload, _ := json.Marshal(claims) // strings and numbers only
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"ES256","typ":"at+jwt"}`)) + "." + encode(payload) + "." + encode([]byte(rand.Text()))
}

func (s *Server) answer(value string, t token) map[string]any {
	k := s.Knobs()
	m := map[string]any{"access_token": value, "token_type": "Bearer"}
	switch k.TokenType {
	case "":
	case "-":
		delete(m, "token_type")
	default:
		m["token_type"] = k.TokenType
	}
	if k.ExpiresIn != "missing" {
		m["expires_in"] = k.expiresIn(t.life)
	}
	if k.RefreshToken {
		m["refresh_token"] = "refresh-" + rand.Text()
	}
	for name, value := range map[string]string{"scope": t.scope, "instance_url": k.InstanceURL, "api_domain": k.APIDomain} {
		if value != "" {
			m[name] = value
		}
	}
	return m
}

// Valid reports whether a token is alive.
func (s *Server) Valid(value string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[value]
	return t != nil && t.ends.After(time.Now())
}

// Revoke ends the live tokens of a client, or of all if client is "". It returns how
// many there were.
func (s *Server) Revoke(client string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for value, t := range s.tokens {
		if client == "" || t.client == client {
			if t.ends.After(time.Now()) {
				n++
			}
			delete(s.tokens, value)
		}
	}
	return n
}

// serveResource answers as a resource server does (RFC 6750).
func (s *Server) serveResource(w http.ResponseWriter, r *http.Request) {
	value, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		w.Header().Set("WWW-Authenticate", `Bearer realm="oauthtest"`)
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "no token"})
		return
	}
	s.mu.Lock()
	t := s.tokens[value]
	good := t != nil && t.ends.After(time.Now()) && (t.certificate == "" || t.certificate == peer(r))
	s.mu.Unlock()
	if !good {
		w.Header().Set("WWW-Authenticate", `Bearer realm="oauthtest", error="invalid_token", error_description="expired or revoked"`)
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_token"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"ok": true, "client": t.client})
}

// peer is the thumbprint of the certificate that the request came with, "" if none.
func peer(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	return thumbprint(r.TLS.PeerCertificates[0].Raw)
}

// thumbprint is a certificate's x5t#S256.
func thumbprint(der []byte) string {
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// unescape undoes the form-encoding of RFC 6749, section 2.3.1.
func unescape(s string) (string, bool) {
	plain, err := url.QueryUnescape(s)
	return plain, err == nil
}
