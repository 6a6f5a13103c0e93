package proxy

import (
	"errors"
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/phantom"
)

// bearer is who holds a real token of an account that this server did not give
// out, or gave to several callers.
type bearer struct{}

func (bearer) Name() string             { return "" }
func (bearer) May(string) bool          { return true }
func (bearer) Phantom() bool            { return false }
func (bearer) Revoked() <-chan struct{} { return nil }

// prove proves the caller of a request. open says that the request needs no
// caller; what it has to prove one is not looked at then, unless it is a name and
// a password. The problem's code is empty if there is none.
func (r *route) prove(req *http.Request, open bool) (Caller, problem) {
	token := r.Put.take(req)
	c, named := auth.FromAuthorization(first(req.Header[authorization]))
	if token != "" && !open && (!named || r.Put.kind == inBearer) {
		// A bearer token may look like NAME~PASSWORD.
		if caller, p := r.proveByToken(token); p.code == "" || !named || phantom.Is(token) {
			return caller, p
		}
	}
	switch {
	case named:
		return r.proveByPassword(req, c)
	case open:
		return nil, problem{}
	}
	return nil, problemMissing
}

// proveByPassword proves a caller by what one pair of credentials may mean, the
// likeliest reading first.
func (r *route) proveByPassword(req *http.Request, readings ...auth.Credentials) (Caller, problem) {
	var err error
	for _, c := range readings {
		var caller Caller
		caller, err = r.p.cfg.Callers.Authenticate(req.Context(), auth.Addr(req.RemoteAddr), c.Name, c.Password)
		switch {
		case err == nil && !caller.May(r.Account):
			return caller, problemAccount
		case err == nil:
			return caller, problem{}
		case !errors.Is(err, auth.ErrDenied):
			return nil, problemOfProof(err)
		}
	}
	return nil, problemOfProof(err)
}

// proveByToken proves a caller by a phantom or a real token.
func (r *route) proveByToken(token string) (Caller, problem) {
	if phantom.Is(token) {
		return r.proveByPhantom(token)
	}
	names, many, known := r.p.cfg.Tokens.holders(r.Account, token)
	if !known {
		r.noteCurrent()
		if names, many, known = r.p.cfg.Tokens.holders(r.Account, token); !known {
			return nil, problemToken
		}
	}
	if len(names) == 0 || many {
		return bearer{}, problem{}
	}
	var holder Caller
	for _, name := range names {
		if c, ok := r.p.cfg.Callers.Find(name); ok && c.May(r.Account) {
			if holder != nil {
				return bearer{}, problem{}
			}
			holder = c
		}
	}
	if holder == nil {
		return nil, problemToken
	}
	return holder, problem{}
}

// noteCurrent remembers the token that is current, also one that was issued before
// this process started.
func (r *route) noteCurrent() {
	if account, ok := r.p.cfg.Account(r.Account); ok {
		if s, ok := account.Peek(); ok {
			r.p.cfg.Tokens.Seen(r.Account, s.Token)
		}
	}
}

func (r *route) proveByPhantom(token string) (Caller, problem) {
	if r.p.cfg.Phantoms == nil {
		return nil, problemToken
	}
	sealer := r.p.cfg.Phantoms(r.Account)
	if sealer == nil {
		return nil, problemToken
	}
	statement, err := sealer.Open(token, time.Now())
	switch {
	case errors.Is(err, phantom.ErrExpired):
		return nil, problemExpired
	case err != nil:
		return nil, problemToken
	}
	c, ok := r.p.cfg.Callers.FindByVerifier(statement.Caller, statement.Of)
	if !ok || !c.May(r.Account) {
		return nil, problemToken
	}
	return c, problem{}
}
