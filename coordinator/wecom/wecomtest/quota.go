package wecomtest

import "time"

// window is the time that a quota is for.
type window string

const (
	aMinute window = "minute"
	anHour  window = "hour"
	aDay    window = "day"
)

// quotaKey is what a quota counts.
type quotaKey struct {
	window window
	path   string
	whose  string // a corp, an app, an address, with what it is
}

// quota is a count. The zero value is ready to use.
type quota struct {
	began   time.Time
	used    int
	blocked time.Time // until when all calls fail
}

// spend counts a call. It returns false if the quota is used up: then calls fail until
// the block ends, which lasts 60 s, 60 minutes or until midnight.
func (q *quota) spend(w window, limit int, now time.Time) bool {
	begin := w.begin(now)
	if !q.began.Equal(begin) {
		q.began, q.used = begin, 0
	}
	if now.Before(q.blocked) {
		return false
	}
	q.used++
	if limit == 0 || q.used <= limit {
		return true
	}
	switch w {
	case aMinute:
		q.blocked = now.Add(time.Minute)
	case anHour:
		q.blocked = now.Add(time.Hour)
	case aDay:
		q.blocked = begin.AddDate(0, 0, 1)
	}
	return false
}

func (w window) begin(now time.Time) time.Time {
	switch w {
	case aMinute:
		return now.Truncate(time.Minute)
	case anHour:
		return now.Truncate(time.Hour)
	}
	local := now.In(time.FixedZone("UTC+8", 8*60*60))
	return time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, local.Location())
}

// limit is a quota that a call pays from.
type limit struct {
	window window
	whose  string
	most   int
}

// spend pays a call from all its quotas. It returns the window of the one that is used
// up, "" if none is. The caller holds mu.
func (s *Server) spend(r *request, limits ...limit) (used window) {
	for _, l := range limits {
		key := quotaKey{l.window, r.path, l.whose}
		if s.quotas[key] == nil {
			s.quotas[key] = new(quota)
		}
		if !s.quotas[key].spend(l.window, l.most, s.now()) && used == "" {
			used = l.window
		}
	}
	return used
}

// usual are the quotas of every endpoint.
func (s *Server) usual(r *request, corpID string) []limit {
	k := s.knobs
	return []limit{
		{aMinute, "corp " + corpID, k.CorpMinute},
		{anHour, "corp " + corpID, k.CorpHour},
		{aDay, "corp " + corpID, k.CorpDay},
		{aMinute, "ip " + r.from, k.IPMinute},
		{anHour, "ip " + r.from, k.IPHour},
	}
}

// block reports whether an address is blocked for wrong secrets. The caller holds mu.
func (s *Server) block(r *request) bool { return s.now().Before(s.blocked[r.from]) }

// wrongSecret counts a wrong secret against the address it came from: so many within any
// hour block it. The caller holds mu.
func (s *Server) wrongSecret(r *request) {
	now, within := s.now(), 1
	for i := len(s.calls) - 1; i >= 0 && s.calls[i].At.After(now.Add(-time.Hour)); i-- {
		if c := s.calls[i]; c.From == r.from && isWrongSecret(c.Code) {
			within++
		}
	}
	if s.knobs.WrongSecrets > 0 && within >= s.knobs.WrongSecrets {
		s.blocked[r.from] = now.Add(s.knobs.BlockFor)
	}
}

func isWrongSecret(code int) bool {
	return code == codeBadCredential || code == codeOtherCorp || code == codeBadSuiteSecret
}
