// Package metrics tells Prometheus how a process and its accounts are. There is
// no token in it.
package metrics

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// HTTP is what answers callers, as far as it is counted; *httpapi.API is one.
type HTTP interface {
	// Served calls f for each endpoint and status that was answered.
	Served(f func(endpoint string, status int, n uint64))
	StaleServed() uint64
	Checks(f func(result string, n uint64))
	Holding() int
	Streams() int
}

// Metrics counts what a coordinator does and, when it is scraped, reads how
// its accounts are.
type Metrics struct {
	version string
	started time.Time
	zk      *coordinator.Coordinator // nil until Follow
	http    HTTP                     // nil until FollowHTTP
	dropped func() uint64            // lines of the log; nil until FollowLog

	refreshes     *family
	duration      *family
	notifications *family
	unreachable   *family
	datagrams     *family
}

// New returns metrics that have counted nothing yet. Its Observe goes into the
// coordinator's Config, the coordinator then to Follow.
func New(version string) *Metrics {
	return &Metrics{
		version: version,
		started: time.Now(),
		refreshes: newCounter("zhongkong_refreshes_total",
			"Refreshes that this process tried, by why and by how they ended: stored; superseded by a newer attempt; current, when "+
				"another process was first; throttled by a limit; or the kind of failure: unknown, busy, later, refused.",
			"account", "reason", "result"),
		duration: newHistogram("zhongkong_source_duration_seconds",
			"How long the issuer took, by result: ok or the kind of failure.",
			[]float64{.02, .05, .1, .2, .5, 1, 2, 5, 10}, "result"),
		notifications: newCounter("zhongkong_notifications_total",
			"Notifications that arrived from other processes and this one, by event.", "event"),
		unreachable: newCounter("zhongkong_store_errors_total",
			"Operations on Redis that failed because it could not be reached."),
		datagrams: newCounter("zhongkong_datagrams_total",
			"Datagrams that arrived, by what became of them.", "outcome"),
	}
}

// Observe counts o. It is safe for concurrent use and quick.
func (m *Metrics) Observe(o coordinator.Observation) {
	refreshed := func(result string) { m.refreshes.add(1, o.Account, string(o.Reason), result) }
	switch o.Kind {
	case coordinator.Fetched:
		result := "ok"
		if o.Failure != nil {
			result = string(o.Failure.Kind)
			refreshed(result)
		}
		m.duration.add(o.Took.Seconds(), result)
	case coordinator.Committed:
		refreshed("stored")
	case coordinator.Superseded, coordinator.Current, coordinator.Throttled:
		refreshed(string(o.Kind))
	case coordinator.Notified:
		if o.Event != nil {
			m.notifications.add(1, string(o.Event.Kind))
		}
	case coordinator.Unreachable:
		m.unreachable.add(1)
	}
}

// Datagram counts a datagram.
func (m *Metrics) Datagram(outcome string) { m.datagrams.add(1, outcome) }

// Follow has the state of zk's accounts read at each scrape. It is called
// before the first one.
func (m *Metrics) Follow(zk *coordinator.Coordinator) { m.zk = zk }

// FollowHTTP has what h answered read at each scrape. It is called before the
// first one.
func (m *Metrics) FollowHTTP(h HTTP) { m.http = h }

// FollowLog has the number of lines that the log has dropped read at each
// scrape. It is called before the first one.
func (m *Metrics) FollowLog(dropped func() uint64) { m.dropped = dropped }

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
		writeStats(w, m.zk)
		writeAccounts(w, m.zk)
	}
	for _, f := range []*family{m.refreshes, m.duration, m.notifications, m.unreachable, m.datagrams} {
		f.write(w)
	}
	if m.http != nil {
		writeHTTP(w, m.http)
	}
	if m.dropped != nil {
		const dropped = "zhongkong_log_lines_dropped_total"
		head(w, dropped, "counter", "Lines of the log that were dropped because what reads it was gone or too slow.")
		sample(w, dropped, "", float64(m.dropped()))
	}
	writeProcess(w, m.started)
}

// writeHTTP writes what callers were answered.
func writeHTTP(w io.Writer, h HTTP) {
	const requests = "zhongkong_http_requests_total"
	head(w, requests, "counter", "Requests answered, by endpoint and status. Under /cgi-bin/, where WeChat answers everything with 200, "+
		"the status that it would have elsewhere; 499: the client went away.")
	h.Served(func(endpoint string, status int, n uint64) {
		sample(w, requests, labelPairs([]string{"endpoint", "code"}, []string{endpoint, strconv.Itoa(status)}), float64(n))
	})
	one := func(name, kind, help string, v float64) {
		head(w, name, kind, help)
		sample(w, name, "", v)
	}
	one("zhongkong_stale_served_total", "counter", "Answers with a token that was marked stale.", float64(h.StaleServed()))
	const checks = "zhongkong_token_checks_total"
	head(w, checks, "counter", "Requests of the drop-in that reported a rejected token by asking for it again, by result: good, rejected and failed are "+
		"checks at the issuer, limited had none, because one had begun less than 10 s before.")
	h.Checks(func(result string, n uint64) {
		sample(w, checks, labelPairs([]string{"result"}, []string{result}), float64(n))
	})
	one("zhongkong_http_holding", "gauge", "Requests that wait for a newer token.", float64(h.Holding()))
	one("zhongkong_http_streams", "gauge", "Event streams that are open.", float64(h.Streams()))
}
