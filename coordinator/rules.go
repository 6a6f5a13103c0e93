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

// rules returns those of an account with a source. The error names the field that is
// wrong.
func (c Config) rules(a AccountConfig, s Source) (rules, error) {
	var d Description
	if described, ok := s.(Described); ok {
		d = described.Description()
	}
	defaults := DefaultLimits()
	if d.Limits.PerDay > 0 { // a reserve that suits another budget is none
		defaults.Reserve = d.Limits.PerDay / 10
	}
	r := rules{
		every:  cmp.Or(a.RefreshEvery, c.RefreshEvery, d.RefreshEvery, defaultRefreshEvery),
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
