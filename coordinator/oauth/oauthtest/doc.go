// Package oauthtest plays an OAuth2 issuer that does what real ones do, the bad
// things too: it echoes requests in its errors, answers pages and odd lives, kills
// tokens when it issues new ones, loses answers, and refuses an assertion that it has
// seen. Its refresh tokens are used up when they are presented, or are not, by the knobs;
// presenting one again may end the whole family. It remembers each presentation.
//
// A [Server] is an [http.Handler]:
//
//	POST /oauth2/token                            the token endpoint: client credentials, JWT bearer, authorization code, refresh token, device code
//	GET  /oauth2/authorize                        the authorization endpoint, where the person consents at once
//	POST /oauth2/device                           device authorization (RFC 8628), with /oauth2/device/verify for the person
//	POST /app/installations/{id}/access_tokens    GitHub's, for Apps
//	ANY  /oauth2/resource                         a resource server: 200 for a live token, else 401
//	     /oauth2/sandbox/                         the control interface, see Server.ServeHTTP
//
// [Server.Transport] reaches it without a network, so that tests can run in virtual time.
package oauthtest
