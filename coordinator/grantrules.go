package coordinator

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"
)

// This file is the rules of a grant as functions of its record: no clock, no store.
// scripts/model/grants.pml searches them exhaustively.

// GrantError says why no token of a grant may be presented now.
type GrantError struct {
	Condition GrantCondition
	Received  bool          // GrantRules.Received
	Withdrawn bool          // there is none because it was withdrawn
	RetryIn   time.Duration // when it is worth asking again; 0: when the record has changed
}

// Error names the condition and what to do about it.
func (e *GrantError) Error() string {
	switch {
	case e.Received && (e.Condition == GrantNone || e.Condition == GrantDead):
		return "waiting for the token that the issuer pushes: if none comes, look whether its pushes reach this address"
	case e.Withdrawn:
		return "the grant was withdrawn: the account has to be authorized again"
	case e.Condition == GrantNone:
		return "there is no grant: log in with `zhongkong login`, or put a refresh token in with `zhongkong grant import`"
	case e.Condition == GrantDead:
		return "the issuer does not accept the grant any more: log in again with `zhongkong login`, or put a new refresh token in with `zhongkong grant import`"
	case e.Condition == GrantDoubt:
		return "the refresh token was presented and no answer came: it may be used up, and is tried once more shortly before the access token ends"
	}
	return fmt.Sprintf("the refresh token is being presented; the answer may come within %v", e.RetryIn.Round(time.Second))
}

// ErrGrantNewer says that the record has a newer token than an attempt with this fence
// could bring: begin another one.
var ErrGrantNewer = errors.New("the grant has a newer token")

// PresentRequest asks for a token to present.
type PresentRequest struct {
	Fence Fence         // of the attempt, the same for each try to write its mark
	Now   time.Time     // of the store's clock, read before the attempt's deadline was set
	For   time.Duration // after it no request is on its way, and an answer has been stored
	Rules GrantRules

	// Sending is how long after its mark a request may be sent: the life of the lock.
	Sending time.Duration

	// Probe allows the last resort: a token of which nobody knows whether it was used
	// up, outside of its window, once.
	Probe bool

	// Credential is the source's; see Credentialed. An issuer says of a token that was
	// given to another client that it is none, so one that was refused to other credentials
	// may be good. It is presented if no other token is, and to each credential once.
	Credential string
}

// Present chooses the token to present and writes the mark. If the token is never used
// up there is no mark, and the record is returned as it was. The error is a
// *GrantError, or ErrGrantNewer.
//
// No other attempt has the fence: if its mark is there, it was stored by an earlier try
// whose answer got lost, and the record is returned as it was. It may not be durable yet. If
// there is an error then, the mark is to be withdrawn.
func (g Grant) Present(r PresentRequest) (Grant, GrantToken, error) {
	unmarked, marked := g.Withdraw(r.Fence)
	if !marked {
		return g.presentFirst(r)
	}
	switch _, token, err := unmarked.presentFirst(r); {
	case err != nil:
		return g, GrantToken{}, err
	case token.Fence != g.Presentations[g.presentation(r.Fence)].Token:
		return g, GrantToken{}, ErrGrantNewer
	default:
		return g, token, nil
	}
}

// presentFirst is Present for an attempt whose mark is not there.
func (g Grant) presentFirst(r PresentRequest) (Grant, GrantToken, error) {
	next, token, err := g.presentOf(g.refusedTo(r.Credential), r)
	if none, ok := errors.AsType[*GrantError](err); !ok || none.Condition != GrantDead {
		return next, token, err
	}
	if others, ok := g.refusedToOthers(r.Credential); ok {
		r.Probe = true // nothing else is left
		return g.presentOf(others, r)
	}
	return next, token, err
}

