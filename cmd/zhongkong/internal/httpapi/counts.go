package httpapi

import "sync/atomic"

// statuses are the ones that are counted apart; the last stands for all
// others.
var statuses = [...]int{200, 303, 304, 400, 401, 403, 404, 405, 409, 413, 415, 429, statusGone, 500, 502, 503, 0}

// counts counts what was answered.
type counts struct {
	endpoints []string
	cells     []atomic.Uint64 // endpoint * len(statuses) + place of the status
	stale     atomic.Uint64
	checks    checkCounts
}

// grow makes room when all endpoints are known.
func (c *counts) grow() { c.cells = make([]atomic.Uint64, len(c.endpoints)*len(statuses)) }

func (c *counts) add(endpoint, status int) {
	place := 0
	for place < len(statuses)-1 && statuses[place] != status {
		place++
	}
	c.cells[endpoint*len(statuses)+place].Add(1)
}

// Served calls f for each endpoint and status that was answered, with how
// often. Status 499 is a client that went away before its answer, 0 any status
// not listed.
func (a *API) Served(f func(endpoint string, status int, n uint64)) {
	for e, path := range a.counts.endpoints {
		for s, status := range statuses {
			if n := a.counts.cells[e*len(statuses)+s].Load(); n > 0 {
				f(path, status, n)
			}
		}
	}
}

// StaleServed returns how many answers had a token that was marked stale.
func (a *API) StaleServed() uint64 { return a.counts.stale.Load() }

// Checks calls f with how many requests of the drop-in reported that the issuer
// rejects a token, by result: good, rejected and failed are checks at the issuer,
// limited are reports without one, because the last was a moment ago.
func (a *API) Checks(f func(result string, n uint64)) {
	c := &a.counts.checks
	f("good", c.good.Load())
	f("rejected", c.rejected.Load())
	f("failed", c.failed.Load())
	f("limited", c.limited.Load())
}

// Holding returns how many requests wait for a newer token.
func (a *API) Holding() int { return a.holding.taken() }

// Streams returns how many event streams are open.
func (a *API) Streams() int { return a.streams.taken() }
