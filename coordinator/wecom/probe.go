package wecom

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
	"github.com/zhongkong/zhongkong/coordinator/internal/tokencall"
)

// Prober asks WeCom whether an access_token or a ticket is valid. The zero value is ready to use.
type Prober struct {
	BaseURL   string            // as in Config
	Transport http.RoundTripper // as in Config
}

// Probe calls get_api_domain_ip, which has no side effect, with the token of an App. It
// blocks for at most 10 s. Nil means that WeCom accepted the token and the address that
// the call came from. An *Error is the errcode that it answered; Rejected tells whether
// the token is the reason, and 60020 means that the address is not trusted. Any other
// error means that there was no answer. No error contains the token.
func (p Prober) Probe(ctx context.Context, token coordinator.Token) error {
	_, err := p.send(ctx, "/cgi-bin/get_api_domain_ip", url.Values{"access_token": {token.Reveal()}}, token)
	return err
}

// ErrTicketReplaced is returned for a ticket that is not the current one.
var ErrTicketReplaced = errors.New("wecom: WeCom answers another ticket: it has replaced this one")

// ProbeTicket asks for a ticket (JSAPITicket, AgentTicket) with the app's token, and
// compares it with the ticket that is held. That has no side effect but counts towards
// the 100 calls an hour of the app, and is all that can be asked: no call says whether a
// signature would be accepted. Nil means that WeCom answered the same ticket,
// ErrTicketReplaced that it answered another one. Other errors, and the time for which
// it blocks, are those of Probe.
func (p Prober) ProbeTicket(ctx context.Context, kind Kind, token, ticket coordinator.Token) error {
	e := kind.endpoint()
	if !kind.isTicket() {
		return fmt.Errorf("wecom: probe: %s is no kind of ticket", kind)
	}
	a, err := p.send(ctx, e.path, kind.query(token), token, ticket)
	value, _ := source.Text(a.members[e.member])
	switch {
	case err != nil:
		return err
	case value == "":
		return errors.New("wecom: probe: answered neither a ticket nor an errcode")
	case !ticket.Equal(coordinator.NewToken(value)):
		return ErrTicketReplaced
	}
	return nil
}

// send makes one request. Its errors do not contain the secrets.
func (p Prober) send(ctx context.Context, path string, query url.Values, secrets ...coordinator.Token) (answer, error) {
	base, err := source.BaseURL(cmp.Or(p.BaseURL, DefaultBaseURL), DefaultBaseURL)
	if err != nil {
		return answer{}, fmt.Errorf("wecom: probe: api_base: %w", err)
	}
	req, err := source.NewRequest(ctx, base+path, query, nil)
	if err != nil {
		return answer{}, errors.New("wecom: probe: the request cannot be made") // err holds the URL
	}
	resp, clean, err := tokencall.Probe(ctx, p.Transport, req, secrets)
	if err != nil {
		return answer{}, fmt.Errorf("wecom: probe: %w", err)
	}
	if err := gatewayError(resp); err != nil {
		return answer{}, fmt.Errorf("wecom: probe: %w", err)
	}
	a, err := parseObject(resp.Body, httpsource.MaxBody)
	switch {
	case err != nil:
		return answer{}, fmt.Errorf("wecom: probe: answered %w", err)
	case a.code != 0:
		return answer{}, newError(a.code, clean(a.message), resp.Status)
	}
	return a, nil
}
