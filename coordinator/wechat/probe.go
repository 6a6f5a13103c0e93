package wechat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
	"github.com/zhongkong/zhongkong/coordinator/internal/tokencall"
)

// Prober asks WeChat whether a token is valid. The zero value is ready to use.
type Prober struct {
	BaseURL   string            // as in Config
	Transport http.RoundTripper // as in Config
}

// Probe calls get_api_domain_ip, which has no side effect, with the token. It blocks
// for at most 10 s. Nil means that WeChat accepted the token. An *Error is the errcode
// that it answered; Rejected tells whether the token is the reason. Any other error
// means that there was no answer. No error contains the token.
func (p Prober) Probe(ctx context.Context, token coordinator.Token) error {
	_, err := p.send(ctx, request{path: "/cgi-bin/get_api_domain_ip", member: accessToken, query: url.Values{
		tokenParameter: {token.Reveal()},
	}}, token)
	return err
}

// ErrTicketReplaced is returned for a ticket that is not the current one.
var ErrTicketReplaced = errors.New("wechat: WeChat answers another ticket: it has replaced this one, which may work for a while")

// ProbeTicket asks getticket for the account's ticket with its access_token, and compares
// it with the ticket that is held. That has no side effect but counts towards the daily
// quota of getticket, and is all that can be asked: no call says whether a signature
// would be accepted. Nil means that WeChat accepted the access_token and answered the
// same ticket. ErrTicketReplaced means that it answered another one. Other errors, and
// the time for which it blocks, are those of Probe; Rejected tells whether the
// access_token is the reason.
func (p Prober) ProbeTicket(ctx context.Context, kind TicketType, token, ticket coordinator.Token) error {
	a, err := p.send(ctx, getTicket(kind, token), token, ticket)
	switch {
	case err != nil:
		return err
	case a.token == "":
		return errors.New("wechat: probe: answered neither a ticket nor an errcode")
	case !ticket.Equal(coordinator.NewToken(a.token)):
		return ErrTicketReplaced
	}
	return nil
}

// send makes one request. Its errors do not contain the secrets.
func (p Prober) send(ctx context.Context, q request, secrets ...coordinator.Token) (answer, error) {
	base, err := source.BaseURL(cmp.Or(p.BaseURL, DefaultBaseURL), DefaultBaseURL)
	if err != nil {
		return answer{}, fmt.Errorf("wechat: the base URL %w", err)
	}
	req, err := q.to(ctx, base)
	if err != nil {
		return answer{}, errors.New("wechat: probe: the request cannot be made") // err holds the URL
	}
	resp, clean, err := tokencall.Probe(ctx, p.Transport, req, secrets)
	if err != nil {
		return answer{}, fmt.Errorf("wechat: probe: %w", err)
	}
	said, err := parseAnswer(q.member, resp.Body)
	switch {
	case resp.Status != http.StatusOK:
		return answer{}, fmt.Errorf("wechat: probe: HTTP status %d", resp.Status)
	case err != nil:
		return answer{}, fmt.Errorf("wechat: probe: answered %w", err)
	case said.code != 0:
		return answer{}, newError(said.code, clean(said.message), resp.Status)
	}
	return said, nil
}

// Rejected reports whether err holds an *Error whose errcode rejects the token, not
// the call: 40001, 40014 or 42001. A newer token may succeed.
func Rejected(err error) bool {
	var e *Error
	return errors.As(err, &e) && IsTokenRejected(e.Code)
}
