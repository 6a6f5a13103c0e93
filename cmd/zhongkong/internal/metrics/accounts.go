package metrics

import (
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
)

// stat is a number that concerns all accounts together.
type stat struct {
	*desc
	of func(coordinator.Stats) float64
}

func stats() []stat {
	total := func(name, help string, n func(coordinator.Stats) uint64) stat {
		return stat{describe(counter, name, help), func(s coordinator.Stats) float64 { return float64(n(s)) }}
	}
	return []stat{
		{describe(gauge, "waiters", "Calls that wait for a token right now."),
			func(s coordinator.Stats) float64 { return float64(s.Waiters) }},
		total("lock_waits_total", "Times another process held the lock.", func(s coordinator.Stats) uint64 { return s.LocksTaken }),
		total("missed_notifications_total", "Newer tokens found that no notification had told of.",
			func(s coordinator.Stats) uint64 { return s.Missed }),
		total("store_disconnects_total", "Times the notifications stopped.", func(s coordinator.Stats) uint64 { return s.Disconnects }),
		total("restores_total", "Tokens put back that Redis had lost.", func(s coordinator.Stats) uint64 { return s.Restores }),
		total("superseded_commits_total", "Tokens not stored, because a newer attempt had begun.",
			func(s coordinator.Stats) uint64 { return s.Superseded }),
		total("conflicts_seen_total", "Reports to this process that show an outside program fetching tokens.",
			func(s coordinator.Stats) uint64 { return s.Conflicts }),
	}
}

// accountGauge is a gauge of an account. It has no value where of returns false.
type accountGauge struct {
	*desc
	stored bool // it tells what the store holds, see accountCollector
	of     func(coordinator.Status) (v float64, ok bool)
}

func accountGauges() []accountGauge {
	one := func(name, help string, v func(coordinator.Status) (float64, bool)) accountGauge {
		return accountGauge{desc: describe(gauge, name, help, "account"), of: v}
	}
	stored := func(name, help string, v func(coordinator.Status) (float64, bool)) accountGauge {
		return accountGauge{desc: describe(gauge, name, help, "account"), stored: true, of: v}
	}
	always := func(v func(coordinator.Status) float64) func(coordinator.Status) (float64, bool) {
		return func(s coordinator.Status) (float64, bool) { return v(s), true }
	}
	withToken := func(v func(coordinator.Status) float64) func(coordinator.Status) (float64, bool) {
		return func(s coordinator.Status) (float64, bool) { return v(s), s.Record.Usable() }
	}
	return []accountGauge{
		one("token_ttl_seconds", "For how much longer the current token is served; 0 without a token.",
			always(func(s coordinator.Status) float64 { return s.Record.TTL.Seconds() })),
		one("token_age_seconds", "How long ago the current token was issued; absent without one.",
			withToken(func(s coordinator.Status) float64 { return s.Record.Age().Seconds() })),
		one("token_generation", "The generation of the token in this process: the same in all of a fleet, but for a moment.",
			withToken(func(s coordinator.Status) float64 { return float64(s.Record.Generation) })),
		stored("next_refresh_seconds", "Until the next refresh, by the schedule and not before a failure allows it; negative when it is late, "+
			"absent when it is not known.",
			func(s coordinator.Status) (float64, bool) {
				return time.Until(s.NextRefresh).Seconds(), !s.NextRefresh.IsZero()
			}),
		stored("calls_today", "Calls to the issuer today (UTC+8, or in the period that its limits are about), of all processes, as last read.",
			always(func(s coordinator.Status) float64 { return float64(s.CallsToday) })),
		one("calls_per_day", "The budget of calls for the same time as calls_today; absent in a process that only reads the account's tokens, "+
			"because the source declares it.",
			func(s coordinator.Status) (float64, bool) {
				return float64(s.Limits.PerDay), s.Role == coordinator.Refresher
			}),
		stored("open_attempts", "Calls to the issuer whose outcome is not known yet.",
			always(func(s coordinator.Status) float64 { return float64(s.OpenAttempts) })),
		stored("failures_in_a_row", "Failed calls since the last success, of all processes.",
			always(func(s coordinator.Status) float64 {
				if s.Failure == nil {
					return 0
				}
				return float64(s.Failure.InARow)
			})),
		one("parent_lacks_token", "1 while the source cannot be asked because the account whose token it needs has none; absent without such a parent.",
			func(s coordinator.Status) (float64, bool) {
				if s.Blocked != nil {
					return 1, true
				}
				return 0, s.Parent != ""
			}),
		stored("conflicts", "Times an outside program was seen to fetch tokens of the account.",
			always(func(s coordinator.Status) float64 { return float64(s.Conflicts) })),
	}
}

