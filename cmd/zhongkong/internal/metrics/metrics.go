// Package metrics exports the state of a process and of its accounts to
// Prometheus. No metric holds a token.
//
// It writes the text format by itself. Prometheus' own client, linked, costs each start
// of the program 0.75 ms and the binary 2.4 MB. It gathers a scrape as protobuf messages
// before it writes one, which takes two and a half times as long.
package metrics

import (
	"runtime"
	"sync"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/tokenfile"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
)

// Metrics counts what a coordinator does, and reads the state of its accounts
// whenever it is scraped. It is safe for concurrent use.
type Metrics struct {
	mu         sync.Mutex
	collectors []collector // never modified but by append

	refreshes     *vector
	duration      *vector
	notifications *vector
	unreachable   *vector
	datagrams     *vector
}

// Build says what the program was built of. Commit and Date, the commit's in RFC 3339, are
// empty where they are not known.
type Build struct{ Version, Commit, Date string }

// New returns metrics of which every counter is 0. Its Observe belongs into the
// coordinator's Config; the coordinator is then passed to Follow.
func New(b Build) *Metrics {
	m := &Metrics{
		refreshes: counters("refreshes_total",
			"Refreshes that this process tried, by why and by how they ended: stored; superseded by a newer attempt; current, when "+
				"another process was first; throttled by a limit; or the kind of failure: unknown, busy, later, parent, refused.",
			"account", "reason", "result"),
		duration: histograms("source_duration_seconds", "How long the issuer took, by result: ok or the kind of failure.",
			[]float64{.02, .05, .1, .2, .5, 1, 2, 5, 10}, "result"),
		notifications: counters("notifications_total", "Notifications that arrived from other processes and this one, by event.", "event"),
		unreachable:   counters("store_errors_total", "Operations on Redis that failed because it could not be reached."),
		datagrams:     counters("datagrams_total", "Datagrams that arrived, by what became of them.", "outcome"),
	}
	m.unreachable.of("") // 0 until there is one
	build := describe(gauge, "build_info", "Always 1; the labels say what this process was built of, and by which Go.", "version", "commit", "date", "goversion")
	m.follow(func(s *scrape) { s.send(build, 1, b.Version, b.Commit, b.Date, runtime.Version()) })
	for _, v := range []*vector{m.refreshes, m.duration, m.notifications, m.unreachable, m.datagrams} {
		m.follow(v.collect)
	}
	m.follow(goCollector())
	m.follow(processCollector())
	return m
}

func (m *Metrics) follow(c collector) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.collectors = append(m.collectors, c)
}

// Observe counts an observation. It does not block.
func (m *Metrics) Observe(o coordinator.Observation) {
	refreshed := func(result string) { m.refreshes.count(o.Account, string(o.Reason), result) }
	switch o.Kind {
	case coordinator.NotCalled:
		if o.Failure != nil {
			refreshed(string(o.Failure.Kind))
		}
	case coordinator.Fetched:
		result := "ok"
		if o.Failure != nil {
			result = string(o.Failure.Kind)
			refreshed(result)
		}
		m.duration.observe(o.Took.Seconds(), result)
	case coordinator.Committed:
		refreshed("stored")
	case coordinator.Superseded, coordinator.Current, coordinator.Throttled:
		refreshed(string(o.Kind))
	case coordinator.Notified:
		if o.Event != nil {
			m.notifications.count(string(o.Event.Kind))
		}
	case coordinator.Unreachable:
		m.unreachable.count()
	}
}

// Datagram counts a datagram.
func (m *Metrics) Datagram(outcome string) { m.datagrams.count(outcome) }

// Follow makes each scrape read the state of zk's accounts. It is called once.
func (m *Metrics) Follow(zk *coordinator.Coordinator) {
	m.follow(accountCollector(zk))
}

// FollowHTTP makes each scrape read what h has answered and which connections s
// has closed. It is called once.
func (m *Metrics) FollowHTTP(h HTTP, s Server) { m.follow(httpCollector(h, s)) }

// FollowStore makes each scrape read what a store has counted. It is called once.
func (m *Metrics) FollowStore(stats func() redisstore.Stats) {
	problems := describe(counter, "store_problems_total", "Problems with Redis that made no operation fail, by kind: unconfirmed, a new token that too few "+
		"replicas confirmed in time, so a failover may lose it; unreadable, a notification that could not be decoded; orphaned, a lock that "+
		"was released because it was unknown whether this process had got it.", "kind")
	m.follow(func(to *scrape) {
		s := stats()
		to.sendEach(problems, map[string]uint64{"unconfirmed": s.Unconfirmed, "unreadable": s.Unreadable, "orphaned": s.Orphans})
	})
}

// FollowLog makes each scrape read the number of lines that the log has dropped.
// It is called once.
func (m *Metrics) FollowLog(dropped func() uint64) {
	lines := describe(counter, "log_lines_dropped_total", "Lines of the log that were dropped because what reads it was gone or too slow.")
	m.follow(func(to *scrape) { to.send(lines, float64(dropped())) })
}

// FollowFiles makes each scrape read what has become of the token files. It is called
// once.
func (m *Metrics) FollowFiles(stats func() []tokenfile.Stats) {
	current := describe(gauge, "file_current", "1 while a token file has the newest token of this process; 0 while it cannot be written, or there was no token yet.", "account", "path")
	writes := describe(counter, "file_writes_total", "Changes of a token file: written; and failed, the attempts that changed nothing.", "account", "path", "result")
	notifications := describe(counter, "file_notifications_total", "Runs of the command of a token file: done, or failed.", "account", "path", "result")
	m.follow(func(to *scrape) {
		for _, s := range stats() {
			to.send(current, truth(s.Current), s.Account, s.Path)
			to.sendEach(writes, map[string]uint64{"written": s.Written, "failed": s.Failed}, s.Account, s.Path)
			to.sendEach(notifications, map[string]uint64{"done": s.Notified, "failed": s.NotifyFailed}, s.Account, s.Path)
		}
	})
}

func truth(v bool) float64 {
	if v {
		return 1
	}
	return 0
}
