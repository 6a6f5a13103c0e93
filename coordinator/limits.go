package coordinator

import (
	"cmp"
	"time"
)

// Limits bound the calls to a source, for all processes together. A Begin states
// them; a store keeps none. The table at Store says which apply to which reason.
type Limits struct {
	// PerDay is how many calls to the source are made at most in a window. Zero: no
	// limit.
	PerDay int

	// Window is how long a window is: the next one begins when it ends. 1 s to 366
	// days; zero: a day.
	Window time.Duration

	// DayBegins is by how much later than WeChat's day, which begins at midnight in
	// UTC+8, the issuer's day begins: 8 h is midnight in UTC. Windows of other lengths
	// are counted from a day's begin. 0 to less than 24 h.
	DayBegins time.Duration

	// Reserve is the part of PerDay that refreshes for a reason that is Demanded
	// leave to the others. 0 to less than PerDay.
	Reserve int

	// MinInterval is the least time between two begins for a reason that is Demanded.
	MinInterval time.Duration
}

// tenth returns a tenth of PerDay as a reserve: at least one call, and never all.
func (l Limits) tenth() int { return min(max(l.PerDay/10, 1), l.PerDay-1) }

const (
	wholeDay   = 24 * time.Hour
	wechatZone = 8 * time.Hour // WeChat's day begins at midnight in UTC+8
)

// WeChatDays reports whether a window is a day of WeChat's. The zero Limits have such
// windows.
func (l Limits) WeChatDays() bool { return l.window() == wholeDay && l.DayBegins == 0 }

// Windows returns how long a window is, in whole milliseconds, and how long before the
// Unix epoch one began: the others follow or precede it without a gap.
func (l Limits) Windows() (length, before time.Duration) {
	return l.window().Truncate(time.Millisecond), (wechatZone - l.DayBegins + wholeDay).Truncate(time.Millisecond)
}

// Budget is what the limit PerDay is called: LimitBudget if a window is a day.
func (l Limits) Budget() Limit {
	if l.window() == wholeDay {
		return LimitBudget
	}
	return LimitWindow
}

func (l Limits) window() time.Duration { return cmp.Or(l.Window, wholeDay) }
