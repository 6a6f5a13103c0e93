// Package oauth connects coordinator with OAuth2 in both directions.
//
// # Sources
//
// [Config] describes a [Source] that asks a token endpoint (RFC 6749): by client
// credentials, with the secret in a Basic header or in the body, with private_key_jwt
// (RFC 7523) or with mutual TLS (RFC 8705), by a JWT bearer grant (RFC 7523), or by a
// refresh token.
// [GoogleServiceAccount] and [GitHubApp] describe the sources of those two vendors.
// [FromTokenSource] makes a source of whatever gives an [oauth2.TokenSource].
//
// A source sends one request for each Fetch. It never tries another way of client
// authentication, never follows a redirect, and never repeats a request: what it
// cannot know the outcome of is [coordinator.FailedUnknown]. [Codes] is the table by
// which it tells the issuer's refusals from its outages. Lives count from the moment
// the request was sent. Its errors hold neither secrets nor assertions nor tokens, even
// if the issuer echoes them.
//
// # Refresh tokens
//
// A source with the grant [RefreshToken] presents the token that the coordinator hands
// it, of a [coordinator.Grant], and returns its successor. It does not send it after the
// attempt's deadline, and waits for the answer for as long as the call may last. It
// calls only those failures harmless after which the token is surely not used up.
// [Profiles] are what is known of large issuers. A [Login] asks a person for the first
// token. Other sources ignore refresh tokens: one is neither stored nor logged.
//
// # Users of a token
//
// [TokenSource] makes an account's token an [oauth2.TokenSource], for the many
// libraries that take one. [Transport] is an [http.RoundTripper] that authorizes
// requests, reports a token that a resource server rejects, and repeats the request
// once with the next one. Prefer it where there is a choice: an oauth2.TokenSource
// cannot be told that its token was rejected.
//
// # What golang.org/x/oauth2 does here
//
// It gives the types by which Go programs exchange tokens. The sources do not send
// their requests by it, because it counts lives from the answer, takes a token without
// a stated life as everlasting, follows redirects with the secret unless the client is
// made not to, prints whole answers in its errors, and cannot tell whether a failed
// request was sent. A Login, after which a person can simply log in again, uses it.
package oauth
