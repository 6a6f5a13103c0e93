// Package wechattest is a WeChat that behaves like one: it issues tokens and
// really revokes them, with the five minutes of overlap, the quotas, the IP
// whitelist, frozen secrets and stable_token's rules, and it fails in every
// way that the real one and the way to it do. Tests use it in process or over
// HTTP, and "zhongkong sandbox" serves it.
//
//	sandbox := wechattest.New(wechattest.Config{})
//	source, err := wechat.Config{
//		AppID:     wechattest.DefaultAppID,
//		Secret:    wechattest.DefaultSecret,
//		Transport: sandbox.Transport(),
//	}.Source()
//
// Transport and Client need no socket, so they work in a testing/synctest
// bubble: make the Server inside it, and Close it there if calls may still be
// under way in it. A Server is an http.Handler, too; Start
// serves it on a loopback port for the length of a test.
//
// # Truth
//
// The server keeps every call to a token endpoint (Calls) and every token it
// issued (Issued), so a test can be judged afterwards: Accepts, DeadSince and
// LastIssued say what was true when.
//
// # Faults
//
// Inject makes calls fail, before they are carried out or after, when the
// token has been issued and nobody hears of it. Knobs are what WeChat's
// documentation leaves open, what a test wants shorter, or what a relay does to
// the answers on their way. Everything can be changed while the server runs,
// also by HTTP under /sandbox/ (see Server.ServeHTTP).
//
// # What it leaves out
//
// WeCom and third-party platforms. What WeChat does where nobody knows is a
// knob whose default is the likelier answer.
package wechattest
