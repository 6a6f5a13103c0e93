package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// HTTP has the counts of the HTTP interface. *httpapi.API is one.
type HTTP interface {
	// Served calls f for each endpoint and status that was answered.
	Served(f func(endpoint string, status int, n uint64))
	StaleServed() uint64
	Checks(f func(result string, n uint64))
	WithoutCredentials() uint64
	Holding() int
	Streams() int
}

// Server has the counts of the server below the HTTP interface. *httpapi.Server is
// one.
type Server interface {
	// ClosedConnections calls f for each kind of connection that was closed to
	// make room for others.
	ClosedConnections(f func(kind string, n uint64))
}

// httpCollector reads the counts of the HTTP interface and of its server.
type httpCollector struct {
	http                                HTTP
	server                              Server
	requests, withoutCredentials        *prometheus.Desc
	stale, checks                       *prometheus.Desc
	holding, streams, closedConnections *prometheus.Desc
}

func newHTTPCollector(h HTTP, s Server) *httpCollector {
	return &httpCollector{
		http: h, server: s,
		requests: desc("http_requests_total", "Requests answered, by endpoint and status. Under /cgi-bin/, where WeChat answers everything "+
			"with 200, the status that it would have elsewhere; 499: the client went away.", "endpoint", "code"),
		withoutCredentials: desc("http_without_credentials_total", "Requests answered with 401 because they had no credentials, such as the "+
			"first one of a browser. They are in zhongkong_http_requests_total, too."),
		closedConnections: desc("http_connections_closed_total", "Connections that were closed at a limit to make room for others, by kind: "+
			"anonymous, no caller had authenticated on it; authenticated, an idle one of a caller.", "kind"),
		stale: desc("stale_served_total", "Answers with a token that was marked stale."),
		checks: desc("token_checks_total", "Requests of the drop-in that reported a rejected token by asking for it again, by result: good, rejected "+
			"and failed are checks at the issuer, limited had none, because one had begun less than 10 s before.", "result"),
		holding: desc("http_holding", "Requests that wait for a newer token."),
		streams: desc("http_streams", "Event streams that are open."),
	}
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("zhongkong_"+name, help, labels, nil)
}

// Describe implements [prometheus.Collector].
func (c *httpCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.requests, c.withoutCredentials, c.stale, c.checks, c.holding, c.streams, c.closedConnections,
	} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *httpCollector) Collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	c.http.Served(func(endpoint string, status int, n uint64) {
		send(c.requests, prometheus.CounterValue, float64(n), endpoint, strconv.Itoa(status))
	})
	c.http.Checks(func(result string, n uint64) { send(c.checks, prometheus.CounterValue, float64(n), result) })
	c.server.ClosedConnections(func(kind string, n uint64) { send(c.closedConnections, prometheus.CounterValue, float64(n), kind) })
	send(c.withoutCredentials, prometheus.CounterValue, float64(c.http.WithoutCredentials()))
	send(c.stale, prometheus.CounterValue, float64(c.http.StaleServed()))
	send(c.holding, prometheus.GaugeValue, float64(c.http.Holding()))
	send(c.streams, prometheus.GaugeValue, float64(c.http.Streams()))
}
