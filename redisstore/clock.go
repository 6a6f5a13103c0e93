package redisstore

import (
	"sync/atomic"
	"time"
)

// serverClock estimates the clock of Redis: how far it is ahead of this machine's, by
// the last answer that contained the time. The zero value is this machine's clock.
type serverClock struct{ ahead atomic.Int64 }

// set records that it is t on the server.
func (c *serverClock) set(t time.Time) { c.ahead.Store(int64(t.Sub(time.Now().Round(0)))) }

// now returns the server's time. It is wrong by the time that the answer took, and by
// any change of one of the clocks since.
func (c *serverClock) now() time.Time {
	return time.Now().Round(0).Add(time.Duration(c.ahead.Load()))
}

// issuersDay returns the issuer's day (UTC+8) as it is written in keys.
func issuersDay(t time.Time) string { return t.UTC().Add(8 * time.Hour).Format("20060102") }

// day returns the issuer's day by the estimate of the server's clock.
func (s *Store) day() string { return issuersDay(s.clock.now()) }

// otherDay returns the day if a script has done nothing because it was given the key
// of another day, else "". It sets the clock.
func (s *Store) otherDay(answer any) string {
	list, asked := askedForDay(answer)
	if !asked {
		return ""
	}
	s.serverNow(new(decoder), list[1])
	day, _ := list[2].(string)
	return day
}

// askedForDay reports whether an answer is { "day", now, YYYYMMDD } (prelude.lua).
func askedForDay(answer any) (list []any, ok bool) {
	list, _ = answer.([]any)
	return list, len(list) == 3 && list[0] == "day"
}
