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
// http.Handler. It has no goroutine of its own but those of Run.
//
// The server records every call (Calls) and every value it issued (Issued), which tells
// afterwards whose a value was and when it died. Where WeCom's behaviour is unknown,
// there is a knob whose default is the more likely behaviour; what is written about it
// is in the comments of Knobs.
//
// # Suites
//
// A suite of a service provider has a Callback, to which Run pushes suite_tickets and
// the events of Install, Change, Cancel and ResetPermanentCode, encrypted, by HTTP or to
// an http.Handler in process. FaultPushes makes pushes late, doubled, out of order, lost
// or forged. What was pushed, and how it was answered, is in Pushes.
package wecomtest
