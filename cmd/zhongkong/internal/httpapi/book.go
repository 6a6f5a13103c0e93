package httpapi

import (
	"context"
	"encoding/json"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Answer returns what GET /v1/tokens/{name} answers a caller who may have that
// account's token, from memory. Datagrams are answered with it.
func (a *API) Answer(account string) []byte {
	found, ok := a.zk.Account(account)
	if !ok {
		return a.answerError(coordinator.ErrUnknownAccount)
	}
	s, ok := found.Peek()
	if !ok {
		return a.answerError(a.withoutToken(found.Status()))
	}
	if s.Stale {
		a.counts.stale.Add(1)
	}
	return a.desks.of(found, a.zk.Accounts).encode(s).body
}

// withoutToken says why an account has no token right now.
func (a *API) withoutToken(s coordinator.Status) error {
	if err := a.zk.StoreError(); err != nil {
		return err
	}
	f := s.Failure
	switch {
	case f == nil || f.InARow == 0:
		return coordinator.ErrNoToken
	case f.Kind == coordinator.FailedRefused:
		return &coordinator.RefusedError{Account: s.Name, Code: f.Code, Message: f.Message}
	}
	return coordinator.ErrNoToken
}

func (a *API) answerError(err error) []byte {
	p := problemOf(context.Background(), err)
	a.report(p, err, "datagram")
	body, _ := json.Marshal(errorBody{p.code, p.message}) // can be encoded
	return append(body, '\n')
}
