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
	// Reads calls f with how often each caller was given each account's token.
	Reads(f func(caller, account string, n uint64))
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
func httpCollector(h HTTP, s Server) collector {
	requests := desc("http_requests_total", "Requests answered, by endpoint and status. Under /cgi-bin/, where WeChat answers everything "+
		"with 200, the status that it would have elsewhere; 499: the client went away.", "endpoint", "code")
	withoutCredentials := desc("http_without_credentials_total", "Requests answered with 401 because they had no credentials, such as the "+
		"first one of a browser. They are in zhongkong_http_requests_total, too.")
	closedConnections := desc("http_connections_closed_total", "Connections that were closed at a limit to make room for others, by kind: "+
		"anonymous, no caller had authenticated on it; authenticated, an idle one of a caller.", "kind")
	stale := desc("stale_served_total", "Answers with a token that was marked stale.")
	checks := desc("token_checks_total", "Requests of the drop-in that reported a rejected token by asking for it again, by result: good, rejected "+
		"and failed are checks at the issuer, limited had none, because one had begun less than 10 s before.", "result")
	reads := desc("token_reads_total", "Times that a caller was given an account's token, or a phantom for it, over HTTP or by a datagram. Beyond "+
		"10,000 pairs the rest is counted for the caller other and no account.", "caller", "account")
	holding := desc("http_holding", "Requests that wait for a newer token.")
	streams := desc("http_streams", "Event streams that are open.")
	return func(send sender) {
		h.Served(func(endpoint string, status int, n uint64) {
			send(requests, prometheus.CounterValue, float64(n), endpoint, strconv.Itoa(status))
		})
		h.Checks(func(result string, n uint64) { send(checks, prometheus.CounterValue, float64(n), result) })
		h.Reads(func(caller, account string, n uint64) {
			send(reads, prometheus.CounterValue, float64(n), caller, account)
		})
		s.ClosedConnections(func(kind string, n uint64) { send(closedConnections, prometheus.CounterValue, float64(n), kind) })
		send(withoutCredentials, prometheus.CounterValue, float64(h.WithoutCredentials()))
		send(stale, prometheus.CounterValue, float64(h.StaleServed()))
		send(holding, prometheus.GaugeValue, float64(h.Holding()))
		send(streams, prometheus.GaugeValue, float64(h.Streams()))
	}
}
