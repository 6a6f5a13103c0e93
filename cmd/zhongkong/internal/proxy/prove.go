package proxy

import (
	"errors"
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/header"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/phantom"
)

// prove proves the caller of a request. open says that the request needs no
// caller; what it has to prove one is not looked at then, unless it is a name and
// a password. The problem's code is empty if there is none. The zero Caller is who
// holds a real token that this server did not give out, or gave to several callers,
// and who sends an open request without a name.
func (r *route) prove(req *http.Request, open bool) (auth.Caller, problem) {
	token := r.Put.take(req)
	c, named := auth.FromAuthorization(header.First(req.Header[authorization]))
	if token != "" && !open && (!named || r.Put.kind == inBearer) {
		// A bearer token may look like NAME~PASSWORD. A password is not looked up as a
		// former token.
		var search *search
		if !named {
			search = r.p.newSearch(req)
		}
		if caller, p := r.p.proveByToken(r.Account, token, search); p.code == "" || !named || phantom.Is(token) {
			return caller, p
		}
	}
	switch {
	case named:
		return r.proveByPassword(req, c)
	case open:
		return auth.Caller{}, problem{}
	}
	return auth.Caller{}, problemMissing
}

// proveByPassword proves a caller, who may have the route's account, by a name and a
// password.
func (r *route) proveByPassword(req *http.Request, c auth.Credentials) (auth.Caller, problem) {
	caller, refused := r.p.authenticate(req, c)
	if refused.code == "" && !caller.May(r.Account) {
		refused = problemAccount
	}
	return caller, refused
}

// authenticate proves a caller, of whatever accounts, by what one pair of credentials may
// mean, the likeliest reading first.
func (p *Proxy) authenticate(req *http.Request, readings ...auth.Credentials) (auth.Caller, problem) {
	caller, err := p.cfg.Callers.Authenticate(req.Context(), auth.Addr(req.RemoteAddr), readings...)
	if err != nil {
		return auth.Caller{}, problemOfProof(err)
	}
	return caller, problem{}
}

// Holder returns which of some accounts, whose tokens are remembered, a token or a
// phantom in a request is of, and who holds it: the zero Caller if that is not known.
// It returns false for any other string.
func (p *Proxy) Holder(req *http.Request, token string, accounts []string) (string, auth.Caller, bool) {
	for _, search := range []*search{nil, p.newSearch(req)} { // first what costs nothing
		for _, account := range accounts {
			caller, wrong := p.proveByToken(account, token, search)
			if wrong.code == "" {
				return account, caller, true
			}
		}
	}
	return "", auth.Caller{}, false
}

// proveByToken proves a caller by a phantom or a real token of an account. A token that
// this server does not know is searched for among those that other servers know, unless
// search is nil.
func (p *Proxy) proveByToken(account, token string, search *search) (auth.Caller, problem) {
	if phantom.Is(token) {
		return p.proveByPhantom(account, token)
	}
	names, many, known := p.cfg.Tokens.holders(account, token)
	if !known {
		p.noteCurrent(account)
		if names, many, known = p.cfg.Tokens.holders(account, token); !known && search.find(account, token) {
			names, many, known = p.cfg.Tokens.holders(account, token)
		}
		if !known {
			return auth.Caller{}, problemToken
		}
	}
	if len(names) == 0 || many {
		return auth.Caller{}, problem{}
	}
	var holder auth.Caller
	for _, name := range names {
		if c, ok := p.cfg.Callers.Find(name); ok && c.May(account) {
			if holder.Name() != "" {
				return auth.Caller{}, problem{}
			}
			holder = c
		}
	}
	if holder.Name() == "" {
		return auth.Caller{}, problemToken
	}
	return holder, problem{}
}

// noteCurrent remembers the token of an account that is current, also one that was issued
// before this process started.
func (p *Proxy) noteCurrent(account string) {
	if a, ok := p.cfg.Account(account); ok {
		if s, ok := a.Peek(); ok {
			p.cfg.Tokens.Seen(account, s.Token)
		}
	}
}

func (p *Proxy) proveByPhantom(account, token string) (auth.Caller, problem) {
	if p.cfg.Phantoms == nil {
		return auth.Caller{}, problemToken
	}
	sealer := p.cfg.Phantoms(account)
	if sealer == nil {
		return auth.Caller{}, problemToken
	}
	statement, err := sealer.Open(token, time.Now())
	switch {
	case errors.Is(err, phantom.ErrExpired):
		return auth.Caller{}, problemExpired
	case err != nil:
		return auth.Caller{}, problemToken
	}
	c, ok := p.cfg.Callers.FindByVerifier(statement.Caller, statement.Of)
	if !ok || !c.May(account) {
		return auth.Caller{}, problemToken
	}
	return c, problem{}
}
