package oauthtest

import (
	"net/http"
	"time"
)

// Presentation is one sending of a refresh token. Tokens have names in it, which
// Server.NameOf tells, so that it can be logged.
type Presentation struct {
	At     time.Time `json:"at"`
	Family string    `json:"family,omitempty"` // "" if the token is unknown, or never got to the issuer
	Token  string    `json:"token,omitempty"`

	// Time is 1 for the first time that the token arrived. State is what the token was
	// then: good, replay (used up, and accepted all the same), spent (used up, or
	// replaced by a newer sibling), ended (too old, or idle for too long) or dead (the
	// family is). Both are zero if the request was lost or the client refused.
	Time  int    `json:"time,omitempty"`
	State string `json:"state,omitempty"`

	// Outcome is rotated (a new pair), same (the pair that the token had brought
	// before), sibling (another pair than before), kept (the token stays good), refused
	// or lost (the request never arrived). Error is the word of a refusal; Brought the
	// refresh token in the answer.
	Outcome string `json:"outcome"`
	Error   string `json:"error,omitempty"`
	Brought string `json:"brought,omitempty"`

	// Delivered is set if the answer was sent as it should be, to a client that was
	// still waiting.
	Delivered bool `json:"delivered"`
}

// Family is a consent with all that followed from it.
type Family struct {
	Name      string         `json:"name"`
	Client    string         `json:"client"`
	Scope     string         `json:"scope,omitempty"`
	Consented time.Time      `json:"consented"`
	Dead      string         `json:"dead,omitempty"` // why; "": it lives
	Died      time.Time      `json:"died,omitzero"`
	Tokens    []RefreshToken `json:"tokens"` // the oldest first
}

// RefreshToken is one of a Family.
type RefreshToken struct {
	Name      string    `json:"name"`
	Parent    string    `json:"parent,omitempty"` // which brought it; "": the consent did
	Issued    time.Time `json:"issued"`
	Spent     time.Time `json:"spent,omitzero"` // when it first brought a successor
	Ends      time.Time `json:"ends,omitzero"`  // the end, if it is not presented
	Presented int       `json:"presented"`      // how often it arrived
	Accepted  bool      `json:"accepted"`       // it would bring something now
}

// Families returns all families, the oldest first.
func (s *Server) Families() []Family {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, k := time.Now(), s.knobs.Refresh
	all := make([]Family, 0, len(s.families))
	for _, f := range s.families {
		all = append(all, f.snapshot(now, k))
	}
	return all
}

// Family returns the family of a name; the zero Family if there is none.
func (s *Server) Family(name string) Family {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.families {
		if f.name == name {
			return f.snapshot(time.Now(), s.knobs.Refresh)
		}
	}
	return Family{}
}

// snapshot copies f. mu is held.
func (f *family) snapshot(now time.Time, k RefreshKnobs) Family {
	copied := Family{Name: f.name, Client: f.client, Scope: f.scope, Consented: f.consented, Dead: f.dead, Died: f.died}
	for _, t := range f.tokens {
		one := RefreshToken{
			Name: t.name, Issued: t.issued, Spent: t.spent, Ends: t.end(k), Presented: t.presented, Accepted: t.accepted(now, k),
		}
		if t.parent != nil {
			one.Parent = t.parent.name
		}
		copied.Tokens = append(copied.Tokens, one)
	}
	return copied
}

// Accepts reports whether a refresh token would bring something now.
func (s *Server) Accepts(refreshToken string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.refreshTokens[refreshToken]
	return t != nil && t.accepted(time.Now(), s.knobs.Refresh)
}

// Accepted returns the refresh tokens of a family that would bring something now, the
// oldest first.
func (s *Server) Accepted(family string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, k := time.Now(), s.knobs.Refresh
	var accepted []string
	for _, f := range s.families {
		for _, t := range f.tokens {
			if f.name == family && t.accepted(now, k) {
				accepted = append(accepted, t.value)
			}
		}
	}
	return accepted
}

// NameOf returns the name of a refresh token, "" if the issuer does not know it.
func (s *Server) NameOf(refreshToken string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.refreshTokens[refreshToken]; t != nil {
		return t.name
	}
	return ""
}

// Presentations returns the presentations of a family's tokens, the oldest first; those
// of all, also of unknown tokens, if family is "".
func (s *Server) Presentations(family string) []Presentation {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Presentation, 0)
	for _, p := range s.presentations {
		if family == "" || p.Family == family {
			all = append(all, *p)
		}
	}
	return all
}

// present notes a presentation.
func (s *Server) present(p *Presentation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.At = time.Now()
	s.presentations = append(s.presentations, p)
}

// lose notes a presentation whose request does not arrive.
func (s *Server) lose(r *http.Request) {
	if r.PostForm.Get("grant_type") != grantRefresh {
		return
	}
	p := &Presentation{Outcome: "lost"}
	s.mu.Lock()
	if t := s.refreshTokens[r.PostForm.Get("refresh_token")]; t != nil {
		p.Family, p.Token = t.family.name, t.name
	}
	s.mu.Unlock()
	s.present(p)
}

// delivered notes what became of a presentation's answer. p is nil if there was none.
func (s *Server) delivered(p *Presentation, r *http.Request) {
	if p != nil && r.Context().Err() == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		p.Delivered = true
	}
}

// controlGrants adds the control interface of grants.
func (s *Server) controlGrants() {
	s.controlled("POST /oauth2/sandbox/consents", func(w http.ResponseWriter, r *http.Request) {
		var c struct {
			Client string `json:"client"`
			Scope  string `json:"scope"`
		}
		if readJSON(w, r, &c) {
			name, refreshToken := s.Consent(c.Client, c.Scope)
			writeJSON(w, http.StatusCreated, map[string]string{"family": name, "refresh_token": refreshToken})
		}
	})
	s.controlled("GET /oauth2/sandbox/families", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, s.Families())
	})
	s.controlled("DELETE /oauth2/sandbox/families/{name}", func(w http.ResponseWriter, r *http.Request) {
		if !s.Withdraw(r.PathValue("name")) {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	s.controlled("GET /oauth2/sandbox/presentations", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, s.Presentations(r.URL.Query().Get("family")))
	})
}
