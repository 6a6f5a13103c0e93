package redisstore

import (
	"sync/atomic"
	"time"
)

// serverClock is what this process knows of Redis' clock: how far it is ahead of
// this machine's, by the last answer that named the time. The zero value is
// this machine's clock.
type serverClock struct{ ahead atomic.Int64 }

// set notes that it is t on the server.
func (c *serverClock) set(t time.Time) { c.ahead.Store(int64(t.Sub(time.Now().Round(0)))) }

// now returns the server's time. It is off by the way of the answer, and by
// however much one of the clocks was set since.
func (c *serverClock) now() time.Time {
	return time.Now().Round(0).Add(time.Duration(c.ahead.Load()))
}

// issuersDay names the issuer's day (UTC+8), as in the key that counts its calls.
func issuersDay(t time.Time) string { return t.UTC().Add(8 * time.Hour).Format("20060102") }

// day is the issuer's day by the server's clock, as far as this process knows it.
func (s *Store) day() string { return issuersDay(s.clock.now()) }

// otherDay returns which day it is if that is why a script has done nothing, else
// "". It notes the server's time.
func (s *Store) otherDay(account string, answer any) string {
	list, asked := askedForDay(answer)
	if !asked {
		return ""
	}
	s.serverNow(&decoder{keys: s.keys.Of(account)}, list[1])
	day, _ := list[2].(string)
	return day
}

// askedForDay reports whether an answer is { "day", now, YYYYMMDD } (prelude.lua).
func askedForDay(answer any) (list []any, ok bool) {
	list, _ = answer.([]any)
	return list, len(list) == 3 && list[0] == "day"
}
