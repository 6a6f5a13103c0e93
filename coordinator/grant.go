package coordinator

import (
	"crypto/rand"
	"math"
	"slices"
	"time"
)

// Grant is what a source needs from call to call and cannot get again without a
// person: a refresh token, a permanent code, a pushed ticket. It is the record that
// all processes share, a set of tokens and their presentations. Grants are values: a
// transition (grantrules.go) returns a new one, with a Version one higher, and the
// store takes it only in place of the version before. Its instants are of the store's
// clock.
//
// A Grant holds secrets: EncodeGrant is the only way to write it down, and what it
// returns is to be sealed. Fields are added, and their names in JSON never change: records
// of older versions are read.
type Grant struct {
	Version uint64 `json:"version"` // 0: there is no record
	SaveID  string `json:"save_id"` // random, of this version: tells a repeated save from another process'

	Saves []string `json:"saves,omitempty"` // names of the versions before it: tells whether a record was made of another

	// Consent is the fence of the newest consent. Answers to presentations of earlier
	// ones are not kept. Of two records the one with the greater Consent is newer,
	// with the same Consent the one with the greater Version.
	Consent     Fence     `json:"consent"`
	ConsentedAt time.Time `json:"consented_at,omitzero"` // the latest Consent.At, of it or of an earlier one; zero: none has one

	Tokens        []GrantToken   `json:"-"`                       // by Fence, the oldest first; see EncodeGrant
	Replaced      []string       `json:"replaced,omitempty"`      // fingerprints of the last tokens in whose place others came
	Presentations []Presentation `json:"presentations,omitempty"` // by Fence; see Presentation

	ObtainedAt time.Time     `json:"obtained_at,omitzero"` // when the newest token came
	Idle       time.Duration `json:"idle_ns,omitempty"`    // the issuer forgets the grant if it is not used for so long; 0: not known
	IdleUntil  time.Time     `json:"idle_until,omitzero"`  // when that is, unless it is used before; zero: not known
	EndsAt     time.Time     `json:"ends_at,omitzero"`     // the grant ends then, whatever is done; zero: not known
}

// GrantToken is one secret of a grant.
type GrantToken struct {
	Token Token `json:"-"` // see EncodeGrant

	// Form tells what the token is, where a source can have several; "" is a refresh
	// token. It is the source's word.
	Form string `json:"form,omitempty"`

	Fence   Fence `json:"fence"`             // of the attempt, or the consent, that brought it: its name in the record
	Parent  Fence `json:"parent,omitempty"`  // the token that was presented for it; 0: none
	Refused bool  `json:"refused,omitempty"` // the issuer says that it is none

	// RefusedTo are the credentials with which the issuer has refused it; see
	// PresentRequest.Credential. If there are none, Refused holds for every credential.
	RefusedTo []string `json:"refused_to,omitempty"`

	Probed bool      `json:"probed,omitempty"` // the last resort was tried; see PresentRequest.Probe
	At     time.Time `json:"at,omitzero"`      // by the issuer's clock, of a token that was pushed; see Received
	Until  time.Time `json:"until,omitzero"`   // its end, by the store's clock; zero: not known
}

// Presentation is the mark that a token of the grant was, or may have been, sent to
// the issuer. It is written before the request. It stays, also when its token has left
// the record, until its own answer was kept, or it was withdrawn, or its token was
// refused: an answer that comes late is let in by it.
type Presentation struct {
	Fence Fence     // of the attempt that presents
	Token Fence     // the name of the token
	At    time.Time // when it was written, or a little before
	Until time.Time // no request is on its way from then on, and the answer, if there was one, has been stored
	Probe bool
	Over  bool // its process says that no answer will come
}

// maxPresentations bounds those in a record. The oldest whose token has left go first.
const maxPresentations = 32

// maxRefusals is with how many credentials a token is tried.
const maxRefusals = 4

// maxReceived is how many pushed tokens a grant keeps.
const maxReceived = 4

// What an issuer does with a token that was presented before; see GrantRules.Replay.
const (
	ReplayNever time.Duration = 0             // takes it for theft: the whole grant may die
	ReplayFree  time.Duration = math.MaxInt64 // answers it like the first time: it is never used up
)

