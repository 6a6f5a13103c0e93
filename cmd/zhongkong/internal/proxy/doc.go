// Package proxy passes calls on to an account's API and puts the account's
// current token into them. A client keeps its SDK and its cached token; whatever
// becomes of that token, the calls go on.
//
// # What a route does
//
// A route has an account, an upstream and the place where the upstream expects
// the token. A token that the client sent in that place proves the client (see
// below) and is replaced. If the upstream rejects the token that was put in, the
// route reports exactly that token, waits for the next one and repeats the call
// once. All who meet the same rejected token share one refresh. The rejection of
// a WeChat route is an errcode (Route.RejectsToken); elsewhere it is status
// 401. One that says invalid_token is always reported. Another one may have another
// cause: if the call with the next token is answered so as well, or if there is no such
// call, because the body cannot be sent again or the issuer answers the same token, no
// such 401 is reported for a while. An upstream that is not the token's issuer's
// (Route.Foreign) causes no report; the call is repeated if there is a newer token by then.
//
// # Bodies
//
// A request's body of at most 256 KiB is held in memory and can be sent again.
// A longer one streams through and is sent once; a rejection is reported then,
// and the client gets the upstream's answer. A body of unknown length streams,
// too, except that WeChat routes read its first 256 KiB ahead: WeChat's gateway
// refuses chunked requests. Answers stream. Only the first 8 KiB of one that can
// be an errcode are looked at before it is passed on.
//
// # Who may call
//
// A caller proves itself by HTTP Basic, by Authorization: Bearer NAME:PASSWORD
// (or NAME~PASSWORD), by a phantom, or by a real token of the route's account.
//
// A real token is a bearer credential: its holder can use the API without this
// server, too. So the current token of the account opens its route. A former
// one does for as long as clients may keep it (four hours), if this server, or
// another of the fleet (see Former), saw it while it was current. If this server
// gave it out, one of those callers must still have the right to the account. Tokens
// are kept as keyed hashes, 512 of an account. To be able to revoke one caller, give it phantoms (package phantom).
//
// Calls with a token of a WeChat user need no caller: WeChat judges the token. Their
// bodies must be short and come within 30 seconds.
//
// # What never passes
//
//   - To the upstream: Authorization, Cookie, a parameter named secret or
//     appsecret on WeChat routes, Forwarded headers, hop-by-hop headers.
//   - To the client: Set-Cookie; the token in any header or trailer (Location
//     loses the parameter). For callers who get phantoms the token is also
//     overwritten with asterisks in bodies that are text and not compressed, and
//     the upstream is asked for whole bodies that are not compressed. Other callers have the token anyway,
//     and their bodies pass as they are. An upstream that returns the token in
//     another encoding (base64, encrypted) is not detected.
//   - To logs and errors: tokens, keys, query strings, what the upstream's
//     connection errors say.
//
// Answers that are not JSON get Content-Security-Policy: sandbox, so that a page of
// an upstream that a browser opens here is not a page of this server's origin.
package proxy
