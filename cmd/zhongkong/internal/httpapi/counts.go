package httpapi

import "sync/atomic"

// statuses are counted separately; 0 stands for all others.
var statuses = [...]int{200, 303, 304, 400, 401, 403, 404, 405, 409, 413, 415, 429, statusGone, 500, 502, 503, 0}

// counts are the counters that metrics read.
type counts struct {
	endpoints []string
	requests  []atomic.Uint64 // at endpoint * len(statuses) + index of the status
	stale     atomic.Uint64
	checks    checkCounts
}

// checkCounts counts reports of rejected tokens by their results.
type checkCounts struct {
	good, rejected, failed atomic.Uint64 // checks at the issuer
	limited                atomic.Uint64 // reports without a check
}

// closedCounts counts the connections that were closed to make room.
type closedCounts struct{ anonymous, authenticated atomic.Uint64 }

// allocate is called when all endpoints are known.
func (c *counts) allocate() { c.requests = make([]atomic.Uint64, len(c.endpoints)*len(statuses)) }

func (c *counts) answered(endpoint, status int) {
	i := 0
	for i < len(statuses)-1 && statuses[i] != status {
		i++
	}
	c.requests[endpoint*len(statuses)+i].Add(1)
}

// served counts a token that was handed out, if it was stale.
func (c *counts) served(stale bool) {
	if stale {
		c.stale.Add(1)
	}
}

// Served calls f for each endpoint and status with the number of responses,
// unless that is 0. Status 499 is a client that went away before its response, 0
// any status that is not counted separately.
func (c *counts) Served(f func(endpoint string, status int, n uint64)) {
	for e, path := range c.endpoints {
		for s, status := range statuses {
			if n := c.requests[e*len(statuses)+s].Load(); n > 0 {
				f(path, status, n)
			}
		}
	}
}

// StaleServed returns how many responses had a token that was marked stale.
func (c *counts) StaleServed() uint64 { return c.stale.Load() }

// Checks calls f with the number of requests of the drop-in that reported a
// rejected token, by result: good, rejected and failed are checks at the issuer,
// limited are reports without one, because the last began a moment before.
func (c *counts) Checks(f func(result string, n uint64)) {
	f("good", c.checks.good.Load())
	f("rejected", c.checks.rejected.Load())
	f("failed", c.checks.failed.Load())
	f("limited", c.checks.limited.Load())
}

// ClosedConnections calls f with the number of connections that the server closed
// to make room for others, by kind. On an anonymous one no caller had
// authenticated.
func (s *Server) ClosedConnections(f func(kind string, n uint64)) {
	f("anonymous", s.connections.closedTotal.anonymous.Load())
	f("authenticated", s.connections.closedTotal.authenticated.Load())
}
