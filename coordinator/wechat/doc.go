// Package wechat gets access tokens from WeChat (official accounts, mini
// programs, mini games) and uses them.
//
// # Sources
//
//	source := wechat.NewSource(appID, secret)       // GET /cgi-bin/token
//	source := wechat.NewStableSource(appID, secret) // POST /cgi-bin/stable_token
//
// Either is a coordinator.Source; New takes everything that can be configured.
// Every call of the classic endpoint mints a token and ends the one before
// within 5 minutes. stable_token answers with the same token until it has 5
// minutes left, so its source asks to be asked again just then; a refresh that
// somebody forces or that follows a report uses force_refresh, of which WeChat
// carries out 20 a day, and none within 30 s of the one before.
//
// # What happened to a failed call
//
// That is what a coordinator must know, so every failure says it:
//
//	refused  WeChat answered an errcode that a person must mend (Classify)
//	later    WeChat answered a quota's errcode and when to come back
//	busy     nothing was issued: -1, an unknown errcode, no connection, a gateway's 3xx or 4xx
//	unknown  a token may have been issued: a timeout, a connection that broke
//	         after the request was sent, a 5xx, an answer that makes no sense
//
// # Relays
//
// A relay in front of WeChat (Config.BaseURL) may write its answers anew:
// numbers as strings or with a fraction, a byte order mark, a comment after the
// JSON, another HTTP status. What WeChat said is found in all of them, for a
// token that is thrown away has ended the one before. A token with an errcode
// beside it is taken, too, unless it is the one that is held already; then the
// errcode counts. A token whose life is missing, not positive or above 366 days
// is not believed.
//
// # Repeating
//
// A source uses no connection twice, so net/http repeats nothing by itself. If
// a connection breaks after the request was sent, it repeats the call once, on
// the same host. It goes to the next of Config.Fallbacks when a host cannot be
// connected to, and in stable_token's normal mode, where asking twice changes
// nothing, also when a call's outcome is unknown; never because of an errcode.
// Nothing is repeated once the context has ended.
//
// # What is not promised
//
// A call that timed out may be carried out by WeChat later than one made after
// it. Then the coordinator holds the older token until somebody reports it,
// which Transport does by itself.
//
// Products whose tokens come another way (WeCom, third-party platforms) are
// not covered.
package wechat
