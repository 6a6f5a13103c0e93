// Package httpapi answers HTTP: tokens for callers in any language, the
// endpoints that unmodified WeChat SDKs ask, a stream of events, health, and
// the status page.
//
// # Who gets an answer
//
// Every endpoint but /healthz, /readyz and the page's own files wants a caller's
// name and password, before anything is said, also about what exists. An account that a caller
// may not have looks to it the same whether it exists or not. One question is
// left open: /readyz?account=NAME tells everybody whether a usable token of an
// account is here, since probes have no credentials.
//
// A request that a browser sends for a page of another site is refused before
// its credentials are looked at. Whatever a caller has open ends when the caller
// is removed, or its password or its rights change.
//
// # Paths
//
// Clients are given base URLs with a slash at the end or without, and proxies
// add and remove prefixes. More slashes than one change no path, and nobody is
// redirected. What is wrong with any other path is said in the shape that the
// client reads who asks there: WeChat's for an SDK, JSON for everybody else.
//
// # From memory
//
// A request for a token is answered from the coordinator's memory; the answer
// is encoded once a second and account at most, however many ask. Whoever
// waits for the next token (?after=&wait=) costs a goroutine and a timer, and
// one goroutine an account waits for all of them.
//
// # What is never written anywhere
//
// No log line has a query string, a header or a body: they hold tokens,
// passwords or both. Lines that many requests can cause are rationed.
package httpapi
