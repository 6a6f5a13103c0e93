package metrics

import "github.com/zhongkong/zhongkong/cmd/zhongkong/internal/proxy"

// FollowRoutes makes each scrape read the counters of the routes. It is called once.
func (m *Metrics) FollowRoutes(stats func() []proxy.Stats) {
	calls := describe(counter, "route_calls_total",
		"Calls to routes (route=\"/\": calls with the AppSecret at the server's root), by result: answered by the upstream; "+
			"cut, the upstream broke off its answer, or the caller was revoked, which are counted as answered as well; "+
			"refused, malformed and limited were not passed on; "+
			"no_token, there was none to put in; failed, the upstream did not answer; gone, the client went away; token, answered here; "+
			"login, with the AppSecret put in, which are counted by their outcome as well.", "route", "account", "result")
	rejected := describe(counter, "route_rejected_tokens_total",
		"Answers by which an upstream rejected the token that was put in, by what followed: rejected counts "+
			"them all; repeated, the call was made again; cured, with success; unrepeatable, its body was too long.", "route", "account", "step")
	bytes := describe(counter, "route_bytes_total",
		"Bytes of bodies passed on, by direction: sent to the upstream or received from it.", "route", "account", "direction")
	m.follow(func(to *scrape) {
		for _, s := range stats() {
			to.sendEach(calls, map[string]uint64{
				"answered": s.Calls, "cut": s.Cut, "refused": s.Refused, "malformed": s.Malformed, "limited": s.Limited, "no_token": s.NoToken,
				"failed": s.Failed, "gone": s.Gone, "token": s.TokenAsked, "login": s.Logins,
			}, s.Route, s.Account)
			to.sendEach(rejected, map[string]uint64{
				"rejected": s.Rejected, "repeated": s.Repeated, "cured": s.Cured, "unrepeatable": s.Unrepeatable,
			}, s.Route, s.Account)
			to.sendEach(bytes, map[string]uint64{"sent": s.Sent, "received": s.Received}, s.Route, s.Account)
		}
	})
}
