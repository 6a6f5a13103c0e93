package httpapi

import (
	"encoding/json"
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

// handOut returns what a caller is given for a token: the token, or a phantom for
// a caller who gets those.
func (a *app) handOut(caller auth.Caller, account string, token coordinator.Token) (string, error) {
	if caller.Phantom() {
		if a.proxy == nil {
			return "", errForbidden
		}
		return a.proxy.Phantom(account, caller)
	}
	if a.proxy != nil {
		a.proxy.Given(account, caller.Name(), token)
	}
	return token.Reveal(), nil
}

// told notes that the answer holds the token of resp, or a phantom for it.
func (r *request) told(resp *response) {
	resp.reads.count(r.caller.Name(), resp.at)
	r.entry.Told(uint64(resp.generation))
}

// forCaller returns the response with what the caller is given in place of the
// token.
func (a *app) forCaller(r *request, resp *response) (*response, error) {
	caller := r.caller
	text, err := a.handOut(caller, resp.account, resp.token)
	if err != nil {
		return resp, err
	}
	r.told(resp)
	if !caller.Phantom() {
		return resp, nil
	}
	quoted, _ := json.Marshal(text) // encoding a string cannot fail
	own := *resp
	own.quoted = quoted
	own.prefix = prefixOf(resp.account, quoted, resp.record)
	own.body = own.bodyFor(own.useFor)
	return &own, nil
}
