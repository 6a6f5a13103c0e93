// Package metrics tells Prometheus how the accounts of a coordinator are.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Metrics counts what a coordinator does and, when it is scraped, reads how
// its accounts are.
type Metrics struct {
	registry *prometheus.Registry

	fetches   *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	events    *prometheus.CounterVec
	throttled *prometheus.CounterVec
}

// New returns metrics that count nothing yet. Pass Observe to the
// coordinator's Config and the coordinator to Follow.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "zhongkong_fetches_total",
			Help: "Calls of this process to the issuer, by reason and by result: ok or the kind of failure.",
		}, []string{"account", "reason", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "zhongkong_fetch_duration_seconds",
			Help:    "How long the issuer took to answer.",
			Buckets: []float64{.02, .05, .1, .2, .5, 1, 2, 5, 10},
		}, []string{"account"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "zhongkong_events_total",
			Help: "What this process did or saw besides: committed, superseded, restored, conflicted, missed, lock taken, disconnect...",
		}, []string{"event"}),
		throttled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "zhongkong_throttled_total",
			Help: "Refreshes that a limit forbade.",
		}, []string{"account", "reason"}),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "zhongkong_build_info", Help: "Always 1; the version is in the label.",
	}, []string{"version"})
	build.WithLabelValues(version).Set(1)
	m.registry.MustRegister(m.fetches, m.duration, m.events, m.throttled, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Observe counts o. It is the coordinator's Config.Observe.
func (m *Metrics) Observe(o coordinator.Observation) {
	switch o.Kind {
	case coordinator.Fetched:
		result := "ok"
		if o.Failure != nil {
			result = string(o.Failure.Kind)
		}
		m.fetches.WithLabelValues(o.Account, string(o.Reason), result).Inc()
		m.duration.WithLabelValues(o.Account).Observe(o.Took.Seconds())
	case coordinator.Throttled:
		m.throttled.WithLabelValues(o.Account, string(o.Reason)).Inc()
	default:
		m.events.WithLabelValues(string(o.Kind)).Inc()
	}
}

// Follow has the state of c's accounts read at each scrape.
func (m *Metrics) Follow(c *coordinator.Coordinator) {
	m.registry.MustRegister(newAccounts(c))
}

// Handler answers GET /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

// accounts is a prometheus.Collector: it reads the state when it is asked, so
// that nothing has to keep gauges up to date.
type accounts struct {
	c *coordinator.Coordinator

	age, ttl, next, calls, budget, open, failures, conflicts *prometheus.Desc
	connected, waiters                                       *prometheus.Desc
}

var _ prometheus.Collector = (*accounts)(nil)

func newAccounts(c *coordinator.Coordinator) *accounts {
	of := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("zhongkong_"+name, help, []string{"account"}, nil)
	}
	return &accounts{
		c:         c,
		age:       of("token_age_seconds", "How long ago the current token was issued; absent without a token."),
		ttl:       of("token_ttl_seconds", "For how much longer the current token is served; 0 without a token."),
		next:      of("next_refresh_seconds", "Until the next scheduled refresh; negative when it is late."),
		calls:     of("calls_today", "Calls to the issuer today (UTC+8), of all processes."),
		budget:    of("calls_per_day", "The daily budget of calls."),
		open:      of("open_attempts", "Calls to the issuer whose outcome nobody has settled."),
		failures:  of("failures_in_a_row", "Failed calls since the last success, of all processes."),
		conflicts: of("conflicts", "Times somebody outside was seen to fetch tokens for the account."),
		connected: prometheus.NewDesc("zhongkong_store_connected", "1 while notifications from Redis arrive.", nil, nil),
		waiters:   prometheus.NewDesc("zhongkong_waiters", "Calls that wait for a token right now.", nil, nil),
	}
}

// Describe sends every description.
func (a *accounts) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		a.age, a.ttl, a.next, a.calls, a.budget, a.open, a.failures, a.conflicts, a.connected, a.waiters,
	} {
		ch <- d
	}
}

// Collect reads the state of every account from memory.
func (a *accounts) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	connected := 0.0
	if a.c.Connected() {
		connected = 1
	}
	gauge(a.connected, connected)
	gauge(a.waiters, float64(a.c.Stats().Waiters))
	for _, account := range a.c.Accounts() {
		s := account.Status()
		gauge(a.ttl, s.Record.TTL.Seconds(), s.Name)
		gauge(a.calls, float64(s.CallsToday), s.Name)
		gauge(a.budget, float64(s.Limits.PerDay), s.Name)
		gauge(a.open, float64(s.OpenCalls), s.Name)
		gauge(a.conflicts, float64(s.Conflicts), s.Name)
		failures := 0
		if s.Failure != nil {
			failures = s.Failure.InARow
		}
		gauge(a.failures, float64(failures), s.Name)
		if s.Record.Usable() {
			// By the store's clock: life and TTL are durations of it.
			age := s.Record.Life() - coordinator.Margin(s.Record.Life()) - s.Record.TTL
			gauge(a.age, age.Seconds(), s.Name)
		}
		if !s.NextRefresh.IsZero() {
			gauge(a.next, time.Until(s.NextRefresh).Seconds(), s.Name)
		}
	}
}
