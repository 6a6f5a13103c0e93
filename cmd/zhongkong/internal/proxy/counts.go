package proxy

import "sync/atomic"

// Stats are a route's counters since the start.
type Stats struct {
	Route, Account string // the name "/": calls with the AppSecret at the server's root

	Calls        uint64 // passed on and answered by the upstream
	Cut          uint64 // of these: the upstream broke off its answer, or the caller was revoked
	Refused      uint64 // not proved, or without the right to the account
	Malformed    uint64 // paths, upgrades and forms of requests that are not passed on
	Limited      uint64 // too many calls of the caller were under way
	NoToken      uint64 // there was no token to put in
	Failed       uint64 // the upstream was not reached, or did not answer
	Gone         uint64 // the client went away first
	Rejected     uint64 // answers by which the upstream rejected the token
	Repeated     uint64 // calls that were made a second time for it
	Unrepeatable uint64 // rejected calls whose body was too long to be sent again
	Cured        uint64 // second calls that were not rejected
	TokenAsked   uint64 // questions for a token, answered here
	Logins       uint64 // calls with the AppSecret put in
	Sent         uint64 // bytes of requests' bodies
	Received     uint64 // bytes of answers' bodies
}

// counters are the same while they count.
type counters struct {
	calls, cut, refused, malformed, limited, noToken, failed, gone atomic.Uint64
	rejected, repeated, unrepeatable, cured, tokenAsked, logins    atomic.Uint64
	sent, received                                                 atomic.Uint64
}

func (c *counters) snapshot(route, account string) Stats {
	return Stats{
		Route: route, Account: account,
		Calls: c.calls.Load(), Cut: c.cut.Load(), Refused: c.refused.Load(), Malformed: c.malformed.Load(), Limited: c.limited.Load(),
		NoToken: c.noToken.Load(), Failed: c.failed.Load(), Gone: c.gone.Load(),
		Rejected: c.rejected.Load(), Repeated: c.repeated.Load(), Unrepeatable: c.unrepeatable.Load(), Cured: c.cured.Load(),
		TokenAsked: c.tokenAsked.Load(), Logins: c.logins.Load(), Sent: c.sent.Load(), Received: c.received.Load(),
	}
}
