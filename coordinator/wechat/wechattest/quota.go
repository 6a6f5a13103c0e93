package wechattest

import (
	"strings"
	"time"
)

// usage counts an account's calls. The zero value is ready to use. Guarded by
// Server.mu.
type usage struct {
	day      string
	daily    map[string]int // by path
	minute   int64
	minutely int // to stable_token
	month    string
	clears   int
}

// dayOf returns the day on which a call counts.
func dayOf(now time.Time) string { return now.In(chinaStandardTime()).Format("20060102") }

// turn resets the counts of a past day or minute.
func (u *usage) turn(now time.Time) {
	if day := dayOf(now); day != u.day || u.daily == nil {
		u.day, u.daily = day, make(map[string]int)
	}
	if minute := now.Unix() / 60; minute != u.minute {
		u.minute, u.minutely = minute, 0
	}
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

// spend counts a call against the quotas. It returns an errcode if one is used up,
// or 0.
func (s *Server) spend(r *request, a *account) int {
	u := &a.usage
	u.turn(r.now)
	if r.path == pathStable {
		if u.minutely >= s.knobs.MinuteStable {
			return codeMinuteQuota
		}
		u.minutely++
	}
	if u.daily[r.path] >= s.dailyLimit(a, r.path) {
		return codeDailyQuota
	}
	u.daily[r.path]++
	return 0
}

func (s *Server) dailyLimit(a *account, path string) int {
	if strings.HasPrefix(path, componentPrefix) {
		return s.knobs.DailyComponent
	}
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

// dailyCalls names a count of calls of one day.
type dailyCalls struct{ day, appID, path string }

// DailyCalls returns how often a path was called for an account or a component, by day
// ("20060102", UTC+8), calls that were refused included. api_authorizer_token counts for
// the component and for the authorizer.
func (s *Server) DailyCalls(appID, path string) map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]int)
	for key, n := range s.daily {
		if key.appID == appID && key.path == path {
			out[key.day] += n
		}
	}
	return out
}

// countLocked counts a call for its account, and for the authorizer that it names.
func (s *Server) countLocked(c *Call) {
	day := dayOf(c.Started)
	s.daily[dailyCalls{day, c.AppID, c.Path}]++
	if c.Authorizer != "" {
		s.daily[dailyCalls{day, c.Authorizer, c.Path}]++
	}
}
