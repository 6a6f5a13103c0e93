package oauthtest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// token is what the issuer knows of an access token that it issued.
type token struct {
	value         string
	client, scope string
	family        *family // nil: none, it came without a consent
	issued, ends  time.Time
	used          time.Time // the first time that the resource accepted it
	certificate   string    // the thumbprint of the certificate that it is bound to; "": none
}

// refusal is an error answer (RFC 6749, section 5.2).
type refusal struct {
	status     int
	word, text string
}

func (f *refusal) body() map[string]any {
	return map[string]any{"error": f.word, "error_description": f.text}
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

// echo is what a careless issuer repeats of a request in the description of an error.
func echo(r *http.Request) string {
	text := ": " + r.Header.Get("Authorization") + " " + r.Form.Encode()
	for _, values := range r.Form {
		text += " " + strings.Join(values, " ")
	}
	return text
}

// pause waits for the issuer's latency, or until the client gives up.
func (s *Server) pause(ctx context.Context) { wait(ctx, time.Duration(s.Knobs().Latency)) }

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	s.pause(r.Context())
	f := s.fault()
	switch {
	case f.Kind == "late" && !f.Issued:
		s.serveLater(w, r, f)
	case f.loses():
		defer s.record(Call{Status: f.Status, Error: f.Error}) // also when it cuts the connection
		_ = r.ParseForm()
		s.lose(r)
		s.spoil(w, r, f, nil)
	default:
		x := s.exchange(r)
		defer func() { s.record(x.call) }() // also when a fault cuts the connection
		s.deliver(w, r, f, x)
	}
}

// serveLater answers a request that takes its time to arrive. It is on its way then: it
// arrives also if the client gives up.
func (s *Server) serveLater(w http.ResponseWriter, r *http.Request, f Fault) {
	body, _ := io.ReadAll(r.Body) // what came before an error is what arrives
	later := r.Clone(context.WithoutCancel(r.Context()))
	later.Body = io.NopCloser(bytes.NewReader(body))
	arrived := make(chan *exchange, 1)
	go func() { // ends after f.After
		time.Sleep(time.Duration(f.After))
		x := s.exchange(later)
		s.record(x.call)
		arrived <- x
	}()
	select {
	case x := <-arrived:
		s.deliver(w, r, Fault{}, x)
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	}
}

// deliver sends an answer, or spoils it.
func (s *Server) deliver(w http.ResponseWriter, r *http.Request, f Fault, x *exchange) {
	switch f.Kind {
	case "late":
		wait(r.Context(), time.Duration(f.After))
		fallthrough
	case "":
		s.delivered(x.presented, r)
		if x.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="oauthtest"`)
		}
		writeJSON(w, x.status, x.body)
	default:
		good, _ := json.Marshal(x.body) // strings and numbers only
		x.call.Status, x.call.Error = f.Status, f.Error
		s.spoil(w, r, f, good)
	}
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
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="oauthtest"`)
	}
	if s.Knobs().Echo {
		f.Description += echo(r)
	}
	writeJSON(w, status, (&refusal{status, f.Error, f.Description}).body())
}

// issue makes a token of what t says, or finds the one that is to be answered again. It
// returns how long the token lives. mu is held.
func (s *Server) issue(t token) (*token, time.Duration) {
	now := time.Now()
	for value, old := range s.tokens {
		switch {
		case !old.ends.After(now):
			delete(s.tokens, value)
		case old.client != t.client || old.scope != t.scope || old.family != t.family:
		case s.knobs.Repeat == "same":
			return old, old.ends.Sub(now).Truncate(time.Second)
		case s.knobs.Repeat == "kills":
			if end := now.Add(time.Duration(s.knobs.Overlap)); end.Before(old.ends) {
				old.ends = end
			}
		}
	}
	life := time.Duration(s.knobs.Lifetime)
	if life <= 0 {
		life = time.Hour
	}
	t.issued, t.ends = now, now.Add(life)
	if s.knobs.JWT {
		t.value = t.jwt()
	} else {
		t.certificate, t.value = "", s.opaque()
	}
	s.tokens[t.value] = &t
	return &t, life
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

// jwt makes a token that is a JWT, unsigned: readers must not look into it.
func (t token) jwt() string {
	claims := map[string]any{"sub": t.client, "exp": t.ends.Unix(), "jti": rand.Text(), "scope": t.scope}
	if t.certificate != "" {
		claims["cnf"] = map[string]string{"x5t#S256": t.certificate}
	}
	payload, _ := json.Marshal(claims) // strings and numbers only
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"ES256","typ":"at+jwt"}`)) + "." + encode(payload) + "." + encode([]byte(rand.Text()))
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
	if good && t.used.IsZero() {
		t.used = time.Now()
	}
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