// grantEvents are what Stats counts of grants, by the label's value.
func grantEvents(s coordinator.Stats) map[string]uint64 {
	return map[string]uint64{
		"presented": s.GrantsPresented, "probed": s.GrantsProbed, "kept": s.GrantsKept, "consented": s.GrantsConsented,
		"restored": s.GrantsRestored, "unconfirmed": s.GrantsUnconfirmed, "doubted": s.GrantsDoubted, "lost": s.GrantsLost,
	}
}

// grantCollector returns what sends the state of an account's grant, if it has one.
func grantCollector() func(to *scrape, s coordinator.Status, now time.Time) {
	status := describe(gauge, "grant_status", "1 for what the account's grant is worth: good; presented, while a refresh is under way; doubt, when it may be used up; "+
		"dead or none, when a person has to consent (by consent), or the issuer to push (by push).", "account", "condition", "by")
	ends := describe(gauge, "grant_ends_seconds", "Until the account's grant ends: idle, unless it is used; fixed, whatever is done; pushed, unless the issuer pushes another token.",
		"account", "how")
	life := describe(gauge, "grant_life_seconds", "How long the life is altogether that ends in grant_ends_seconds: since the token was used or pushed, "+
		"or since the consent if the end is fixed.", "account", "how")
	age := describe(gauge, "grant_age_seconds", "How long ago the newest token of the account's grant was stored.", "account")
	return func(to *scrape, s coordinator.Status, now time.Time) {
		g := wire.NewGrantFromMemory(s.Grant)
		if g == nil {
			return
		}
		by := "consent"
		if g.Pushed {
			by = "push"
		}
		to.send(status, 1, s.Name, string(g.Condition), by)
		g.Ends(func(how string, at time.Time) {
			to.send(ends, at.Sub(now).Seconds(), s.Name, how)
			if d := g.Life(how, at); d > 0 {
				to.send(life, d.Seconds(), s.Name, how)
			}
		})
		if !g.ObtainedAt.IsZero() {
			to.send(age, now.Sub(g.ObtainedAt.Time).Seconds(), s.Name)
		}
	}
}

// accountCollector reads the state of a coordinator's accounts from memory. What a process
// has not read from the store yet, or may have missed since it was cut off, it does not send:
// the alerts compare what the processes of a fleet tell, and one that is outdated would raise
// or hide an alert of all.
func accountCollector(zk *coordinator.Coordinator) collector {
	connected := describe(gauge, "store_connected", "1 while notifications from Redis arrive.")
	happened := describe(counter, "grant_events_total", "What happened to grants in this process: tokens presented, or probed as the last resort; answers kept; consented, "+
		"new grants stored; restored, after Redis had lost them; unconfirmed, when Redis did not say that one is durable; doubted and lost, when one became so.", "event")
	stats, gauges, grant := stats(), accountGauges(), grantCollector()
	return func(to *scrape) {
		follows := zk.Connected()
		to.send(connected, truth(follows))
		read := zk.Stats()
		for _, s := range stats {
			to.send(s.desc, s.of(read))
		}
		to.sendEach(happened, grantEvents(read))
		now := time.Now()
		for _, a := range zk.Accounts() {
			status := a.Status()
			known := follows && status.LastRead
			if known {
				grant(to, status, now)
			}
			for _, g := range gauges {
				if v, ok := g.of(status); ok && (known || !g.stored) {
					to.send(g.desc, v, status.Name)
				}
			}
		}
	}
}