// GrantRules is what the issuer of a source does with grants. The zero value: the
// source needs none.
type GrantRules struct {
	Needed bool // the source presents a grant: FetchRequest.Grant

	// Replay is for how long after its first presentation a token is answered again,
	// with the same tokens or others: ReplayNever, ReplayFree, or a time.
	Replay time.Duration

	// Received says that the issuer pushes the tokens (see Account.Receive), and that
	// each is good until its end. Replay is ReplayFree then.
	Received bool
}

// replayMargin is how long before the end of a window a token is chosen again at the
// latest. Half of it is for the mark, half for the request's way to the issuer.
func (r GrantRules) replayMargin() time.Duration { return min(r.Replay/6, 10*time.Second) }

// GrantCondition says what a grant is worth.
type GrantCondition string

// The conditions of a grant.
const (
	GrantNone      GrantCondition = "none"      // there is none: a person has to consent, or the issuer to push
	GrantGood      GrantCondition = "good"      // there is a token that can be presented
	GrantPresented GrantCondition = "presented" // a token was presented, and the answer may still come
	GrantDoubt     GrantCondition = "doubt"     // a token was presented, no answer will come, and nobody knows whether it was used up
	GrantDead      GrantCondition = "dead"      // the issuer refuses every token, or they have ended: a person has to consent
)

// GrantSummary is what everybody may know of a grant: no secrets. It is written with
// the record and read with State.
type GrantSummary struct {
	Version  uint64
	Consent  Fence
	Newest   Fence // the newest token's; 0: there is none
	Received bool  // GrantRules.Received

	// ConsentedAt is Grant.ConsentedAt. A grant of a consent that has no tokens was
	// withdrawn.
	ConsentedAt time.Time

	Condition  GrantCondition // when the record was saved
	DoubtAt    time.Time      // the condition is GrantDoubt from then on unless a new version comes; zero: it stays
	DeadAt     time.Time      // the condition is GrantDead from then on; zero: it stays
	GoodAt     time.Time      // the condition is GrantGood from then on, by another token; zero: it stays
	ObtainedAt time.Time

	// ReplayUntil is until when a token that was presented may be presented again; zero:
	// it may not.
	ReplayUntil time.Time
	Idle        time.Duration
	IdleUntil   time.Time
	EndsAt      time.Time
}

// Consented returns when the newest consent was stored: EndsAt counts from then on,
// however often tokens were replaced since.
func (s GrantSummary) Consented() time.Time {
	if s.Consent == 0 {
		return s.ObtainedAt
	}
	return time.UnixMicro(int64(s.Consent)) //nolint:gosec // a fence is an instant in microseconds; a forged one is one far away
}

// At returns the condition at now, an instant of the store's clock.
func (s GrantSummary) At(now time.Time) GrantCondition {
	switch {
	case !s.DeadAt.IsZero() && !now.Before(s.DeadAt):
		return GrantDead
	case !s.DoubtAt.IsZero() && !now.Before(s.DoubtAt):
		return GrantDoubt
	case !s.GoodAt.IsZero() && !now.Before(s.GoodAt):
		return GrantGood
	}
	return s.Condition
}

// Older reports whether s is of an older record than u.
func (s GrantSummary) Older(u GrantSummary) bool {
	return s.Consent < u.Consent || s.Consent == u.Consent && s.Version < u.Version
}

// Older reports whether g is an older record than h.
func (g Grant) Older(h Grant) bool {
	return g.Consent < h.Consent || g.Consent == h.Consent && g.Version < h.Version
}

// Same reports whether g and h are one save.
func (g Grant) Same(h Grant) bool { return g.Version == h.Version && g.SaveID == h.SaveID }

// Newest returns the fence of the newest token, 0 if there is none.
func (g Grant) Newest() Fence {
	if len(g.Tokens) == 0 {
		return 0
	}
	return g.Tokens[len(g.Tokens)-1].Fence
}

// Summary returns what everybody may know of g.
func (g Grant) Summary(rules GrantRules, now time.Time) GrantSummary {
	s := GrantSummary{
		Version: g.Version, Consent: g.Consent, Newest: g.Newest(), Received: rules.Received, ConsentedAt: g.ConsentedAt, Condition: g.Condition(rules, now),
		ObtainedAt: g.ObtainedAt, Idle: g.Idle, IdleUntil: g.IdleUntil, EndsAt: g.EndsAt,
	}
	switch s.Condition {
	case GrantPresented:
		s.ReplayUntil = g.replayUntil(rules, now)
		switch at := g.doubtAt(rules, now); g.Condition(rules, at) {
		case GrantDoubt:
			s.DoubtAt = at
		case GrantDead:
			s.DeadAt = at
		case GrantGood:
			s.GoodAt = at
		}
	case GrantGood:
		s.DeadAt = g.lastEnd()
	}
	return s
}

