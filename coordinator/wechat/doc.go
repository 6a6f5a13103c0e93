// Package wechat gets access tokens and tickets from WeChat (official accounts, mini
// programs, mini games) and uses them.
//
// # Sources
//
//	source := wechat.NewSource(appID, secret) // GET /cgi-bin/token
//	source, err := wechat.Config{AppID: appID, Secret: secret, Kind: wechat.Stable}.Source() // POST /cgi-bin/stable_token
//
// Each is a [coordinator.Source]. Every call of the
// classic endpoint issues a token and invalidates the previous one within 5 minutes.
// stable_token returns the same token until it has 5 minutes left, so its source
// requests the next refresh for that moment. A forced refresh, or one that follows a
// report, uses force_refresh: WeChat carries out 20 of these a day, and none within
// 30 s of the previous one. Beyond them a demanded refresh brings the token in force if it
// is not the one that is held.
//
// # Tickets and signatures
//
// A [TicketSource] is the source of an account's jsapi_ticket or wx_card ticket. It asks
// with the access_token of another account of the same coordinator:
//
//	ticket, err := wechat.TicketConfig{Type: wechat.JSAPI}.Source()
//	accounts := []coordinator.AccountConfig{
//		{Name: appID, Source: source},
//		{Name: appID + ".jsapi", Source: ticket, Parent: appID},
//	}
//
// WeChat says that a ticket lives for two hours however often it repeats it, and may
// replace it earlier, so tickets are asked for every 9 minutes. [JSSDKSignature] and
// [CardSignature] sign with them. A service that signs the URLs that browsers send it
// uses [Pages], which signs only for the hosts on a list.
//
// # Third-party platforms
//
// A [ComponentSource] is the source of a platform's component_access_token. A [Platform]
// takes what WeChat pushes to the platform's URL for authorization events, which package
// msgcrypt decrypts, and keeps an account for each account that has authorized the
// platform. What must survive is in the store as grants: verify tickets, codes that were
// not yet exchanged, and refresh tokens.
//
//	component, err := wechat.ComponentConfig{AppID: platformID, Secret: secret}.Source()
//	account, err := c.Add(coordinator.AccountConfig{Name: platformID, Source: component})
//	platform, err := wechat.PlatformConfig{
//		Account: account, Coordinator: c, Component: component,
//		Token: token, EncodingAESKey: key,
//	}.Platform()
//	stop := c.Start(ctx) // without it there is no component_access_token
//	defer stop()
//	var running sync.WaitGroup
//	defer running.Wait()
//	running.Go(func() { platform.Run(ctx) }) // both end with ctx
//	// in the handler of the URL: answer, err := platform.Callback(ctx, method, query, body)
//	token, err := c.Token(ctx, appID) // of an account that has authorized the platform
//
// # The outcome of a failed call
//
// A coordinator must know whether a failed call may have issued a token. Every
// failure is therefore of one of these kinds:
//
//	refused  WeChat answered an errcode that needs an operator (see Classify, ClassifyTicket);
//	         if it is about the address, processes of other hosts call all the same
//	later    WeChat answered an errcode about a quota, and when to retry
//	parent   getticket, or an interface for authorizers, rejected the token that it was asked with
//	grant    a verify ticket, a code or a refresh token was rejected
//	busy     nothing was issued: -1, an unknown errcode, no connection, a gateway's 3xx or 4xx
//	unknown  a token may have been issued: a timeout, a connection that broke
//	         after the request was sent, a 5xx, an unintelligible answer
//
// # Relays
//
// A relay in front of WeChat (Config.BaseURL) may re-encode its answers: numbers as
// strings or with a fraction, a byte order mark, a comment after the JSON, another
// HTTP status. All of these are understood, because a discarded token would still
// have invalidated the previous one. A token accompanied by an errcode is accepted
// as well, unless it equals the current token; then the errcode counts. A token
// whose lifetime is missing, not positive or above 366 days is assumed to live for
// 10 minutes.
//
// # Repeating
//
// A source uses each connection once, so net/http repeats nothing by itself. If a
// connection breaks after the request was sent, the source repeats the call once, on
// the same host. It tries the next of Config.Fallbacks when it cannot connect to a
// host. In stable_token's normal mode and for tickets, where a call is idempotent, it
// does so also when the outcome of a call is unknown. It never does so because of an errcode, and repeats
// nothing once the context has ended.
//
// # What is not promised
//
// WeChat may carry out a call that timed out after a call that was made later. Then
// the coordinator holds the older token until it is reported as rejected, which
// [Transport] does by itself.
//
// Package wecom is for WeCom.
package wechat
