package httpapi

import (
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

// isProxied reports whether a path belongs to a route.
func isProxied(u *url.URL) bool {
	rest, ok := strings.CutPrefix(strings.TrimLeft(u.Path, "/"), "proxy")
	return ok && (rest == "" || rest[0] == '/')
}
