package coordinator

import "time"

// grantAlarm is what people have to know of a grant.
type grantAlarm struct {
	none    *GrantError // GrantDoubt, GrantDead or GrantNone; nil: the grant is fine
	news    bool        // it has become so
	probeAt time.Time   // doubt: when the last resort is tried; zero: at once
	ends    time.Time   // not zero: the grant ends then
	idle    bool        // because it is not used
}

const (
	alarmEvery  = time.Hour      // how often doubt and death are said again
	endingEvery = 24 * time.Hour // how often the end is
	endingMost  = 7 * 24 * time.Hour
)

// grantAlarm returns what is to be said now, nil for nothing. Each process that could
// refresh the account says it.
func (v *view) grantAlarm(e env) *grantAlarm {
	if v.grant == nil || !e.grant.Needed || !e.refresher() || v.reads == 0 || v.removed {
		return nil
	}
	g, condition := v.grant, v.grant.condition(e)
	if condition != GrantDoubt && condition != GrantDead && condition != GrantNone {
		g.said = ""
		return v.grantEnding(e)
	}
	if condition == GrantNone && !g.synced {
		return nil // spool and copy may have it
	}
	news := g.said != condition
	if !news && e.now < g.saidAt+instant(alarmEvery) {
		return nil
	}
	g.said, g.saidAt = condition, e.now
	alarm := &grantAlarm{none: g.stored.none(condition), news: news}
	alarm.none.Received = e.grant.Received
	if at := v.probeAt(); at > e.now {
		alarm.probeAt = e.wall.Add(time.Duration(at - e.now)).Round(0)
	}
	return alarm
}

// grantEnding returns that the grant ends soon, from a quarter of its life before its end
// on, at most a week.
func (v *view) grantEnding(e env) *grantAlarm {
	g := v.grant
	ends, began, idle := g.stored.EndsAt, g.stored.Consented(), false
	if i := g.stored.IdleUntil; !i.IsZero() && (ends.IsZero() || i.Before(ends)) {
		ends, began, idle = i, g.stored.ObtainedAt, true
	}
	if ends.IsZero() || e.storeNow.Before(ends.Add(-min(ends.Sub(began)/4, endingMost))) {
		return nil
	}
	if g.endingAt != 0 && e.now < g.endingAt+instant(endingEvery) {
		return nil
	}
	g.endingAt = e.now
	return &grantAlarm{ends: ends, idle: idle}
}

// sound tells the log and the observer.
func (g *grantAlarm) sound(a *Account) {
	args := []any{"account", a.name}
	switch {
	case !g.ends.IsZero() && g.idle:
		a.c.log.Warn("the grant ends unless it is used before: see why the account is not refreshed", append(args, "ends_at", g.ends)...)
		a.c.observe(Observation{Kind: EndingGrant, Account: a.name})
		return
	case !g.ends.IsZero():
		a.c.log.Warn("the grant ends soon: log in again before with `zhongkong login`, or put a new refresh token in with `zhongkong grant import`",
			append(args, "ends_at", g.ends)...)
		a.c.observe(Observation{Kind: EndingGrant, Account: a.name})
		return
	case g.none.Condition == GrantDoubt:
		if !g.probeAt.IsZero() {
			args = append(args, "tried_again_at", g.probeAt)
		}
		a.c.log.Error("DOUBT: the refresh token was presented and no answer came: it may be used up. "+
			"The access token is served to its end, and the refresh token tried once more shortly before. Be ready to log in again", args...)
	case g.none.Withdrawn:
		a.c.log.Info(g.none.Error(), args...)
	case g.none.Received:
		a.c.log.Warn(g.none.Error(), args...)
	default:
		a.c.log.Error(g.none.Error(), args...)
	}
	if g.news {
		kind := LostGrant
		if g.none.Condition == GrantDoubt {
			kind = DoubtedGrant
		}
		a.c.observe(Observation{Kind: kind, Account: a.name, Err: g.none})
	}
}
