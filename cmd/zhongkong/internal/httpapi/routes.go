package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator"
)

// Routes pass calls on to accounts' APIs, below /proxy/.
type Routes interface {
	http.Handler

	// ServeLogin answers calls that take the AppSecret, at the server's root.
	ServeLogin(w http.ResponseWriter, r *http.Request)

	// Given says that a caller is given an account's token.
	Given(account, caller string, token coordinator.Token)

	// Phantom returns what a caller is given in place of an account's token.
	Phantom(account string, caller auth.Caller) (string, error)
}

// routeKey is the context's key of the account of the route that a request came to.
type routeKey struct{}

// routed returns that account, "" if the request came to no route.
func routed(ctx context.Context) string {
	account, _ := ctx.Value(routeKey{}).(string)
	return account
}

// ServeRoute answers a request for a token that came to a route of an account.
func (a *API) ServeRoute(w http.ResponseWriter, r *http.Request, account string) {
	a.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), routeKey{}, account)))
}

// isProxied reports whether a path belongs to a route.
func isProxied(u *url.URL) bool {
	rest, ok := strings.CutPrefix(strings.TrimLeft(u.Path, "/"), "proxy")
	return ok && (rest == "" || rest[0] == '/')
}