// presentOf is presentFirst with the tokens that seen, which is g otherwise, does not call
// refused.
func (g Grant) presentOf(seen Grant, r PresentRequest) (Grant, GrantToken, error) {
	good := seen.good(r.Now)
	if len(good) == 0 {
		return g, GrantToken{}, seen.none(r.Rules, r.Now)
	}
	current := good[len(good)-1]
	if g.newerThan(r) {
		return g, GrantToken{}, ErrGrantNewer
	}
	if r.Rules.Replay == ReplayFree {
		return g.tried(current), current, nil
	}
	if wait := g.overtakes(current, r); wait > 0 {
		return g, GrantToken{}, &GrantError{Condition: GrantPresented, RetryIn: wait}
	}
	if !g.presented(current) || g.inWindow(current, r.Rules, r.Now) {
		return g.mark(current, false, r), current, nil
	}
	if g.open(r.Now) {
		return g, GrantToken{}, &GrantError{Condition: GrantPresented, RetryIn: seen.doubtAt(r.Rules, r.Now).Sub(r.Now)}
	}
	for _, t := range slices.Backward(good) {
		if !g.presented(t) {
			return g.mark(t, false, r), t, nil
		}
	}
	for _, t := range slices.Backward(good) {
		if !t.Probed && r.Probe {
			return g.mark(t, true, r), t, nil
		}
	}
	return g, GrantToken{}, seen.none(r.Rules, r.Now)
}

// refusedTo returns g as a process with the credential sees it: what was refused to that is
// refused, though it is being presented with another one.
func (g Grant) refusedTo(credential string) Grant {
	g.Tokens = slices.Clone(g.Tokens)
	for i, t := range g.Tokens {
		g.Tokens[i].Refused = t.Refused || slices.Contains(t.RefusedTo, credential)
	}
	return g
}

// refusedToOthers returns g with only those tokens good that were refused to other
// credentials, and not to too many; ok: there are some.
func (g Grant) refusedToOthers(credential string) (_ Grant, ok bool) {
	g.Tokens = slices.Clone(g.Tokens)
	for i, t := range g.Tokens {
		n := len(t.RefusedTo)
		other := t.Refused && credential != "" && n > 0 && n < maxRefusals && !slices.Contains(t.RefusedTo, credential)
		g.Tokens[i].Refused = !other
		ok = ok || other
	}
	return g, ok
}

// tried returns g with a token that was refused and is presented once more.
func (g Grant) tried(t GrantToken) Grant {
	if i := g.index(t.Fence); g.Tokens[i].Refused {
		g = g.next()
		g.Tokens[i].Refused = false
	}
	return g
}

// newerThan reports whether the record has a newer consent or token than the attempt: what
// it would bring has no place. Also a token that is never used up may bring something, such
// as a code that is exchanged for it. Pushed tokens are not ordered by the fences of attempts.
func (g Grant) newerThan(r PresentRequest) bool {
	newest := max(g.Newest(), g.Consent)
	if r.Rules.Replay == ReplayFree && !newest.Credible(r.Now) { // the clock has gone back: no attempt is newer for long
		return false
	}
	return r.Fence <= newest && !r.Rules.Received
}

// overtakes returns for how long a request that presents another token may still be
// sent. Many issuers answer a used-up token only while its successor is unused: if that
// one were presented first, the late request would look like theft.
func (g Grant) overtakes(current GrantToken, r PresentRequest) (wait time.Duration) {
	for _, p := range g.Presentations {
		if age := r.Now.Sub(p.At); p.Token != current.Fence && !p.Over && age > -ClockSlack {
			wait = max(wait, r.Sending-age)
		}
	}
	return wait
}

// sendBefore is until when, by the store's clock, the request of a mark may be sent; zero:
// for as long as its attempt. The window of its token bounds it, also if the token was not
// presented before: another process may present it meanwhile, and the issuer's window counts
// from the request that comes first.
func (g Grant) sendBefore(fence Fence, rules GrantRules) time.Time {
	i := g.presentation(fence)
	if i < 0 || g.Presentations[i].Probe || rules.Replay <= 0 || rules.Replay == ReplayFree {
		return time.Time{}
	}
	return g.firstPresented(g.Presentations[i].Token).Add(rules.Replay - rules.replayMargin()/2)
}

// none says why there is nothing to present.
func (g Grant) none(rules GrantRules, now time.Time) *GrantError {
	return g.Summary(rules, now).none(g.Condition(rules, now))
}

// none says why there is nothing to present in the condition.
func (s GrantSummary) none(condition GrantCondition) *GrantError {
	return &GrantError{Condition: condition, Received: s.Received, Withdrawn: condition == GrantNone && s.Consent > 0 && !s.Received}
}

func (g Grant) mark(t GrantToken, probe bool, r PresentRequest) Grant {
	g = g.next()
	g.Presentations = append(g.Presentations, Presentation{Fence: r.Fence, Token: t.Fence, At: r.Now, Until: r.Now.Add(r.For), Probe: probe})
	i := g.index(t.Fence)
	g.Tokens[i].Refused, g.Tokens[i].Probed = false, g.Tokens[i].Probed || probe
	return g.bounded()
}

