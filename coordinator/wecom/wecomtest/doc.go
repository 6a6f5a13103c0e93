// Package wecomtest simulates WeCom: apps of corps with their tokens, tickets, providers,
// trusted addresses, quotas, and the block of an address that sends wrong secrets. Tests
// use it in process or over HTTP.
//
//	sandbox := wecomtest.New(wecomtest.Config{})
//	source, err := wecom.Config{
//		CorpID:    wecomtest.DefaultCorpID,
//		Secret:    wecomtest.DefaultSecret,
//		Transport: sandbox.Transport(),
//	}.Source()
//
// Transport uses no socket, so it works in a testing/synctest bubble. A Server is also an
// http.Handler. It has no goroutine of its own.
//
// The server records every call (Calls) and every value it issued (Issued), which tells
// afterwards whose a value was and when it died. Where WeCom's behaviour is unknown,
// there is a knob whose default is the more likely behaviour; what is written about it
// is in the comments of Knobs.
//
// Suites of third-party apps are left out.
package wecomtest
