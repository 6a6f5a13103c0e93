package wechattest

import "time"

// usage counts an account's calls. The zero value is ready to use. Guarded by
// Server.mu.
type usage struct {
	day      string
	daily    map[string]int // by path
	minute   int64
	minutely map[string]int
	month    string
	clears   int
}

// dayOf returns the day on which a call counts.
func dayOf(now time.Time) string { return now.In(chinaStandardTime()).Format("20060102") }

func (u *usage) usedToday(now time.Time, path string) int {
	u.turn(now)
	return u.daily[path]
}

// turn resets the counts of a past day or minute.
func (u *usage) turn(now time.Time) {
	if day := dayOf(now); day != u.day || u.daily == nil {
		u.day, u.daily = day, make(map[string]int)
	}
	if minute := now.Unix() / 60; minute != u.minute || u.minutely == nil {
		u.minute, u.minutely = minute, make(map[string]int)
	}
}

// spendDay counts a call, or returns false if the day's limit is reached.
func (u *usage) spendDay(now time.Time, path string, limit int) bool {
	u.turn(now)
	if u.daily[path] >= limit {
		return false
	}
	u.daily[path]++
	return true
}

func (u *usage) spendMinute(now time.Time, path string, limit int) bool {
	u.turn(now)
	if u.minutely[path] >= limit {
		return false
	}
	u.minutely[path]++
	return true
}

// clear resets the day's counts, or returns false if the month's limit of resets is
// reached.
func (u *usage) clear(now time.Time, limit int) bool {
	if month := dayOf(now)[:6]; month != u.month {
		u.month, u.clears = month, 0
	}
	if u.clears >= limit {
		return false
	}
	u.clears++
	u.daily = nil
	return true
}

// spend counts a call against the day's quota. It returns an errcode if the quota is
// used up, or 0.
func (s *Server) spend(r *request, a *account, path string, limit int) int {
	if !a.usage.spendDay(r.now, path, limit) {
		return codeDailyQuota
	}
	return 0
}

func (s *Server) dailyLimit(a *account, path string) int {
	switch path {
	case pathToken:
		return s.dailyToken(a)
	case pathStable:
		return s.knobs.DailyStable
	case pathTicket:
		return s.knobs.DailyTicket
	default:
		return s.knobs.DailyOther
	}
}