// bounded drops the oldest presentations: of tokens that have left, and then those that
// are not the first of their token, from which its window counts.
func (g Grant) bounded() Grant {
	for len(g.Presentations) > maxPresentations {
		i := slices.IndexFunc(g.Presentations, func(p Presentation) bool { return g.index(p.Token) < 0 })
		for j := 1; i < 0 && j < len(g.Presentations); j++ {
			token := g.Presentations[j].Token
			if slices.ContainsFunc(g.Presentations[:j], func(p Presentation) bool { return p.Token == token }) {
				i = j
			}
		}
		if i < 0 {
			break
		}
		g.Presentations = slices.Delete(g.Presentations, i, i+1)
	}
	return g
}

func (g Grant) index(token Fence) int {
	return slices.IndexFunc(g.Tokens, func(t GrantToken) bool { return t.Fence == token })
}

func (g Grant) presentation(fence Fence) int {
	return slices.IndexFunc(g.Presentations, func(p Presentation) bool { return p.Fence == fence })
}

// GrantAnswer is what a presentation has brought. It holds a secret.
type GrantAnswer struct {
	Account string
	Fence   Fence // of the attempt
	Parent  Fence // the token that was presented
	Consent Fence // of the record that it was presented from; 0: not known
	Token   Token // zero: the presented one stays
	Form    string

	// How long the grant lives if it is not used, and altogether, from when the answer
	// came; read from a spool: from then on. 0: not known, what the record says stays.
	Idle, Ends time.Duration
}

// Keep stores an answer if its mark is there, or if it is newer than every token. It
// takes the place of its own parent and of no other token. changed is false for an answer
// that has no place: a consent came after its presentation, or it was kept before.
//
// Of a record that was lost with its consent (see lacks) the answer's token is what is
// left: it is the only one of that consent then. Keep it only when whoever remembers the
// record has had the time to put it back.
//
// An issuer that answers a replay with the same tokens brings one that is there, or that
// has been used up since: only the mark goes then.
//
// The lives that it states count from when it came, which may be hours ago, by the
// store's clock. If a newer token came later, what was said with that stays.
func (g Grant) Keep(a GrantAnswer, came time.Time) (_ Grant, changed bool) {
	if g.lacks(a) {
		g = g.begun(a.Consent, came)
		g.insert(GrantToken{Token: a.Token, Form: a.Form, Fence: a.Fence, Parent: a.Parent})
		g.until(a.Idle, a.Ends, came)
		return g, true
	}
	mark, parent := g.presentation(a.Fence), g.index(a.Parent)
	// An attempt of the consent before can have the greater fence, if the store had lost
	// the newer consent for a while.
	if a.Consent != 0 && a.Consent != g.Consent || a.Fence <= g.Consent || g.index(a.Fence) >= 0 {
		return g, false
	}
	stays := a.Token.IsZero() || parent >= 0 && g.Tokens[parent].Token.Equal(a.Token)
	known := g.knows(a.Token)
	if mark < 0 && (known && !stays || a.Fence <= g.Newest() || a.Token.IsZero() && parent < 0) {
		return g, false
	}
	g = g.next()
	var presented time.Time // zero: not known
	if mark >= 0 {
		presented = g.Presentations[mark].At
		g.Presentations = slices.Delete(g.Presentations, mark, mark+1)
	}
	if !came.Before(g.ObtainedAt) {
		g.until(a.Idle, a.Ends, came)
	}
	switch {
	case stays:
		g.answered(a, presented)
	case !known:
		g.insert(GrantToken{Token: a.Token, Form: a.Form, Fence: a.Fence, Parent: a.Parent})
		g.ObtainedAt = later(g.ObtainedAt, came)
	}
	if parent >= 0 && !stays {
		g.replaced(a.Parent)
	}
	return g, true
}

// lacks reports whether an answer has a token of a consent that the record is older than:
// the store, which had it when the token was presented, has lost it.
func (g Grant) lacks(a GrantAnswer) bool { return a.Consent > g.Consent && !a.Token.IsZero() }

