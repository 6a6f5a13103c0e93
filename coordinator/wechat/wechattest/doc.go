// Package wechattest simulates WeChat. The simulator issues tokens and revokes them,
// with five minutes of overlap, quotas, the IP whitelist, frozen secrets and
// stable_token's rules. It can fail in every way that WeChat and the network in
// between do. Tests use it in process or over HTTP, and "zhongkong sandbox" serves
// it.
//
//	sandbox := wechattest.New(wechattest.Config{})
//	source, err := wechat.Config{
//		AppID:     wechattest.DefaultAppID,
//		Secret:    wechattest.DefaultSecret,
//		Transport: sandbox.Transport(),
//	}.Source()
//
// Transport and Client use no socket, so they work in a testing/synctest bubble:
// create the Server inside it, and Close it there if calls may still be in progress.
// A Server is also an http.Handler; Start serves it on a loopback port until the test
// ends.
//
// # History
//
// The server records every call to a token endpoint or getticket (Calls) and every
// token and ticket it issued (Issued). A test can check them afterwards: Accepts,
// DeadSince and LastIssued tell which token was valid when, and SignedWith with which
// ticket a page was signed.
//
// # Faults
//
// Inject makes calls fail before they are carried out, or afterwards, when a token has
// been issued but does not reach the caller. Knobs set what WeChat's documentation
// leaves open, what a test needs shorter, and what a relay does to the answers.
// Everything can be changed while the server runs, also by HTTP under /sandbox/ (see
// Server.ServeHTTP).
//
// # Third-party platforms
//
// A [Component] is a platform with its interfaces. Authorize and Unauthorize play the
// merchants. RunPushes pushes verify tickets and events, encrypted, to the component's
// URL or in process to its Handler; InjectPush makes pushes fail. Pushes, Authorizers and
// DailyCalls are the history.
//
// # What it leaves out
//
// WeCom. Where WeChat's behaviour is unknown, there is a
// knob whose default is the more likely behaviour; for the end of a replaced ticket,
// of which reports differ, it is the strictest.
package wechattest
