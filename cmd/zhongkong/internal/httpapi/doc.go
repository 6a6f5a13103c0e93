// Package httpapi is the HTTP interface of the daemon: tokens for clients in any
// language, the standard token endpoint of OAuth 2.0, the endpoints that unmodified
// SDKs of WeChat and WeCom ask for tokens and tickets, signatures of pages, the state
// of each account, a stream of events, health checks, and the status page.
//
// # Authentication
//
// Every endpoint except /healthz, /readyz, the metadata of OAuth 2.0 and the page's
// files needs a caller's name and password, and answers nothing before it has verified
// them. At the endpoints of tickets, the caller proves itself as at the issuer: by the
// token that it was given. A caller cannot distinguish an account that it may not have
// from one that does not exist. One exception is deliberate: /readyz?account=NAME tells
// everyone whether an account has a usable token here, because probes have no
// credentials.
//
// A request that a browser sends for a page of another site is refused before
// its credentials are verified. When a caller is removed, or its password or its
// rights change, its waiting requests and its streams end.
//
// # Paths
//
// Clients are configured with base URLs that end in a slash or do not, and proxies
// add and remove prefixes. Repeated slashes are therefore ignored, and no request
// is redirected. An error about a path has the form that its client reads: WeChat's
// for an SDK, that of RFC 6749 for a client of OAuth 2.0, other JSON otherwise.
//
// # From memory
//
// A token is answered from the coordinator's memory, and encoded once a second
// and account. A request that waits for the next token (?after=&wait=) costs a
// goroutine and a timer. One goroutine an account waits for all of them. The
// states of accounts are answered from memory too: no request reads Redis.
//
// The plainest requests, GET /v1/tokens/{name} of a proved caller without a query or
// a condition, are answered below net/http, which costs more than all the rest of
// such a request; see fastConn. Headers that mean nothing here do not matter. A
// connection on which anything but such requests comes is served by net/http from
// then on.
//
// # Dead tokens
//
// A client whose token the issuer rejects asks for a token again. The drop-in and the
// standard token endpoint have the issuer confirm that, and answer with a new token.
//
// # Logs
//
// No log line has a query string, a header or a body, because they hold tokens and
// passwords. Lines that many requests can cause are rationed.
package httpapi