// settled reports whether the record has what an answer brought, or had it, or is of a
// later consent. Then no newer version has a place for it either.
func (g Grant) settled(a GrantAnswer) bool {
	return a.Fence <= g.Consent || a.Consent != 0 && a.Consent < g.Consent || g.index(a.Fence) >= 0 || g.knows(a.Token)
}

// knows reports whether a token is in the record, or was.
func (g Grant) knows(t Token) bool {
	return slices.ContainsFunc(g.Tokens, func(u GrantToken) bool { return u.Token.Equal(t) }) ||
		slices.Contains(g.Replaced, fingerprint(t))
}

// replaced removes a token whose successor is stored.
func (g *Grant) replaced(token Fence) {
	i := g.index(token)
	g.Replaced = lastOf(append(g.Replaced, fingerprint(g.Tokens[i].Token)), maxPresentations)
	g.Tokens = slices.Delete(g.Tokens, i, i+1)
}

// fingerprint tells tokens apart that are not kept.
func fingerprint(t Token) string {
	sum := sha256.Sum256([]byte(t.Reveal()))
	return hex.EncodeToString(sum[:12])
}

// answered takes in that the issuer has accepted a token, which was presented at an instant,
// and left it: no earlier presentation has used it up, unless its request may have arrived
// later. A process that died does not say that its presentation is over, so time does.
func (g *Grant) answered(a GrantAnswer, presented time.Time) {
	g.Presentations = slices.DeleteFunc(g.Presentations, func(p Presentation) bool {
		return p.Token == a.Parent && p.Fence < a.Fence && (p.Over || !presented.Before(p.Until))
	})
	if i := g.index(a.Parent); i >= 0 {
		g.Tokens[i].Refused, g.Tokens[i].Probed = false, false
	}
}

func (g *Grant) insert(t GrantToken) {
	g.Tokens = append(g.Tokens, t)
	slices.SortFunc(g.Tokens, func(a, b GrantToken) int { return cmp.Compare(a.Fence, b.Fence) })
}

func (g *Grant) until(idle, ends time.Duration, now time.Time) {
	if idle > 0 {
		g.Idle = idle
	}
	if g.Idle > 0 { // it was used at now
		g.IdleUntil = now.Add(g.Idle)
	}
	if ends > 0 {
		g.EndsAt = now.Add(ends)
	}
}

// Withdraw takes a mark back: surely nothing was used up by this presentation. changed
// is false if there is no such mark.
func (g Grant) Withdraw(fence Fence) (_ Grant, changed bool) {
	i := g.presentation(fence)
	if i < 0 {
		return g, false
	}
	g = g.next()
	if p := g.Presentations[i]; p.Probe {
		if t := g.index(p.Token); t >= 0 {
			g.Tokens[t].Probed = false
		}
	}
	g.Presentations = slices.Delete(g.Presentations, i, i+1)
	return g, true
}

// GiveUp says that no answer to a presentation will come: its token is spent.
func (g Grant) GiveUp(fence Fence) (_ Grant, changed bool) {
	i := g.presentation(fence)
	if i < 0 || g.Presentations[i].Over {
		return g, false
	}
	g = g.next()
	g.Presentations[i].Over = true
	return g, true
}

// Refuse takes in that the issuer says of the token that this attempt presented with a
// credential that it is none. A token that has left the record, because another attempt was
// answered, is no failure: changed is false then but for the mark.
func (g Grant) Refuse(fence, token Fence, credential string) (_ Grant, changed bool) {
	i, t := g.presentation(fence), g.index(token)
	if i < 0 && (t < 0 || g.Tokens[t].Refused) {
		return g, false
	}
	g = g.next()
	if i >= 0 {
		g.Presentations = slices.Delete(g.Presentations, i, i+1)
	}
	if t >= 0 {
		g.Tokens[t].refuse(credential)
	}
	return g, true
}

// refuse notes a refusal. The last resort may be tried with the next credential, too.
func (t *GrantToken) refuse(credential string) {
	switch final := t.Refused && len(t.RefusedTo) == 0; {
	case final || credential == "":
		t.RefusedTo = nil
	case !slices.Contains(t.RefusedTo, credential):
		t.RefusedTo, t.Probed = append(slices.Clone(t.RefusedTo), credential), false
	}
	t.Refused = true
}

