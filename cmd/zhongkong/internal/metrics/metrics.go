// Package metrics tells Prometheus how the accounts of a coordinator are.
package metrics

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Metrics counts what a coordinator does and, when it is scraped, reads how
// its accounts are.
type Metrics struct {
	version string
	started time.Time
	zk      *coordinator.Coordinator // nil until Follow

	fetches   *family
	duration  *family
	events    *family
	throttled *family
}

// New returns metrics that have counted nothing yet. Its Observe goes into the
// coordinator's Config, the coordinator then to Follow.
func New(version string) *Metrics {
	return &Metrics{
		version: version,
		started: time.Now(),
		fetches: newCounter("zhongkong_fetches_total",
			"Calls of this process to the issuer; result is ok or the kind of failure.",
			"account", "reason", "result"),
		duration: newHistogram("zhongkong_fetch_duration_seconds",
			"How long the issuer took to answer.",
			[]float64{.02, .05, .1, .2, .5, 1, 2, 5, 10}, "account"),
		events: newCounter("zhongkong_events_total",
			"What else this process did or saw: committed, superseded, restored, conflicted, missed, lock taken, disconnect and so on.",
			"event"),
		throttled: newCounter("zhongkong_throttled_total",
			"Refreshes that a limit forbade.", "account", "reason"),
	}
}

// Observe counts o. It is safe for concurrent use and quick.
func (m *Metrics) Observe(o coordinator.Observation) {
	switch o.Kind {
	case coordinator.Fetched:
		result := "ok"
		if o.Failure != nil {
			result = string(o.Failure.Kind)
		}
		m.fetches.add(1, o.Account, string(o.Reason), result)
		m.duration.add(o.Took.Seconds(), o.Account)
	case coordinator.Throttled:
		m.throttled.add(1, o.Account, string(o.Reason))
	default:
		m.events.add(1, string(o.Kind))
	}
}

// Follow has the state of zk's accounts read at each scrape. It is called
// before the first one.
func (m *Metrics) Follow(zk *coordinator.Coordinator) { m.zk = zk }

// ServeHTTP answers GET /metrics.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	m.write(&b)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // the scraper has gone: nothing to tell it
}

func (m *Metrics) write(w io.Writer) {
	head(w, "zhongkong_build_info", "gauge", "Always 1; the version is in the label.")
	sample(w, "zhongkong_build_info", labelPairs([]string{"version"}, []string{m.version}), 1)
	if m.zk != nil {
		writeAccounts(w, m.zk)
	}
	for _, f := range []*family{m.fetches, m.duration, m.throttled, m.events} {
		f.write(w)
	}
	writeProcess(w, m.started)
}

// reading is a gauge of an account. Its value is absent without ok.
type reading struct {
	name, help string
	of         func(coordinator.Status) (v float64, ok bool)
}

// readings are all gauges of an account, read from memory.
func readings() []reading {
	always := func(of func(coordinator.Status) float64) func(coordinator.Status) (float64, bool) {
		return func(s coordinator.Status) (float64, bool) { return of(s), true }
	}
	return []reading{
		{"token_ttl_seconds", "For how much longer the current token is served; 0 without a token.",
			always(func(s coordinator.Status) float64 { return s.Record.TTL.Seconds() })},
		{"token_age_seconds", "How long ago the current token was issued; absent without one.",
			func(s coordinator.Status) (float64, bool) {
				// From durations of the store's clock; ours may be wrong.
				life := s.Record.Life()
				return (life - coordinator.Margin(life) - s.Record.TTL).Seconds(), s.Record.Usable()
			}},
		{"token_generation", "The generation of the token in this process: the same in all of a fleet, but for a moment.",
			func(s coordinator.Status) (float64, bool) { return float64(s.Record.Generation), s.Record.Usable() }},
		{"next_refresh_seconds", "Until the next scheduled refresh; negative when it is late, absent when it is not known.",
			func(s coordinator.Status) (float64, bool) {
				return time.Until(s.NextRefresh).Seconds(), !s.NextRefresh.IsZero()
			}},
		{"calls_today", "Calls to the issuer today (UTC+8), of all processes, as last read.",
			always(func(s coordinator.Status) float64 { return float64(s.CallsToday) })},
		{"calls_per_day", "The daily budget of calls.",
			always(func(s coordinator.Status) float64 { return float64(s.Limits.PerDay) })},
		{"open_attempts", "Calls to the issuer whose outcome nobody has settled.",
			always(func(s coordinator.Status) float64 { return float64(s.OpenCalls) })},
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
	connected := 0.0
	if zk.Connected() {
		connected = 1
	}
	head(w, "zhongkong_store_connected", "gauge", "1 while notifications from Redis arrive.")
	sample(w, "zhongkong_store_connected", "", connected)
	head(w, "zhongkong_waiters", "gauge", "Calls that wait for a token right now.")
	sample(w, "zhongkong_waiters", "", float64(zk.Stats().Waiters))

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
