package coordinator

import (
	"testing"
	"time"
)

// The decisions of a view about its grant, at testEnv's now. The record that is held is
// given the access token's end.
func grantEnv(rules GrantRules) env {
	e := testEnv()
	e.rules.grant = rules
	e.storeNow, e.storeKnown = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), true
	return e
}

func TestWhenATokenOfTheGrantMayBePresented(t *testing.T) {
	never := GrantRules{Needed: true}
	window := GrantRules{Needed: true, Replay: 10 * time.Minute}
	now := grantEnv(never).storeNow
	for name, c := range map[string]struct {
		rules  GrantRules
		stored GrantSummary
		left   time.Duration // of the access token; 0: there is none
		wait   time.Duration // 0: now
		why    GrantCondition
	}{
		"good":                      {never, GrantSummary{Condition: GrantGood}, time.Hour, 0, ""},
		"presented":                 {never, GrantSummary{Condition: GrantPresented, DoubtAt: now.Add(time.Minute)}, time.Hour, 58 * time.Minute, GrantPresented},
		"presented, no token":       {never, GrantSummary{Condition: GrantPresented, DoubtAt: now.Add(time.Minute)}, 0, time.Minute, GrantPresented},
		"presented, in its window":  {window, GrantSummary{Condition: GrantPresented, ReplayUntil: now.Add(time.Second)}, time.Hour, 0, ""},
		"doubt since":               {never, GrantSummary{Condition: GrantPresented, DoubtAt: now.Add(-time.Minute)}, time.Hour, 58 * time.Minute, GrantDoubt},
		"doubt":                     {never, GrantSummary{Condition: GrantDoubt}, time.Hour, 58 * time.Minute, GrantDoubt},
		"doubt, the token ends":     {never, GrantSummary{Condition: GrantDoubt}, time.Minute, 0, ""},
		"doubt, no token":           {never, GrantSummary{Condition: GrantDoubt}, 0, 0, ""},
		"dead: an attempt says so":  {never, GrantSummary{Condition: GrantDead}, time.Hour, 0, ""},
		"a push is waited for":      {GrantRules{Needed: true, Replay: ReplayFree, Received: true}, GrantSummary{Condition: GrantDead}, 0, time.Hour, GrantDead},
		"no grant is needed, a bug": {GrantRules{}, GrantSummary{Condition: GrantDoubt}, time.Hour, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v, e := fresh(), grantEnv(c.rules)
			v.held = nil
			if c.left > 0 {
				v.held = &held{text: "a", Generation: 7, until: e.now + instant(c.left), refreshAt: e.now + instant(c.left)}
			}
			c.stored.Version = 1
			v.grantOf().stored = c.stored
			at, why := v.presentable(e)
			if got := max(time.Duration(at-e.now), 0); (why != nil) != (c.why != "") || why != nil && (why.Condition != c.why || got != c.wait) {
				t.Errorf("presentable() = in %v, %v; want in %v, %q", got, why, c.wait, c.why)
			}
			if got := v.allowed(ReasonForced, e); why != nil && got < at {
				t.Errorf("a forced refresh is allowed in %v", time.Duration(got-e.now))
			}
		})
	}
}

func TestAnOverdueAttemptIsAReasonForAGrantInItsWindowOnly(t *testing.T) {
	now := grantEnv(GrantRules{}).storeNow
	open, closed := GrantSummary{Condition: GrantPresented, ReplayUntil: now.Add(time.Second)}, GrantSummary{Condition: GrantPresented}
	for name, c := range map[string]struct {
		rules  GrantRules
		stored GrantSummary
		want   Reason
	}{
		"no grant":            {GrantRules{}, closed, ReasonOverdue},
		"free":                {GrantRules{Needed: true, Replay: ReplayFree}, GrantSummary{Condition: GrantGood}, ReasonOverdue},
		"never":               {GrantRules{Needed: true}, closed, ""},
		"window":              {GrantRules{Needed: true, Replay: time.Minute}, open, ReasonOverdue},
		"window, over":        {GrantRules{Needed: true, Replay: time.Minute}, closed, ""},
		"of the grant before": {GrantRules{Needed: true}, GrantSummary{Condition: GrantGood, Consent: 1 << 40}, ReasonSchedule},
		"pushed":              {GrantRules{Needed: true, Replay: ReplayFree, Received: true}, GrantSummary{Condition: GrantGood, Consent: 1 << 40}, ReasonOverdue},
	} {
		t.Run(name, func(t *testing.T) {
			v, e := fresh(), grantEnv(c.rules)
			v.held.refreshAt = e.now + instant(time.Hour)
			v.attempts.open(openAttempt{fence: 9, at: e.now - 1})
			c.stored.Version = 1
			v.grantOf().stored = c.stored
			if got := v.due(e); got != c.want {
				t.Errorf("due() = %q, want %q", got, c.want)
			}
		})
	}
}

func TestAGrantThatCanBeUsedUpIsUsedAsLateAsIsSafe(t *testing.T) {
	never := rules{grant: GrantRules{Needed: true}, every: MaxLifetime}
	for _, c := range []struct {
		rules      rules
		life, want time.Duration
	}{
		{never, time.Hour, 54 * time.Minute},
		{never, 10 * time.Hour, 9 * time.Hour},
		{never, 20 * time.Minute, 15 * time.Minute},
		{never, 8 * time.Minute, 4 * time.Minute},
		{rules{grant: GrantRules{Needed: true}, every: 30 * time.Minute}, time.Hour, 30 * time.Minute},
		{rules{grant: GrantRules{Needed: true, Replay: ReplayFree}, every: time.Hour}, time.Hour, 30 * time.Minute},
		{rules{every: time.Hour}, 2 * time.Hour, time.Hour},
	} {
		if got := c.rules.refreshAge(c.life); got != c.want {
			t.Errorf("a token that lives %v is replaced at %v, want %v", c.life, got, c.want)
		}
	}
}

func TestTheEndOfAGrantIsSaidInTime(t *testing.T) {
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		life, left, idle time.Duration
		used             bool // its tokens were replaced until now
	}{
		"a year":  {life: 365 * day, left: 7 * day},
		"a month": {life: 28 * day, left: 7 * day},
		"a day":   {life: day, left: 6 * time.Hour},
		"unused":  {life: 365 * day, idle: 2 * day, left: 12 * time.Hour},
		"in use":  {life: 365 * day, left: 7 * day, used: true},
	} {
		t.Run(name, func(t *testing.T) {
			for early, want := range map[time.Duration]bool{-time.Minute: false, time.Minute: true} {
				v, e := fresh(), grantEnv(GrantRules{Needed: true})
				v.reads = 1
				ends := e.storeNow.Add(c.left - early)
				s := GrantSummary{Version: 1, Condition: GrantGood, EndsAt: ends, ObtainedAt: ends.Add(-c.life)}
				if c.idle > 0 {
					s.EndsAt, s.IdleUntil, s.ObtainedAt = ends.Add(c.life), ends, ends.Add(-c.idle)
				}
				if c.used {
					s.Consent, s.ObtainedAt = Fence(s.ObtainedAt.UnixMicro()), e.storeNow
				}
				v.grantOf().stored = s
				alarm := v.grantAlarm(e)
				if (alarm != nil) != want || want && (!alarm.ends.Equal(ends) || alarm.idle != (c.idle > 0)) {
					t.Errorf("%v before the end: %+v", ends.Sub(e.storeNow), alarm)
				}
				if again := v.grantAlarm(e); again != nil {
					t.Error("it is said twice")
				}
			}
		})
	}
}
