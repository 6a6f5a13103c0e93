package oauthtest

import (
	"net/http"
	"strings"
	"time"
)

// granted is what a call brought.
type granted struct {
	access  *token
	life    time.Duration // that is left of it
	refresh *refreshToken // nil: none
}

// The outcomes of a presentation that was accepted.
const (
	outcomeRotated = "rotated" // a new pair
	outcomeSame    = "same"    // the pair that the token had brought before
	outcomeSibling = "sibling" // another pair than before
	outcomeKept    = "kept"    // an access token; the refresh token stays good
)

// refresh answers a presentation of a refresh token, and notes it in p.
func (s *Server) refresh(r *http.Request, client Client, certificate string, p *Presentation) (granted, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, k := time.Now(), s.knobs.Refresh
	t := s.refreshTokens[r.PostForm.Get("refresh_token")]
	if t == nil {
		return granted{}, invalidGrant("the refresh token is unknown")
	}
	f := t.family
	t.presented++
	p.Family, p.Token, p.Time, p.State = f.name, t.name, t.presented, t.state(now, k)
	switch {
	case f.client != client.ID:
		return granted{}, invalidGrant("the refresh token belongs to another client")
	case !covers(f.scope, r.PostForm.Get("scope")):
		return granted{}, &refusal{http.StatusBadRequest, "invalid_scope", "more than was consented to"}
	case p.State == stateGood && f.early(now, k):
		return granted{}, &refusal{http.StatusBadRequest, "access_denied", "access token not expired"}
	case p.State == stateGood, p.State == stateReplay:
		g, outcome := s.bring(t, certificate, now)
		if p.Outcome = outcome; g.refresh != nil {
			p.Brought = g.refresh.name
		}
		return g, nil
	case p.State == stateSpent && k.Reuse != "" && k.Reuse != "refuses":
		s.kill(f, "reuse of "+t.name, k.Reuse == "kills_all")
		return granted{}, invalidGrant("the refresh token was used before, so the grant is revoked")
	}
	return granted{}, invalidGrant("the refresh token is not accepted: " + p.State)
}

// bring gives what a presentation of t brings, which is accepted. mu is held.
func (s *Server) bring(t *refreshToken, certificate string, now time.Time) (granted, string) {
	f, k := t.family, s.knobs.Refresh
	t.used = now
	first := t.spent.IsZero()
	switch {
	case first && k.Rotation == "silent":
		return s.grant(f, nil, certificate), outcomeKept
	case first && (k.Rotation == "fixed" || now.Sub(t.issued) < time.Duration(k.RotateAfter)):
		return s.grant(f, t, certificate), outcomeKept
	case !first && k.ReplayBrings != "sibling":
		if left := t.access.ends.Sub(now).Truncate(time.Second); left > 0 {
			return granted{t.access, left, t.brought}, outcomeSame
		}
		g := s.grant(f, t.brought, certificate)
		t.access = g.access
		return g, outcomeSame
	}
	g := s.grant(f, s.grow(f, t), certificate)
	t.brought, t.access = g.refresh, g.access
	if k.Siblings == "newest" {
		for _, o := range f.tokens {
			o.retired = o.retired || o != g.refresh && o.spent.IsZero() && o != t
		}
	}
	if !first {
		return g, outcomeSibling
	}
	t.spent = now
	return g, outcomeRotated
}

// grant issues an access token of a family. mu is held.
func (s *Server) grant(f *family, refresh *refreshToken, certificate string) granted {
	access, life := s.issue(token{client: f.client, scope: f.scope, family: f, certificate: certificate})
	f.newest = access
	return granted{access, life, refresh}
}

// early reports whether the issuer does not refresh yet. mu is held.
func (f *family) early(now time.Time, k RefreshKnobs) bool {
	return f.newest != nil && now.Before(f.newest.issued.Add(time.Duration(k.Earliest)))
}

// covers reports whether every scope that is asked for is among those consented to.
func covers(consented, asked string) bool {
	for scope := range strings.FieldsSeq(asked) {
		if consented != "" && !strings.Contains(" "+consented+" ", " "+scope+" ") {
			return false
		}
	}
	return true
}

// refused returns the answer of a refusal of a refresh token in the issuer's dialect.
// state is what the token is that was presented; "": unknown.
func (k RefreshKnobs) refused(f *refusal, presented, state string) (status int, body map[string]any) {
	if f.word != "invalid_grant" {
		return f.status, f.body()
	}
	say := func(status int, word, text string) (int, map[string]any) {
		return status, (&refusal{status, word, text}).body()
	}
	switch k.Dialect {
	case "atlassian":
		if state == stateSpent || state == stateDead {
			return say(http.StatusForbidden, "unauthorized_client", "refresh_token is invalid")
		}
		return say(http.StatusForbidden, "invalid_grant", "Unknown or invalid refresh token.")
	case "databricks":
		return say(http.StatusBadRequest, "invalid_request", "Refresh token is invalid")
	case "exact":
		if state == stateEnded {
			return say(http.StatusBadRequest, "invalid_request", "The refresh token expired at 10/11/2022 9:18:20 PM and it is now 10/28/2022 4:15:50 PM.")
		}
		return say(http.StatusUnauthorized, "unauthorized_client", "Old refresh token used.")
	case "x":
		return say(http.StatusBadRequest, "invalid_request", "Value passed for the token was invalid.")
	case "github":
		return say(http.StatusOK, "bad_refresh_token", "The refresh token passed is incorrect or expired.")
	case "slack":
		return http.StatusOK, map[string]any{"ok": false, "error": "invalid_refresh_token"}
	case "fitbit":
		return http.StatusBadRequest, map[string]any{"success": false, "errors": []map[string]string{{
			"errorType": "invalid_grant",
			"message":   "Refresh token invalid: " + presented + ". Visit https://dev.fitbit.com/docs/oauth2 for more information.",
		}}}
	}
	return f.status, f.body()
}
