package httpapi

import (
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/requestid"
)

// plainAnswer is the answer of a fastConn.
type plainAnswer struct {
	*response
	caller auth.Caller
	id     string // of the request, as the client gave it; "": a new one
}

// plainAnswer returns the answer to a plain request of a caller that is proved already,
// if it is 200 with a token in memory. False says nothing about the request.
func (a *API) plainAnswer(from netip.Addr, r tokenRequest) (plainAnswer, bool) {
	if r.id != "" && !requestid.IsUsable(r.id) {
		return plainAnswer{}, false
	}
	credentials, ok := auth.FromAuthorization(r.authorization)
	if !ok {
		return plainAnswer{}, false
	}
	caller, ok := a.callers.Proved(from, credentials.Name, credentials.Password)
	if !ok || caller.IsRevoked() || caller.Phantom() || !caller.May(r.account) {
		return plainAnswer{}, false
	}
	account, ok := a.zk.Account(r.account)
	if !ok {
		return plainAnswer{}, false
	}
	s, ok := account.Peek()
	if !ok {
		return plainAnswer{}, false
	}
	resp := a.accounts.of(account).cache.encode(s)
	return plainAnswer{resp, caller, r.id}, resp.useForBy(caller.Told()) == resp.useFor
}

// told notes that a plain answer is given, as ServeHTTP and writeToken do.
func (a *API) told(p plainAnswer) {
	_, _ = a.handOut(p.caller, p.account, p.token) // fails for phantoms only
	p.reads.count(p.caller.Name(), p.at)
	a.served(p.stale)
	a.answered(a.token.index, http.StatusOK)
}

// appendTo appends the answer with the headers that net/http writes, in its order.
func (a plainAnswer) appendTo(b []byte, now time.Time) []byte {
	b = append(b, "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(a.body)), 10)
	b = append(b, "\r\nContent-Type: application/json; charset=utf-8\r\nEtag: "...)
	b = append(b, a.etag[0]...)
	b = append(b, "\r\nX-Content-Type-Options: nosniff\r\nX-Request-Id: "...)
	if a.id != "" {
		b = append(b, a.id...)
	} else {
		b = requestid.AppendNew(b)
	}
	b = append(b, "\r\nDate: "...)
	b = now.UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\n\r\n"...)
	return append(b, a.body...)
}
