package wire

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

func TestAGrantIsToldWithoutItsTokens(t *testing.T) {
	good := coordinator.GrantSummary{
		Version: 3, Consent: 5, Condition: coordinator.GrantGood, ObtainedAt: at, IdleUntil: at.Add(time.Hour), EndsAt: at.Add(2 * time.Hour), DeadAt: at.Add(2 * time.Hour),
	}
	presented := coordinator.GrantSummary{Condition: coordinator.GrantPresented, ObtainedAt: at, DoubtAt: at.Add(time.Minute)}
	pushed := coordinator.GrantSummary{Condition: coordinator.GrantGood, ObtainedAt: at, DeadAt: at.Add(time.Minute), Received: true}
	const login = "log in again with `zhongkong login`, or put a new refresh token in with `zhongkong grant import`"
	for name, c := range map[string]struct {
		s    coordinator.GrantSummary
		now  time.Time
		want string
		ends []string
	}{
		"good": {good, at, `{"condition":"good","since":"2026-11-22T12:36:44.677Z","obtained_at":"2026-11-22T12:36:44.677Z",` +
			`"idle_until":"2026-11-22T13:36:44.677Z","ends_at":"2026-11-22T14:36:44.677Z"}`, []string{"idle 1h0m0s", "fixed 2h0m0s"}},
		"ended": {good, at.Add(3 * time.Hour), `{"condition":"dead","since":"2026-11-22T14:36:44.677Z","obtained_at":"2026-11-22T12:36:44.677Z",` +
			`"idle_until":"2026-11-22T13:36:44.677Z","ends_at":"2026-11-22T14:36:44.677Z",` +
			`"advice":"the issuer does not accept the grant any more: ` + login + `"}`, []string{"idle 1h0m0s", "fixed 2h0m0s"}},
		"presented": {presented, at, `{"condition":"presented","obtained_at":"2026-11-22T12:36:44.677Z"}`, nil},
		"in doubt": {presented, at.Add(time.Hour), `{"condition":"doubt","since":"2026-11-22T12:37:44.677Z","obtained_at":"2026-11-22T12:36:44.677Z",` +
			`"advice":"the refresh token was presented and no answer came: it may be used up, and is tried once more shortly before the access token ends"}`, nil},
		"none": {coordinator.GrantSummary{Condition: coordinator.GrantNone}, at,
			`{"condition":"none","advice":"there is no grant: log in with ` + "`zhongkong login`, or put a refresh token in with `zhongkong grant import`\"}", nil},
		"withdrawn": {coordinator.GrantSummary{Condition: coordinator.GrantNone, Consent: 7}, at, `{"condition":"none","advice":"the grant was withdrawn: the account has to be authorized again"}`, nil},
		"pushed": {pushed, at, `{"condition":"good","since":"2026-11-22T12:36:44.677Z","pushed":true,"obtained_at":"2026-11-22T12:36:44.677Z",` +
			`"pushed_until":"2026-11-22T12:37:44.677Z"}`, []string{"pushed 1m0s"}},
	} {
		g := NewGrant(&c.s, c.now)
		if got := encode(t, g); got != c.want {
			t.Errorf("%s:\n%s, want\n%s", name, got, c.want)
		}
		var ends []string
		g.Ends(func(how string, end time.Time) { ends = append(ends, fmt.Sprint(how, " ", end.Sub(at))) })
		if !slices.Equal(ends, c.ends) {
			t.Errorf("%s: ends %v, want %v", name, ends, c.ends)
		}
	}
	if NewGrant(nil, at) != nil {
		t.Error("an account without a grant has one")
	}
	if dead := NewGrant(&pushed, at.Add(time.Hour)); dead.NeedsConsent() || !dead.NeedsAttention() {
		t.Error("a person is asked to consent to what the issuer pushes")
	}
}

func TestAGrantEndsSoonInItsLastQuarter(t *testing.T) {
	for _, c := range []struct {
		how       string
		age, left time.Duration
		want      bool
	}{
		{EndsFixed, 360 * 24 * time.Hour, 8 * 24 * time.Hour, false},
		{EndsFixed, 360 * 24 * time.Hour, 6 * 24 * time.Hour, true},
		{EndsIdle, time.Hour, 23 * time.Hour, false},
		{EndsIdle, 19 * time.Hour, 5 * time.Hour, true},
		{EndsIdle, 24 * time.Hour, -time.Hour, true},
		{EndsPushed, 11 * time.Hour, time.Hour, false},
	} {
		g := Grant{ObtainedAt: Time{at.Add(-c.age)}, consented: at.Add(-c.age)}
		if got := g.EndsSoon(c.how, at.Add(c.left), at); got != c.want {
			t.Errorf("%s, %v old, %v left: %v, want %v", c.how, c.age, c.left, got, c.want)
		}
	}
	used := Grant{ObtainedAt: Time{at}, consented: at.Add(-360 * 24 * time.Hour)}
	if end := at.Add(6 * 24 * time.Hour); !used.EndsSoon(EndsFixed, end, at) || used.EndsSoon(EndsIdle, end, at) {
		t.Error("the use of a grant moves its fixed end, or does not move its idle one")
	}
}