// Consent is a new grant from outside: by a person, or by an event of the issuer.
type Consent struct {
	Token Token // zero: the grant is withdrawn
	Form  string

	// At is when it was given, by the issuer's clock, if an event of the issuer tells of
	// it: events may come in any order. Zero, or not a CredibleTime: it is given now.
	//
	// By how much the issuer's clock and the store's differ is not known, so events are
	// compared with events only. One that is later than each that has come replaces a
	// consent without a time, whether it happened before that or after.
	At time.Time

	// How long the grant lives if it is not used, and altogether; 0: not known.
	Idle, Ends time.Duration
}

// CredibleTime returns at, an instant that an issuer has stated, or zero if it is before
// 1970 or more than MaxFenceAhead after now, an instant of the store's clock: in another
// unit, say. All later events would count as older ones.
func CredibleTime(at, now time.Time) time.Time {
	if at.Before(time.Unix(0, 0)) || at.After(now.Add(MaxFenceAhead)) {
		return time.Time{}
	}
	return at
}

// Consented replaces all tokens and presentations under a new fence. It returns g, and
// changes nothing, if the consent's At is not after ConsentedAt. If it has no At, it returns
// g if its token is there, or was used up since: it was stored before, though no one said so.
func (g Grant) Consented(c Consent, now time.Time) Grant {
	c.At = CredibleTime(c.At, now)
	stale := !c.At.After(g.ConsentedAt)
	if c.At.IsZero() {
		i := slices.IndexFunc(g.Tokens, func(t GrantToken) bool { return t.Token.Equal(c.Token) })
		stale = !c.Token.IsZero() && (i >= 0 && !g.Tokens[i].Refused || i < 0 && g.knows(c.Token))
	}
	if stale {
		return g
	}
	newest := max(g.Consent, g.Newest())
	for _, p := range g.Presentations {
		newest = max(newest, p.Fence)
	}
	g = g.begun(max(newest+1, Fence(now.UnixMicro())), now)
	g.ConsentedAt = later(g.ConsentedAt, c.At)
	if !c.Token.IsZero() {
		g.Tokens = []GrantToken{{Token: c.Token, Form: c.Form, Fence: g.Consent}}
	}
	g.until(c.Idle, c.Ends, now)
	return g
}

// begun returns the next version: of a new consent, and without what was there.
func (g Grant) begun(consent Fence, at time.Time) Grant {
	g = g.next()
	g.Consent, g.ObtainedAt = consent, at
	g.Tokens, g.Presentations, g.Replaced = nil, nil, nil
	g.Idle, g.IdleUntil, g.EndsAt = 0, time.Time{}, time.Time{}
	return g
}

// Received is a token that the issuer has pushed.
type Received struct {
	Token Token
	At    time.Time     // by the issuer's clock: the newest wins, in whatever order they come. Zero, or not a CredibleTime: it is the newest
	Life  time.Duration // from when it was received
}

// WithReceived adds a pushed token, which is a consent of the issuer's; the last few are
// kept. If it is there already, or older than all of those, WithReceived returns g as it
// was, and false.
func (g Grant) WithReceived(r Received, now time.Time) (_ Grant, added bool) {
	before := g
	isIt := func(t GrantToken) bool { return t.Token.Equal(r.Token) }
	if slices.ContainsFunc(g.Tokens, isIt) {
		return g, false
	}
	if r.At = CredibleTime(r.At, now); r.At.IsZero() {
		r.At = now
		if n := len(g.Tokens); n > 0 && g.Tokens[n-1].At.After(now) { // the store's clock has gone back
			r.At = g.Tokens[n-1].At
		}
	}
	g = g.next()
	g.Tokens = append(g.Tokens, GrantToken{Token: r.Token, At: r.At, Until: now.Add(r.Life)})
	slices.SortStableFunc(g.Tokens, func(a, b GrantToken) int { return a.At.Compare(b.At) })
	if n := len(g.Tokens); n > maxReceived {
		g.Tokens = slices.Delete(g.Tokens, 0, n-maxReceived)
	}
	if !slices.ContainsFunc(g.Tokens, isIt) {
		return before, false
	}
	// The names follow the issuer's order: the newest is the last.
	fence := max(g.Consent+1, Fence(now.UnixMicro()))
	for _, t := range g.Tokens {
		fence = max(fence, t.Fence+1)
	}
	for i := range g.Tokens {
		g.Tokens[i].Fence = fence + Fence(i)
	}
	g.Presentations, g.ObtainedAt, g.Consent = nil, now, g.Newest()
	return g, true
}
