package oauthtest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// serveInstallation answers as GitHub does to an App that asks for a token of an
// installation.
func (s *Server) serveInstallation(w http.ResponseWriter, r *http.Request) {
	call := Call{Grant: "installation", Auth: authJWT}
	defer func() { s.record(call) }() // also when a fault cuts the connection
	s.pause(r.Context())
	say := func(status int, message string) {
		call.Status, call.Error = status, message
		if s.Knobs().Echo {
			message += ": " + r.Header.Get("Authorization")
		}
		writeJSON(w, status, map[string]string{"message": message, "documentation_url": "https://docs.github.com/rest"})
	}
	fault := s.fault()
	switch {
	case fault.Kind == "error":
		if fault.RetryAfter != "" {
			w.Header().Set("Retry-After", fault.RetryAfter)
		}
		say(fault.Status, fault.Description)
		return
	case fault.loses():
		call.Status = fault.Status
		fault.carryOut(w, r, nil)
		return
	case r.Method != http.MethodPost:
		say(http.StatusNotFound, "Not Found")
		return
	}
	assertion, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	claimed, err := unverified(assertion)
	if err != nil {
		say(http.StatusUnauthorized, "A JSON web token could not be decoded")
		return
	}
	call.Client = claimed.Issuer
	s.mu.Lock()
	i := slices.IndexFunc(s.apps, func(a App) bool { return a.ID == claimed.Issuer })
	var app App
	if i >= 0 {
		app = s.apps[i]
	}
	s.mu.Unlock()
	c, problem := s.verify(r, assertion, app.Key, 10*time.Minute)
	switch {
	case i < 0:
		say(http.StatusNotFound, "Integration not found")
		return
	case problem != "":
		say(http.StatusUnauthorized, "A JSON web token could not be decoded: "+problem)
		return
	case c.Expires-c.Issued > 600:
		say(http.StatusUnauthorized, "'Expiration time' claim ('exp') is too far in the future")
		return
	case app.Installation != r.PathValue("id"):
		say(http.StatusNotFound, "Not Found")
		return
	}
	s.mu.Lock()
	t, life := s.issue(token{client: app.ID})
	s.mu.Unlock()
	answer := map[string]any{
		"token":                t.value,
		"expires_at":           s.now().Add(life).UTC().Format(time.RFC3339),
		"permissions":          map[string]string{"contents": "read"},
		"repository_selection": "all",
	}
	if s.Knobs().ExpiresIn == "missing" {
		delete(answer, "expires_at")
	}
	call.Status = http.StatusCreated
	if fault.Kind != "" {
		good, _ := json.Marshal(answer) // strings only
		call.Status = fault.carryOut(w, r, good)
		return
	}
	writeJSON(w, http.StatusCreated, answer)
}