// Condition returns what g is worth at now, an instant of the store's clock.
func (g Grant) Condition(rules GrantRules, now time.Time) GrantCondition {
	good := g.good(now)
	switch {
	case len(g.Tokens) == 0:
		return GrantNone
	case len(good) == 0:
		return GrantDead
	case rules.Replay == ReplayFree:
		return GrantGood
	}
	switch current := good[len(good)-1]; { // as Present chooses
	case !g.presented(current):
		return GrantGood
	case g.inWindow(current, rules, now), g.open(now):
		return GrantPresented
	case slices.ContainsFunc(good, func(t GrantToken) bool { return !g.presented(t) }):
		return GrantGood
	case slices.ContainsFunc(good, func(t GrantToken) bool { return !t.Probed }):
		return GrantDoubt
	}
	return GrantDead // probed, and no answer came: nothing is left to be tried
}

// doubtAt is when a presented token is in doubt if no answer comes.
func (g Grant) doubtAt(rules GrantRules, now time.Time) time.Time {
	at := g.replayUntil(rules, now)
	for _, p := range g.Presentations {
		if !p.Over {
			at = later(at, p.Until)
		}
	}
	return at
}

// replayUntil is until when the current token, which was presented, may be presented
// again; zero: it may not.
func (g Grant) replayUntil(rules GrantRules, now time.Time) time.Time {
	good := g.good(now)
	if len(good) == 0 || !g.inWindow(good[len(good)-1], rules, now) {
		return time.Time{}
	}
	return g.firstPresented(good[len(good)-1].Fence).Add(rules.Replay - rules.replayMargin())
}

// firstPresented is when a token was presented first, from when its window counts; zero: it
// was not.
func (g Grant) firstPresented(token Fence) (first time.Time) {
	for _, p := range g.Presentations {
		if p.Token == token && (first.IsZero() || p.At.Before(first)) {
			first = p.At
		}
	}
	return first
}

// lastEnd is when the last good token ends; zero: not known.
func (g Grant) lastEnd() time.Time {
	var last time.Time
	for _, t := range g.Tokens {
		switch {
		case t.Refused:
		case t.Until.IsZero():
			return g.EndsAt
		default:
			last = later(last, t.Until)
		}
	}
	return last
}

// good returns the tokens that the issuer may accept, the oldest first.
func (g Grant) good(now time.Time) []GrantToken {
	var good []GrantToken
	for _, t := range g.Tokens {
		ended := !t.Until.IsZero() && !now.Before(t.Until)
		if !t.Refused && !ended {
			good = append(good, t)
		}
	}
	return good
}

// presented reports whether t was presented, or may have been.
func (g Grant) presented(t GrantToken) bool {
	return slices.ContainsFunc(g.Presentations, func(p Presentation) bool { return p.Token == t.Fence })
}

// inWindow reports whether t, which was presented, may be presented again: its window,
// which counts from the first presentation, is open.
func (g Grant) inWindow(t GrantToken, rules GrantRules, now time.Time) bool {
	if rules.Replay <= 0 {
		return false
	}
	for _, p := range g.Presentations {
		if age := now.Sub(p.At); p.Token == t.Fence && (age < -ClockSlack || age >= rules.Replay-rules.replayMargin()) {
			return false
		}
	}
	return true
}

// open reports whether a request may be on its way, or an answer not yet be stored. A
// presentation that lies ahead was written before the store's clock was set back: how
// old it is is not known, and it does not hold up the others for ever.
func (g Grant) open(now time.Time) bool {
	return slices.ContainsFunc(g.Presentations, func(p Presentation) bool {
		return !p.Over && now.Before(p.Until) && p.At.Sub(now) < ClockSlack
	})
}

// next returns a copy of g that can be changed, as the next version.
func (g Grant) next() Grant {
	g.Tokens, g.Presentations, g.Replaced = slices.Clone(g.Tokens), slices.Clone(g.Presentations), slices.Clone(g.Replaced)
	if g.Version > 0 {
		g.Saves = lastOf(append(slices.Clone(g.Saves), saveName(g.SaveID)), maxSaves)
	}
	g.Version++
	g.SaveID = rand.Text()
	return g
}
