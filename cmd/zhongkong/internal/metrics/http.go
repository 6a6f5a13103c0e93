package metrics

import "strconv"

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
	requests := describe(counter, "http_requests_total", "Requests answered, by endpoint and status. Under /cgi-bin/, where WeChat answers everything "+
		"with 200, the status that it would have elsewhere; 499: the client went away.", "endpoint", "code")
	withoutCredentials := describe(counter, "http_without_credentials_total", "Requests answered with 401 because they had no credentials, such as the "+
		"first one of a browser. They are in zhongkong_http_requests_total, too.")
	closedConnections := describe(counter, "http_connections_closed_total", "Connections that were closed at a limit to make room for others, by kind: "+
		"anonymous, no caller had authenticated on it; authenticated, an idle one of a caller.", "kind")
	stale := describe(counter, "stale_served_total", "Answers with a token that was marked stale.")
	checks := describe(counter, "token_checks_total", "Requests of the drop-in that reported a rejected token by asking for it again, by result: good, rejected "+
		"and failed are checks at the issuer, limited had none, because one had begun less than 10 s before.", "result")
	reads := describe(counter, "token_reads_total", "Times that a caller was given an account's token, or a phantom for it, over HTTP or by a datagram. Beyond "+
		"10,000 pairs the rest is counted for the caller other and no account.", "caller", "account")
	holding := describe(gauge, "http_holding", "Requests that wait for a newer token.")
	streams := describe(gauge, "http_streams", "Event streams that are open.")
	return func(to *scrape) {
		h.Served(func(endpoint string, status int, n uint64) {
			to.send(requests, float64(n), endpoint, strconv.Itoa(status))
		})
		h.Checks(func(result string, n uint64) { to.send(checks, float64(n), result) })
		h.Reads(func(caller, account string, n uint64) {
			to.send(reads, float64(n), caller, account)
		})
		s.ClosedConnections(func(kind string, n uint64) { to.send(closedConnections, float64(n), kind) })
		to.send(withoutCredentials, float64(h.WithoutCredentials()))
		to.send(stale, float64(h.StaleServed()))
		to.send(holding, float64(h.Holding()))
		to.send(streams, float64(h.Streams()))
	}
}
