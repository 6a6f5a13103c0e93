package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
)

// The users that forge. They have the rights that docs/redis.md grants, and no other.
const (
	readingForger    = "zk-forging-reader"    // may demand refreshes
	refreshingForger = "zk-forging-refresher" // may write and publish to every channel
)

// forgedRecord is the only forgery that makes the record in the store unusable. Until a
// refresh replaces it, a process without a token returns an error about it.
const forgedRecord = "forged: a generation in the record"

// forgedFaults are messages and values that zhongkong never sends or writes. None has a
// plausible token: the protocol does not protect against a user with the right to write
// one, and it would be served until the next refresh.
func forgedFaults() []fault {
	one := func(name string, extra int, cost, as string, command func(f *forgery) []any) fault {
		return fault{
			name: name, lane: laneForged, weight: 1, extra: extra, cost: cost,
			inject: func(tb *testbed, r *rand.Rand) { tb.forge(name, as, r, command) },
		}
	}
	publish := func(channel, format string, args ...any) []any {
		return []any{"publish", keyOf(channel), fmt.Sprintf(format, args...)}
	}
	heard := "one for each refresher that hears of it and not of the others' refreshes"
	kinds := []string{"busy", "refused", "later", "unknown"}
	return []fault{
		one("forged: wanted, newer than any token", 0, "", readingForger, func(f *forgery) []any {
			return publish("wanted", `{"event":"wanted","reason":%q,"generation":%d,"fence":%d}`, f.reason(), f.newer(), f.huge())
		}),
		one("forged: wanted, the current token", 1, "the refresh that a reader with this right may demand", readingForger, func(f *forgery) []any {
			return publish("wanted", `{"event":"wanted","reason":%q,"generation":%d,"fence":%d}`, f.reason(), f.current, f.huge())
		}),
		one("forged: begun, and over at once", 4, heard, refreshingForger, func(f *forgery) []any {
			return publish("begun", `{"event":"begun","fence":%d,"deadline_ms":1}`, f.newer())
		}),
		one("forged: begun, for 278 years", 0, "", refreshingForger, func(f *forgery) []any {
			return publish("begun", `{"event":"begun","fence":%d,"deadline_ms":%d}`, f.newer(), int64(mostMillis))
		}),
		one("forged: refreshed, newer than any token can be", 0, "", refreshingForger, func(f *forgery) []any {
			return publish("refreshed", `{"event":%q,"access_token":"FORGED","generation":%d,"issued_at":%q,"expires_at":%q,"ttl_ms":7200000}`,
				f.pick("refreshed", "restored"), f.huge(), f.rfc3339(0), f.rfc3339(2*time.Hour))
		}),
		one("forged: refreshed, for 278 years", 0, "", refreshingForger, func(f *forgery) []any {
			return publish("refreshed", `{"event":%q,"access_token":"FORGED","generation":%d,"issued_at":%q,"expires_at":"2304-01-01T00:00:00.000Z","ttl_ms":%d}`,
				f.pick("refreshed", "restored"), f.newer(), f.rfc3339(0), int64(mostMillis))
		}),
		one("forged: failed, for 278 years", 4, heard+", where it says that nobody knows the outcome", refreshingForger, func(f *forgery) []any {
			return publish("refreshed", `{"event":"failed","kind":%q,"code":40125,"error":"forged","failures":9,"fence":%d,"at":%q,"retry_ms":%d}`,
				f.pick(kinds...), f.newer(), f.rfc3339(0), int64(mostMillis))
		}),
		one(forgedRecord, 2, "a process without a token cannot use the record: one; one if it is written amid a refresh", refreshingForger, func(f *forgery) []any {
			return []any{"hset", keyOf("token"), "generation", f.huge()}
		}),
		one("forged: the last fence", 1, "one if it is written amid a refresh", refreshingForger, func(f *forgery) []any {
			return []any{"hset", keyOf("state"), "fence", f.huge()}
		}),
		one("forged: a back-off until the end of time", 0, "", refreshingForger, func(f *forgery) []any {
			return []any{"hset", keyOf("state"), "failures", f.huge(), "retry_at", f.huge(), "last_error_at", f.now.UnixMilli(),
				"last_error_kind", f.pick(kinds...), "last_error_code", 40125, "last_error", "forged"}
		}),
		one("forged: the other times in the state", 0, "", refreshingForger, func(f *forgery) []any {
			return []any{"hset", keyOf("state"), "refresh_at", f.huge(), "demanded_at", f.huge(), "paced_until", f.huge(), "conflicts", f.huge()}
		}),
		one("forged: an attempt that is no fence", 1, "the refresh that throws it away", refreshingForger, func(f *forgery) []any {
			return []any{"zadd", keyOf("attempts"), f.pick("1", "inf", "9007199254740991"), f.pick("abc", "-5", "1e999", "\x1b[2J", "")}
		}),
		one("forged: 20,000 attempts", 2, "the refresh that throws them away; one if an attempt under way goes with them", refreshingForger, func(*forgery) []any {
			command := []any{"zadd", keyOf("attempts")}
			for i := range 20_000 {
				command = append(command, 1, i+1)
			}
			return command
		}),
		one("forged: a lock without an end", 2, "amid a refresh: a second one at once, and the one after the superseded commit", refreshingForger, func(*forgery) []any {
			return []any{"set", keyOf("lock"), "forged"}
		}),
		one("forged: a lock for a day", 2, "amid a refresh: a second one at once, and the one after the superseded commit", refreshingForger, func(*forgery) []any {
			return []any{"set", keyOf("lock"), "forged", "px", (24 * time.Hour).Milliseconds()}
		}),
	}
}

// mostMillis is the longest duration that any message may state.
const mostMillis = 1 << 43

// forgery is what a forged message or value is made of.
type forgery struct {
	rng     *rand.Rand
	now     time.Time // by the store's clock
	current uint64    // the generation in the store
}

// huge is a number that can be read, and lies further ahead than any of ours.
func (f *forgery) huge() uint64 { return pick(f.rng, []uint64{1<<53 - 1, 1<<53 - 2, 9e15}) }

// newer is a fence that the store has not handed out, and might.
func (f *forgery) newer() uint64 {
	return uint64(f.now.Add(time.Minute + between(f.rng, 0, time.Hour)).UnixMicro())
}

func (f *forgery) pick(of ...string) string { return pick(f.rng, of) }

func (f *forgery) reason() string { return f.pick("forced", "rejected", "missing") }

func (f *forgery) rfc3339(ahead time.Duration) string {
	return f.now.Add(ahead).UTC().Format("2006-01-02T15:04:05.000Z")
}

// forge runs a command that zhongkong never would. An error reply of the server is a
// mistake of this program, unless the server is unreachable or not the master.
func (tb *testbed) forge(name, as string, r *rand.Rand, command func(*forgery) []any) {
	m := tb.servers.master()
	if m == nil {
		return
	}
	now, err := m.now()
	if err != nil {
		return
	}
	args := command(&forgery{rng: r, now: now, current: tb.stored()})
	end := tb.recorder.begin(theForger, name)
	defer end()
	err = m.as(as, args...)
	for _, mistake := range []string{"ERR", "NOPERM", "WRONGPASS", "WRONGTYPE"} {
		if redis.HasErrorPrefix(err, mistake) {
			tb.recorder.violation(fmt.Sprintf("%s by %s cannot be done: %v", name, as, err))
		}
	}
}

// credible returns a generation, or 0 for one that no store hands out.
func credible(generation uint64) uint64 {
	if !coordinator.Fence(generation).Credible(time.Now()) {
		return 0
	}
	return generation
}
