package redisstore

import (
	"fmt"
	"strconv"
	"time"

	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
)

// forge writes or publishes what no process does: numbers further ahead than any can
// be, and messages that no process has sent. None of it may keep the account
// from being refreshed, and each costs a call at most.
func (s *simulation) forge() {
	key := func(kind string) string { return "zhongkong:{" + simAccount + "}:" + kind }
	huge := []string{"9007199254740991", "9007199254740990", "9000000000000000"}[s.rng.IntN(3)]
	publish := func(channel, format string, args ...any) {
		s.redis.Publish(key(channel), fmt.Sprintf(format, args...))
	}
	set := func(kind string, fieldsAndValues ...string) {
		if s.redis.Exists(key(kind)) {
			s.redis.HSet(key(kind), fieldsAndValues...)
		}
	}
	now := time.Now()
	soon := strconv.FormatInt(now.Add(s.upTo(time.Hour)).UnixMicro(), 10) // a fence that can be

	s.faults++
	switch s.rng.IntN(13) {
	case 0:
		publish("wanted", `{"event":"wanted","reason":"%s","generation":%s,"fence":%s}`,
			[]string{"forced", "rejected", "missing"}[s.rng.IntN(3)], huge, huge)
	case 1:
		publish("begun", `{"event":"begun","fence":%s,"deadline_ms":1}`, huge)
	case 2:
		publish("begun", `{"event":"begun","fence":%s,"deadline_ms":1}`, soon)
	case 3:
		publish("begun", `{"event":"begun","fence":%s,"deadline_ms":%d}`, soon, int64(layout.MaxMillis))
	case 4:
		publish("refreshed", `{"event":"refreshed","access_token":"EVIL","generation":%s,"issued_at":"2026-01-01T00:00:00Z",`+
			`"expires_at":"2026-01-01T02:00:00Z","ttl_ms":7200000}`, huge)
	case 5:
		publish("refreshed", `{"event":"restored","access_token":"EVIL","generation":%s,"issued_at":"2026-01-01T00:00:00Z",`+
			`"expires_at":"9999-12-31T00:00:00Z","ttl_ms":%d}`, soon, int64(layout.MaxMillis))
	case 6:
		publish("refreshed", `{"event":"failed","kind":"busy","error":"x","failures":9,"fence":%s,"at":"%s","retry_ms":%d}`,
			soon, now.UTC().Format(time.RFC3339), int64(layout.MaxMillis))
	case 7:
		set("state", "fence", huge)
	case 8:
		// Failures that were never counted are none, and a wait without failures has no effect.
		set("state", "failures", []string{"9", huge}[s.rng.IntN(2)], "retry_at", huge, "last_error_at", strconv.FormatInt(now.UnixMilli(), 10),
			"last_error_kind", "busy", "last_error", "x")
	case 9:
		set("state", "refresh_at", huge, "demanded_at", huge, "paced_until", huge, "conflicts", huge)
	case 10:
		set("token", "generation", huge)
	case 11:
		_, _ = s.redis.ZAdd(key("attempts"), float64(s.rng.IntN(2)), []string{"5", "no fence", huge}[s.rng.IntN(3)])
	default:
		_ = s.redis.Set(key("lock"), "nobody") // for ever
	}
}
