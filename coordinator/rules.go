package coordinator

import (
	"cmp"
	"fmt"
	"time"
)

// rules are what holds for an account: what its configuration says, else the
// Config, else its source, else the defaults. Accounts with the same rules share them.
type rules struct {
	every  time.Duration
	limits Limits
	repeat Repeat
	grant  GrantRules
}

// rules returns those of an account. The error names the field that is wrong.
func (c Config) rules(a AccountConfig) (rules, error) {
	var d Description
	if described, ok := a.Source.(Described); ok {
		d = described.Description()
	}
	defaults := DefaultLimits()
	if d.Limits.PerDay > 0 {
		defaults.Reserve = d.Limits.tenth()
	}
	every := defaultRefreshEvery
	if d.Grant.usedUp() {
		every = MaxLifetime // as late as is safe
	}
	r := rules{
		every:  cmp.Or(a.RefreshEvery, c.RefreshEvery, d.RefreshEvery, every),
		limits: a.Limits.or(c.Limits).or(d.Limits).or(defaults),
		repeat: d.Repeat,
		grant:  d.Grant,
	}
	switch d.Repeat {
	case RepeatKills, RepeatSame, RepeatKeeps:
		return r, validateSchedule(r.every, r.limits)
	}
	return r, fmt.Errorf("Description.Repeat is %q: it must be RepeatKills, RepeatSame or RepeatKeeps", d.Repeat)
}

// refreshAge returns at which age a token that lives for life is replaced: at half its
// life at the latest, for the sake of all who cannot reach the source for a while. Where
// each refresh puts a grant at risk, it is as late as is safe.
func (r rules) refreshAge(life time.Duration) time.Duration {
	latest := life / 2
	if r.grant.usedUp() {
		latest = max(latest, life-max(lateReserve, life/10))
	}
	return min(r.every, latest)
}

// lateReserve is the least time for retries before the end of a token.
const lateReserve = 5 * time.Minute
