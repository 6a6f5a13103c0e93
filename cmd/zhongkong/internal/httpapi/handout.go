package httpapi

import (
	"encoding/json"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator"
)

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
