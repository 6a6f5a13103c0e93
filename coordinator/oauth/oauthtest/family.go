package oauthtest

import (
	"crypto/rand"
	"fmt"
	"slices"
	"time"
)

// family is a consent with the refresh tokens that follow from it. Server.mu guards it.
type family struct {
	name, client, scope string
	consented           time.Time
	dead                string // why nothing of it is accepted any more; "": it lives
	died                time.Time
	tokens              []*refreshToken // the oldest first
	newest              *token          // its newest access token
}

// refreshToken is one of a family. Server.mu guards it.
type refreshToken struct {
	family      *family
	name, value string
	parent      *refreshToken // which brought it; nil: the consent did
	issued      time.Time
	used        time.Time // the last time that it brought something
	spent       time.Time // the first time that it brought a successor; zero: it has none
	retired     bool      // a newer sibling took its place
	presented   int       // how often it arrived, whatever the answer was
	brought     *refreshToken
	access      *token // the access token that came with brought
}

// consent makes a family with its first refresh token. mu is held.
func (s *Server) consent(client, scope string) *refreshToken {
	f := &family{name: fmt.Sprintf("f%d", len(s.families)+1), client: client, scope: scope, consented: time.Now()}
	s.families = append(s.families, f)
	return s.grow(f, nil)
}

// grow adds a refresh token to a family. mu is held.
func (s *Server) grow(f *family, parent *refreshToken) *refreshToken {
	t := &refreshToken{
		family: f, parent: parent, issued: time.Now(),
		name: fmt.Sprintf("%s.%d", f.name, len(f.tokens)+1), value: "refresh-" + rand.Text() + rand.Text(),
	}
	f.tokens = append(f.tokens, t)
	s.refreshTokens[t.value] = t
	return t
}

// The states of a refresh token.
const (
	stateGood   = "good"   // accepted
	stateReplay = "replay" // spent, and accepted all the same
	stateSpent  = "spent"  // spent, or retired: presenting it is reuse
	stateEnded  = "ended"  // too old, or not used for too long
	stateDead   = "dead"   // the family is
)

// state returns t's state. mu is held.
func (t *refreshToken) state(now time.Time, k RefreshKnobs) string {
	idle := t.idleEnd(k)
	switch end := t.family.hardEnd(k); {
	case t.family.dead != "":
		return stateDead
	case !end.IsZero() && !now.Before(end):
		return stateEnded
	case t.retired:
		return stateSpent
	case !t.spent.IsZero() && t.replayable(now, k):
		return stateReplay
	case !t.spent.IsZero():
		return stateSpent
	case !idle.IsZero() && !now.Before(idle):
		return stateEnded
	}
	return stateGood
}

// accepted reports whether t would bring something now. mu is held.
func (t *refreshToken) accepted(now time.Time, k RefreshKnobs) bool {
	state := t.state(now, k)
	return state == stateGood || state == stateReplay
}

// replayable reports whether t, which is spent, is accepted again. mu is held.
func (t *refreshToken) replayable(now time.Time, k RefreshKnobs) bool {
	if k.Replayable == "previous" && t.successorSpent() {
		return false
	}
	window, free := k.window()
	if free || window == 0 {
		return free
	}
	from := t.spent
	switch k.ReplayFrom {
	case "used":
		from = t.access.used
	case "successor":
		from = t.brought.spent
	}
	return from.IsZero() || now.Before(from.Add(window))
}

// successorSpent reports whether a token that t brought has brought one itself.
func (t *refreshToken) successorSpent() bool {
	return slices.ContainsFunc(t.family.tokens, func(o *refreshToken) bool { return o.parent == t && !o.spent.IsZero() })
}

// hardEnd is when the family ends, however it is used; zero: never.
func (f *family) hardEnd(k RefreshKnobs) time.Time {
	if k.Hard <= 0 {
		return time.Time{}
	}
	return f.consented.Add(time.Duration(k.Hard))
}

// idleEnd is when t ends if it is not presented; zero: never.
func (t *refreshToken) idleEnd(k RefreshKnobs) time.Time {
	if k.Idle <= 0 {
		return time.Time{}
	}
	last := t.issued
	if t.used.After(last) {
		last = t.used
	}
	return last.Add(time.Duration(k.Idle))
}

// end is the earlier of both ends; zero: none.
func (t *refreshToken) end(k RefreshKnobs) time.Time {
	idle, hard := t.idleEnd(k), t.family.hardEnd(k)
	if idle.IsZero() || !hard.IsZero() && hard.Before(idle) {
		return hard
	}
	return idle
}

// kill ends a family, and its access tokens as well. mu is held.
func (s *Server) kill(f *family, why string, accessToo bool) {
	if f.dead == "" {
		f.dead, f.died = why, time.Now()
	}
	if accessToo {
		for value, t := range s.tokens {
			if t.family == f {
				delete(s.tokens, value)
			}
		}
	}
}

// Consent gives a client a grant as if a person had consented, and returns the name of
// its family and its first refresh token.
func (s *Server) Consent(client, scope string) (name, refreshToken string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.consent(client, scope)
	return t.family.name, t.value
}

// Withdraw ends a family with all its tokens, as if the person had withdrawn the consent.
// It reports whether there is one of that name.
func (s *Server) Withdraw(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.families, func(f *family) bool { return f.name == name })
	if i >= 0 {
		s.kill(s.families[i], "withdrawn", true)
	}
	return i >= 0
}
