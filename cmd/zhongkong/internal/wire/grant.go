package wire

import (
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Grant is what everybody may know of an account's grant: nothing of its tokens. It is
// part of an Account, and what GET /v1/grants answers with the account's name.
type Grant struct {
	Condition   coordinator.GrantCondition `json:"condition"`
	Since       Time                       `json:"since,omitzero"`   // of the condition, where that is known
	Pushed      bool                       `json:"pushed,omitempty"` // the issuer pushes its tokens: nobody logs in
	ObtainedAt  Time                       `json:"obtained_at,omitzero"`
	IdleUntil   Time                       `json:"idle_until,omitzero"`   // the issuer forgets it unless it is used before
	EndsAt      Time                       `json:"ends_at,omitzero"`      // it ends then, whatever is done
	PushedUntil Time                       `json:"pushed_until,omitzero"` // when the last token that was pushed ends
	Advice      string                     `json:"advice,omitempty"`      // what to do; absent: nothing

	consented time.Time // when the newest consent was stored
}

// NewGrant returns the form of a summary at now, an instant of the store's clock; nil for
// nil.
func NewGrant(s *coordinator.GrantSummary, now time.Time) *Grant {
	if s == nil {
		return nil
	}
	present := *s
	present.Condition = s.At(now)
	return NewGrantFromMemory(&present)
}

// NewGrantFromMemory returns the form of the summary in a coordinator.Status, whose
// condition is the present one; nil for nil.
func NewGrantFromMemory(s *coordinator.GrantSummary) *Grant {
	if s == nil {
		return nil
	}
	g := Grant{
		Condition: s.Condition, Pushed: s.Received,
		ObtainedAt: Time{s.ObtainedAt}, IdleUntil: Time{s.IdleUntil}, EndsAt: Time{s.EndsAt},
		consented: s.Consented(),
	}
	if s.Received {
		g.PushedUntil = Time{s.DeadAt}
	}
	switch g.Condition {
	case coordinator.GrantGood:
		g.Since = Time{s.ObtainedAt}
	case coordinator.GrantDoubt:
		g.Since = Time{s.DoubtAt}
	case coordinator.GrantDead:
		g.Since = Time{s.DeadAt}
	}
	if g.NeedsAttention() {
		withdrawn := g.Condition == coordinator.GrantNone && s.Consent > 0 && !s.Received
		g.Advice = (&coordinator.GrantError{Condition: g.Condition, Received: s.Received, Withdrawn: withdrawn}).Error()
	}
	return &g
}

// NeedsAttention reports whether the grant cannot be presented as usual.
func (g *Grant) NeedsAttention() bool {
	switch g.Condition {
	case coordinator.GrantDoubt, coordinator.GrantDead, coordinator.GrantNone:
		return true
	}
	return false
}

// NeedsConsent reports whether only a person can bring the grant back.
func (g *Grant) NeedsConsent() bool {
	return !g.Pushed && (g.Condition == coordinator.GrantDead || g.Condition == coordinator.GrantNone)
}

// soonAtMost is how long before its end a grant ends soon, at most.
const soonAtMost = 7 * 24 * time.Hour

// EndsSoon reports whether people should know of an end of the grant: a quarter of its
// life before, at most a week. at is one that Ends has told of.
func (g *Grant) EndsSoon(how string, at, now time.Time) bool {
	left := at.Sub(now)
	if how == EndsPushed || left > soonAtMost {
		return false
	}
	life := g.Life(how, at)
	return life == 0 || 4*left < life
}

// Life returns how long the life is altogether whose end is at, one that Ends has told of:
// since the token was used or pushed, or since the consent if the end is fixed. 0: that is
// not known.
func (g *Grant) Life(how string, at time.Time) time.Duration {
	began := g.ObtainedAt.Time
	if how == EndsFixed {
		began = g.consented
	}
	if began.IsZero() {
		return 0
	}
	return at.Sub(began)
}

// The ways in which a grant ends.
const (
	EndsIdle   = "idle"   // unless it is used
	EndsFixed  = "fixed"  // whatever is done
	EndsPushed = "pushed" // unless the issuer pushes another token
)

// Ends calls f with each end of the grant that is known, and how it ends then.
func (g *Grant) Ends(f func(how string, at time.Time)) {
	for _, end := range []struct {
		how string
		at  Time
	}{{EndsIdle, g.IdleUntil}, {EndsFixed, g.EndsAt}, {EndsPushed, g.PushedUntil}} {
		if !end.at.IsZero() {
			f(end.how, end.at.Time)
		}
	}
}
