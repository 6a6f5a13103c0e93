package metrics

import (
	"io"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// writeStats writes what concerns all accounts together.
func writeStats(w io.Writer, zk *coordinator.Coordinator) {
	connected := 0.0
	if zk.Connected() {
		connected = 1
	}
	s := zk.Stats()
	for _, one := range []struct {
		name, kind, help string
		v                float64
	}{
		{"store_connected", "gauge", "1 while notifications from Redis arrive.", connected},
		{"waiters", "gauge", "Calls that wait for a token right now.", float64(s.Waiters)},
		{"lock_waits_total", "counter", "Times another process held the lock.", float64(s.LocksTaken)},
		{"missed_notifications_total", "counter", "Newer tokens found that no notification had told of.", float64(s.Missed)},
		{"store_disconnects_total", "counter", "Times the notifications stopped.", float64(s.Disconnects)},
		{"restores_total", "counter", "Tokens put back that Redis had lost.", float64(s.Restores)},
		{"superseded_commits_total", "counter", "Tokens not stored, because a newer attempt had begun.", float64(s.Superseded)},
		{"conflicts_seen_total", "counter", "Reports to this process that show somebody outside fetching.", float64(s.Conflicts)},
	} {
		head(w, "zhongkong_"+one.name, one.kind, one.help)
		sample(w, "zhongkong_"+one.name, "", one.v)
	}
}

// reading is a gauge of an account. Its value is absent without ok.
type reading struct {
	name, help string
	of         func(coordinator.Status) (v float64, ok bool)
}

// always makes a reading of what is never absent.
func always(of func(coordinator.Status) float64) func(coordinator.Status) (float64, bool) {
	return func(s coordinator.Status) (float64, bool) { return of(s), true }
}

// readings are all gauges of an account, read from memory.
func readings() []reading {
	return []reading{
		{"token_ttl_seconds", "For how much longer the current token is served; 0 without a token.",
			always(func(s coordinator.Status) float64 { return s.Record.TTL.Seconds() })},
		{"token_age_seconds", "How long ago the current token was issued; absent without one.",
			func(s coordinator.Status) (float64, bool) {
				return s.Record.Age().Seconds(), s.Record.Usable()
			}},
		{"token_generation", "The generation of the token in this process: the same in all of a fleet, but for a moment.",
			func(s coordinator.Status) (float64, bool) { return float64(s.Record.Generation), s.Record.Usable() }},
		{"next_refresh_seconds", "Until the next refresh, by the schedule and not before a failure allows it; negative when it is late, absent when it is not known.",
			func(s coordinator.Status) (float64, bool) {
				return time.Until(s.NextRefresh).Seconds(), !s.NextRefresh.IsZero()
			}},
		{"calls_today", "Calls to the issuer today (UTC+8), of all processes, as last read.",
			always(func(s coordinator.Status) float64 { return float64(s.CallsToday) })},
		{"calls_per_day", "The daily budget of calls.",
			always(func(s coordinator.Status) float64 { return float64(s.Limits.PerDay) })},
		{"open_attempts", "Calls to the issuer whose outcome nobody has settled.",
			always(func(s coordinator.Status) float64 { return float64(s.OpenAttempts) })},
		{"failures_in_a_row", "Failed calls since the last success, of all processes.",
			always(func(s coordinator.Status) float64 {
				if s.Failure == nil {
					return 0
				}
				return float64(s.Failure.InARow)
			})},
		{"conflicts", "Times somebody outside was seen to fetch tokens for the account.",
			always(func(s coordinator.Status) float64 { return float64(s.Conflicts) })},
	}
}

func writeAccounts(w io.Writer, zk *coordinator.Coordinator) {
	accounts := zk.Accounts()
	statuses := make([]coordinator.Status, 0, len(accounts))
	for _, a := range accounts {
		statuses = append(statuses, a.Status())
	}
	for _, r := range readings() {
		name := "zhongkong_" + r.name
		head(w, name, "gauge", r.help)
		for _, s := range statuses {
			if v, ok := r.of(s); ok {
				sample(w, name, labelPairs([]string{"account"}, []string{s.Name}), v)
			}
		}
	}
}
