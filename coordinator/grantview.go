package coordinator

import (
	"fmt"
	"time"
)

// grantView is what a view knows of the account's grant: no secrets.
type grantView struct {
	stored GrantSummary // as the store said last
	mine   GrantSummary // of the newest record that this process remembers
	synced bool         // they have been compared since this process began

	settledAt instant // the store may have lost its newest writes: nothing is presented before

	said     GrantCondition // what the log has said last
	saidAt   instant
	endingAt instant // when the log has last said that the grant ends
}

// usedUp reports whether presenting a token may use it up.
func (r GrantRules) usedUp() bool { return r.Needed && r.Replay != ReplayFree }

// grantOf returns the view of the grant, made if it was not there.
func (v *view) grantOf() *grantView {
	if v.grant == nil {
		v.grant = new(grantView)
	}
	return v.grant
}

// grantRead takes in what a reading of the store says of the grant.
func (v *view) grantRead(s *GrantSummary, e env) {
	if s == nil && v.grant == nil && !e.grant.Needed {
		return
	}
	g := v.grantOf()
	before := g.stored
	if g.stored = (GrantSummary{}); s != nil {
		g.stored = *s
	}
	v.grantChanged(before, e)
}

// grantHeard takes in a newer record, of which this process or a notification tells.
func (v *view) grantHeard(s GrantSummary, e env) effects {
	g := v.grantOf()
	if before := g.stored; before.Older(s) {
		g.stored = s
		v.grantChanged(before, e)
	}
	return v.changed(effects{}, e)
}

// grantSynced takes in what is stored and remembered.
func (v *view) grantSynced(s GrantSummary, e env) effects {
	g := v.grantOf()
	before := g.stored
	g.stored, g.mine, g.synced = s, s, true
	v.grantChanged(before, e)
	return v.changed(effects{}, e)
}

// grantChanged lets a refusal go that bound what is no longer there.
func (v *view) grantChanged(before GrantSummary, e env) {
	if before.Consent != v.grant.stored.Consent {
		v.grant.settledAt = 0
	}
	if v.grant.stored == before || !v.failure.refuses() {
		return
	}
	if e.refresher() && v.failure.Credential != v.credential(e) {
		v.retryAt = 0
	}
}

func (f *Failure) refuses() bool { return f != nil && f.InARow > 0 && f.Kind == FailedRefused }

// grantAstray reports whether this process has to compare what it remembers with the
// store.
func (v *view) grantAstray(e env) bool {
	if v.grant == nil || !e.grant.Needed || !e.refresher() || !e.running || v.reads == 0 {
		return false
	}
	g := v.grant
	return !g.synced || g.stored.Older(g.mine) || g.mine.Older(g.stored)
}

// condition is what the grant is worth now. There must be one.
func (g *grantView) condition(e env) GrantCondition {
	if g.stored.Version == 0 {
		return GrantNone
	}
	return g.stored.At(e.storeNow)
}

// credential is the fingerprint of what this process asks with, and where from if that was
// refused here last.
func (v *view) credential(e env) string {
	if v.failure.refuses() && v.failure.Credential == v.here(e) {
		return v.failure.Credential
	}
	return v.anywhere(e)
}

// here is the fingerprint of what this process asks with, for a refusal of this host alone.
func (v *view) here(e env) string { return v.anywhere(e) + "@" + e.host }

// anywhere is the fingerprint of what this process asks with. It includes the consent,
// and whether the grant is dead, so that a new one lifts a refusal at once.
func (v *view) anywhere(e env) string {
	c := credential(e.source)
	if v.grant == nil || !e.grant.Needed {
		return c
	}
	c = fmt.Sprintf("%s grant %d", c, v.grant.stored.Consent)
	if condition := v.grant.condition(e); condition == GrantDead || condition == GrantNone {
		c += " dead"
	}
	return c
}

// unsettled takes in that the store may have lost its newest writes, as a reading of the
// record with this consent has told. A consent that has come since ends that.
func (v *view) unsettled(consent Fence, settledIn time.Duration, e env) {
	if g := v.grantOf(); g.stored.Consent <= consent {
		g.settledAt = e.now + instant(settledIn)
	}
}

// presentable returns when it is worth trying to present a token of the grant, and why
// not now; nil: it is now.
func (v *view) presentable(e env) (at instant, why *GrantError) {
	if v.grant == nil || !v.grant.limits(e) {
		return 0, nil
	}
	s := v.grant.stored
	s.Received = s.Received || e.grant.Received
	none := s.none(v.grant.condition(e))
	switch none.Condition {
	case GrantNone, GrantDead:
		if !none.Received {
			return 0, nil // an attempt says so to all
		}
		at = e.now + instant(deadRetry)
	case GrantPresented:
		if e.storeNow.Before(s.ReplayUntil) {
			return 0, nil
		}
		if good := s.GoodAt; !good.IsZero() {
			at = e.now + instant(good.Sub(e.storeNow))
			break
		}
		at = max(e.now, v.probeAt())
		if doubt := later(s.DoubtAt, s.DeadAt); !doubt.IsZero() {
			at = max(at, e.now+instant(doubt.Sub(e.storeNow)))
		}
	case GrantDoubt:
		at = v.probeAt()
	default:
		return 0, nil
	}
	if at <= e.now {
		return 0, nil
	}
	none.RetryIn = time.Duration(at - e.now)
	return at, none
}

// limits reports whether the grant decides when the account is refreshed.
func (g *grantView) limits(e env) bool {
	return e.storeKnown && (e.grant.Needed || !e.refresher() && g.stored.Version > 0)
}

// probeAt is when the last resort may be tried: shortly before the access token ends, or
// at once if there is none.
func (v *view) probeAt() instant {
	if v.held == nil {
		return 0
	}
	return v.held.until - instant(probeBefore)
}

// replaying reports whether a token that was presented is to be presented again, because
// its window is open and its attempt is overdue.
func (v *view) replaying(e env) bool {
	return v.grant != nil && v.grant.stored.Condition == GrantPresented && e.storeKnown && e.storeNow.Before(v.grant.stored.ReplayUntil)
}

// outdated reports whether the record that is held is of an earlier consent.
func (v *view) outdated(e env) bool {
	return v.grant != nil && e.grant.Needed && !e.grant.Received && e.storeKnown &&
		v.held.Generation < v.grant.stored.Consent && v.grant.condition(e) == GrantGood
}

// grantStatus is the summary with the condition as it is now, for people.
func (v *view) grantStatus(e env) *GrantSummary {
	if v.grant == nil {
		return nil
	}
	s := v.grant.stored
	s.Condition, s.Received = v.grant.condition(e), s.Received || e.grant.Received
	return &s
}
