// Package oauthtest plays an OAuth2 issuer that does what real ones do, the bad
// things too: it echoes requests in its errors, answers pages and odd lives, kills
// tokens when it issues new ones, loses answers, and refuses an assertion that it has
// seen.
//
// A [Server] is an [http.Handler]:
//
//	POST /oauth2/token                            the token endpoint: client credentials and JWT bearer
//	POST /app/installations/{id}/access_tokens    GitHub's, for Apps
//	ANY  /oauth2/resource                         a resource server: 200 for a live token, else 401
//	     /oauth2/sandbox/                         the control interface, see Server.ServeHTTP
//
// [Server.Transport] reaches it without a network, so that tests can run in virtual time.
package oauthtest
